//! Volumes in the app's root.
//!
//! A target is opened part by part inside the root, missing parts are made there, and what is mounted goes onto the very
//! thing that was opened, so that nothing that changes meanwhile leads elsewhere.

use std::{
    ffi::OsStr,
    os::fd::OwnedFd,
    path::{Component, Path},
};

use rustix::{
    fs::{FileType, Mode, OFlags},
    io::Errno,
};

use crate::{
    control::exit,
    failure::{At, Result, failure},
    mounts::{self, IN_ROOT},
    spec::{AppSpec, Mount},
    sys,
};

const STATUS: u8 = exit::NAMESPACE;

/// Most links that are followed inside the root for one target.
const MAX_LINKS: usize = 40;

/// Mounts the app's volumes.
pub(super) fn mount_all(spec: &AppSpec, root: &OwnedFd, sources: &[OwnedFd]) -> Result<()> {
    for mount in &spec.mounts {
        let object = format!("{:?} at {}", mount.volume, mount.target);
        let source = sources
            .get(mount.source)
            .ok_or_else(|| failure("mount volume", &object, "its descriptor is missing", exit::FDS))?;
        let stat = rustix::fs::fstat(source).at("look at volume", &object, STATUS)?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let place = target(root, mount, is_directory).at("make target of volume", &object, STATUS)?;
        mounts::attach(source, place).at("mount volume", &object, STATUS)?;
        let mut attributes = sys::Attributes::default();
        if is_directory {
            attributes = attributes.and(sys::Attributes::NO_DEVICES);
        }
        if mount.read_only {
            attributes = attributes.and(sys::Attributes::READ_ONLY);
        }
        sys::set_attributes(source, attributes, true).at("restrict volume", &object, STATUS)?;
    }
    Ok(())
}

/// Opens the target, which is made where it is missing. Links in the image lead to other places in the image only.
fn target(root: &OwnedFd, mount: &Mount, is_directory: bool) -> rustix::io::Result<OwnedFd> {
    let open =
        |path: &Path| rustix::fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), IN_ROOT);
    let path = Path::new(&mount.target);
    for _ in 0..MAX_LINKS {
        match open(path) {
            Ok(place) => return fitting(place, is_directory),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        // The first part that is missing is made; the rest comes in the next rounds.
        let mut reached = Path::new("/").to_owned();
        let parts: Vec<&OsStr> = path
            .components()
            .filter_map(|part| if let Component::Normal(name) = part { Some(name) } else { None })
            .collect();
        for (index, part) in parts.iter().enumerate() {
            let next = reached.join(part);
            match open(&next) {
                Ok(_) => reached = next,
                Err(Errno::NOENT) => {
                    make(&open(&reached)?, part, is_directory || index + 1 < parts.len())?;
                    break;
                }
                Err(errno) => return Err(errno),
            }
        }
    }
    Err(Errno::LOOP)
}

fn fitting(place: OwnedFd, is_directory: bool) -> rustix::io::Result<OwnedFd> {
    let stat = rustix::fs::fstat(&place)?;
    match (FileType::from_raw_mode(stat.st_mode) == FileType::Directory, is_directory) {
        (true, false) => Err(Errno::ISDIR),
        (false, true) => Err(Errno::NOTDIR),
        _ => Ok(place),
    }
}

/// A dangling link in the way is an error (`EEXIST`): it is not known what it should become.
fn make(parent: &OwnedFd, name: &OsStr, directory: bool) -> rustix::io::Result<()> {
    if directory {
        return rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
}
