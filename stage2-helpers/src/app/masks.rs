//! Kernel paths that apps do not see, or do not write to.

use std::os::fd::OwnedFd;

use rustix::{fs::FileType, io::Errno};

use super::{api::Kernel, etc};
use crate::{
    control::exit,
    failure::{At, Result},
    mounts, sys,
};

const STATUS: u8 = exit::NAMESPACE;

/// Not seen: a directory is empty and closed, a file is the null device.
const MASKED: [&str; 18] = [
    "proc/acpi",
    "proc/config.gz",
    "proc/interrupts",
    "proc/kallsyms",
    "proc/kcore",
    "proc/keys",
    "proc/kmem",
    "proc/latency_stats",
    "proc/mem",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "proc/timer_stats",
    "sys/devices/virtual/powercap",
    "sys/firmware",
    "sys/hypervisor",
    "sys/module",
    "sys/power",
];

/// Seen, not written to. `/sys` as a whole is read-only already.
const READ_ONLY: [&str; 6] =
    ["proc/asound", "proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];

/// Hides the paths in `root` that this kernel has.
///
/// They are found from the file systems themselves, which are ours, rather than by where the image has them.
pub(super) fn protect(kernel: &Kernel, scratch: &OwnedFd) -> Result<()> {
    for path in MASKED {
        let Some(place) = open(kernel, path)? else { continue };
        let stat = rustix::fs::fstat(&place).at("look at", path, STATUS)?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        // Both are read-only already, and so are their copies.
        let cover =
            if is_directory { mounts::copy(scratch, etc::EMPTY) } else { mounts::copy(&kernel.dev, "null") };
        let cover = cover.at("hide", path, STATUS)?;
        mounts::attach(&cover, place).at("hide", path, STATUS)?;
    }
    for path in READ_ONLY {
        let Some(place) = open(kernel, path)? else { continue };
        let copy = mounts::copy(&place, "").at("make read-only", path, STATUS)?;
        mounts::attach(&copy, place).at("make read-only", path, STATUS)?;
        sys::set_attributes(&copy, sys::Attributes::READ_ONLY, false).at("make read-only", path, STATUS)?;
    }
    Ok(())
}

fn open(kernel: &Kernel, path: &'static str) -> Result<Option<OwnedFd>> {
    let place = match path.split_once('/') {
        Some(("proc", rest)) => mounts::place(&kernel.proc, rest),
        Some(("sys", rest)) => mounts::place(&kernel.sys, rest),
        _ => Err(Errno::INVAL),
    };
    match place {
        Ok(place) => Ok(Some(place)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).at("open", path, STATUS),
    }
}
