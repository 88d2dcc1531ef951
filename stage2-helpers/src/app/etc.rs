//! Files of `/etc` that the pod provides, and the scratch file system that they are on.

use std::os::fd::OwnedFd;

use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
    mount::MountAttrFlags,
};

use crate::{
    control::exit,
    failure::{At, Result, failure},
    mounts,
    spec::{AppSpec, EtcFile},
    sys,
};

const STATUS: u8 = exit::NAMESPACE;

/// A directory on the scratch file system that is empty and closed, to hide others with.
pub(super) const EMPTY: &str = ".empty";

/// Mounts a small file system over the pod's `/opt`, seen by this process only. What is on it stays reachable through
/// mounts of its parts, and through nothing else once the root has changed.
pub(super) fn scratch(pod: &OwnedFd) -> Result<OwnedFd> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let scratch = mounts::filesystem("tmpfs", &[("mode", "0755"), ("size", "1m")], attributes).at(
        "make file system",
        "tmpfs",
        STATUS,
    )?;
    let place = mounts::place(pod, "opt").at("open", "the pod's /opt", STATUS)?;
    mounts::attach(&scratch, place).at("mount", "scratch space", STATUS)?;
    rustix::fs::mkdirat(&scratch, EMPTY, Mode::empty()).at("make directory", EMPTY, STATUS)?;
    Ok(scratch)
}

/// Provides the files. The scratch file system is read-only afterwards, and with it every copy of its parts.
pub(super) fn mount_all(
    spec: &AppSpec,
    root: &OwnedFd,
    scratch: &OwnedFd,
    sources: &[OwnedFd],
) -> Result<()> {
    let etc = match mounts::directory(root, "etc") {
        Err(Errno::LOOP) => {
            return Err(failure("open", "/etc", "the image has a symbolic link in its place", STATUS));
        }
        other => other.at("open", "/etc", STATUS)?,
    };
    let mut places = Vec::new();
    for file in &spec.etc {
        if file.name.contains('/') || file.name.starts_with('.') {
            return Err(failure("provide", format!("/etc/{}", file.name), "not the name of a file", STATUS));
        }
        match (place(&etc, file)?, file.source) {
            (None, _) => {}
            (Some(place), None) => {
                write(file, scratch)?;
                places.push((&file.name, place));
            }
            (Some(place), Some(source)) => attach(file, sources.get(source), place)?,
        }
    }
    sys::set_attributes(scratch, sys::Attributes::READ_ONLY, false).at(
        "make read-only",
        "scratch space",
        STATUS,
    )?;
    for (name, place) in places {
        let copy = mounts::copy(scratch, name).at("mount", format!("/etc/{name}"), STATUS)?;
        mounts::attach(copy, place).at("mount", format!("/etc/{name}"), STATUS)?;
    }
    match rustix::fs::symlinkat("../proc/self/mounts", &etc, "mtab") {
        Ok(()) | Err(Errno::EXIST | Errno::ROFS) => Ok(()),
        Err(errno) => Err(errno).at("make link", "/etc/mtab", STATUS),
    }
}

/// Mounts a file that others write to.
fn attach(file: &EtcFile, source: Option<&OwnedFd>, place: OwnedFd) -> Result<()> {
    let object = || format!("/etc/{}", file.name);
    let source = source.ok_or_else(|| failure("mount", object(), "its descriptor is missing", exit::FDS))?;
    let restricted = sys::Attributes::default().and(sys::Attributes::READ_ONLY);
    sys::set_attributes(source, restricted, false).at("make read-only", object(), STATUS)?;
    mounts::attach(source, place).at("mount", object(), STATUS)
}

fn write(file: &EtcFile, scratch: &OwnedFd) -> Result<()> {
    let object = || format!("/etc/{}", file.name);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let source = rustix::fs::openat(scratch, &file.name, flags, Mode::from_raw_mode(0o644)).at(
        "write",
        object(),
        STATUS,
    )?;
    let mut rest = file.content.as_bytes();
    while !rest.is_empty() {
        let written =
            rustix::io::retry_on_intr(|| rustix::io::write(&source, rest)).at("write", object(), STATUS)?;
        rest = &rest[written..];
    }
    rustix::fs::fchmod(&source, Mode::from_raw_mode(0o644)).at("write", object(), STATUS)
}

/// Where the file goes: a regular file of that name, made where it is missing. An image's link is replaced, so that
/// nothing is mounted where it leads. `None` where the image's own file stays.
fn place(etc: &OwnedFd, file: &EtcFile) -> Result<Option<OwnedFd>> {
    let object = || format!("/etc/{}", file.name);
    let kind = match rustix::fs::statat(etc, &file.name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => {
            let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
            // One that is empty is a place for another, whether the image has it or we do.
            let says_something = kind != rustix::fs::FileType::RegularFile || stat.st_size > 0;
            if says_something && file.only_if_missing {
                return Ok(None);
            }
            Some(kind)
        }
        Err(Errno::NOENT) => None,
        Err(errno) => return Err(errno).at("look at", object(), STATUS),
    };
    let is_file = kind == Some(rustix::fs::FileType::RegularFile);
    if kind == Some(rustix::fs::FileType::Directory) {
        return Err(failure("provide", object(), "the image has a directory in its place", STATUS));
    }
    if kind.is_some() && !is_file {
        rustix::fs::unlinkat(etc, &file.name, AtFlags::empty()).at("replace", object(), STATUS)?;
    }
    if !is_file {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(etc, &file.name, flags, Mode::from_raw_mode(0o644)).at(
            "make file",
            object(),
            STATUS,
        )?;
    }
    mounts::place(etc, &file.name).at("open", object(), STATUS).map(Some)
}
