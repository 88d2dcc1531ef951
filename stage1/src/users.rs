//! The pod's user namespace: its maps, and mounts that show owners as it has them.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result, anyhow};
use rkt_pod::users::Range;
use rustix::{
    fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags},
    io::{self, Errno},
    process::Pid,
};

use crate::sys;

const PROC_MAGIC: i64 = 0x9fa0;

/// The number of procfs's root directory.
const PROC_ROOT: u64 = 1;

/// Opens the directory of one of our children in procfs, and makes sure that it is one: whatever else may be at that path
/// is refused.
fn process(pid: Pid) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let proc = rustix::fs::open("/proc", flags, Mode::empty())?;
    let is_procfs = rustix::fs::fstatfs(&proc)?.f_type == PROC_MAGIC;
    if !is_procfs || rustix::fs::fstat(&proc)?.st_ino != PROC_ROOT {
        return Err(Errno::NOSYS);
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(proc, pid.as_raw_nonzero().to_string(), flags, Mode::empty(), resolve)
}

/// Maps the users and groups of a child's new user namespace to those of the host.
pub(crate) fn map(pid: Pid, range: Range) -> io::Result<()> {
    let process = process(pid)?;
    let map = format!("0 {} {}\n", range.base(), range.count());
    for name in ["uid_map", "gid_map"] {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        let file =
            rustix::fs::openat2(&process, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve)?;
        // The kernel takes a map whole or not at all.
        io::write(file, map.as_bytes())?;
    }
    Ok(())
}

/// The user namespace of a child.
pub(crate) fn namespace(pid: Pid) -> Result<OwnedFd> {
    let open = || {
        let process = process(pid)?;
        rustix::fs::openat(process, "ns/user", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    };
    open().context("open the pod's user namespace")
}

/// Has a detached mount show owners as the pod has them.
pub(crate) fn map_owners(mount: &OwnedFd, namespace: &OwnedFd) -> Result<()> {
    match sys::map_owners(mount, namespace) {
        Ok(()) => Ok(()),
        Err(errno @ (Errno::INVAL | Errno::OPNOTSUPP)) => {
            let kind = filesystem(mount).unwrap_or_else(|| "its file system".to_owned());
            Err(anyhow!(
                "{kind}, or one that is mounted below, cannot be mounted with mapped owners ({}), \
                 which --private-users needs",
                std::io::Error::from(errno)
            ))
        }
        Err(errno) => Err(errno).context("map its owners"),
    }
}

/// The kind of file system that a detached mount is of: that of any other mount of the same one.
fn filesystem(mount: &OwnedFd) -> Option<String> {
    let stat = rustix::fs::statx(mount, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).ok()?;
    let device = format!("{}:{}", stat.stx_dev_major, stat.stx_dev_minor);
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = table.lines().find(|line| line.split(' ').nth(2) == Some(&device))?;
    line.split(" - ").nth(1)?.split(' ').next().map(str::to_owned)
}
