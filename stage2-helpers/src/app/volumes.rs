//! Volumes in the app's root.
//!
//! A target is opened part by part inside the root, missing parts are made there, and what is mounted goes onto the very
//! thing that was opened, so that nothing that changes meanwhile leads elsewhere.

use std::{
    ffi::{OsStr, OsString},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};

use crate::{
    control::exit,
    failure::{At, Result, failure},
    mounts,
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

/// Opens the target, which is made where it is missing. Links in the image lead to other places in the image only, also
/// where what they lead to is still to be made.
fn target(root: &OwnedFd, mount: &Mount, is_directory: bool) -> rustix::io::Result<OwnedFd> {
    let open = |path: &Path| mounts::open_in_root(root, path, OFlags::PATH, ResolveFlags::empty());
    let mut path = PathBuf::from(&mount.target);
    let mut links = 0;
    'again: loop {
        match open(&path) {
            Ok(place) => return fitting(place, is_directory),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        let parts: Vec<OsString> = path
            .components()
            .filter_map(|part| match part {
                Component::Normal(name) => Some(name.to_owned()),
                // Above the root there is the root.
                Component::ParentDir => Some("..".into()),
                _ => None,
            })
            .collect();
        let mut reached = PathBuf::from("/");
        for (index, part) in parts.iter().enumerate() {
            let parent = open(&reached)?;
            let next = reached.join(part);
            if open(&next).is_err() {
                match make(&parent, part, is_directory || index + 1 < parts.len()) {
                    Ok(()) => {}
                    // A link to what is not there: go on where it leads.
                    Err(Errno::EXIST) if links < MAX_LINKS => {
                        links += 1;
                        let text = rustix::fs::readlinkat(&parent, part, Vec::new())?;
                        let rest: PathBuf = parts[index + 1..].iter().collect();
                        path = reached.join(OsStr::from_bytes(text.as_bytes())).join(rest);
                        continue 'again;
                    }
                    Err(Errno::EXIST) => return Err(Errno::LOOP),
                    Err(errno) => return Err(errno),
                }
            }
            reached = next;
        }
    }
}

fn fitting(place: OwnedFd, is_directory: bool) -> rustix::io::Result<OwnedFd> {
    let stat = rustix::fs::fstat(&place)?;
    match (FileType::from_raw_mode(stat.st_mode) == FileType::Directory, is_directory) {
        (true, false) => Err(Errno::ISDIR),
        (false, true) => Err(Errno::NOTDIR),
        _ => Ok(place),
    }
}

fn make(parent: &OwnedFd, name: &OsStr, directory: bool) -> rustix::io::Result<()> {
    if directory {
        return rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
}
