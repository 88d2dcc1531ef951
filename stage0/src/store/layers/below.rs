//! What a layer takes from those below it: directories that it has files in without saying what they are like, and files
//! that it has a further name for.

use std::{
    ffi::OsStr,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use super::Unpacker;
use crate::files::{FileError, Step, copy_file_to, copy_metadata, is_deletion, is_opaque};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

const NO_TARGET: &str = "a hard link to a file that no layer has";

/// Links of directories that are followed in one layer.
const LINKS: usize = 40;

/// Why a layer does not go with those below it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    /// A step on a file failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// It needs what is not there.
    #[error("entry {0:?}: {1}")]
    Entry(PathBuf, &'static str),
}

/// What a stack of trees has at a path.
struct Found {
    directory: OwnedFd,
    name: PathBuf,
    stat: Stat,
}

impl Found {
    fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    fn open(&self, path: &Path) -> Result<OwnedFd, FileError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.directory, &self.name, flags, Mode::empty()).step("open", path)
    }
}

/// Completes an unpacked layer by what `below` has, the lowest first.
pub(super) fn settle(unpacker: &mut Unpacker, below: &[PathBuf]) -> Result<(), Unfit> {
    let mut links = 0;
    let mut implied = unpacker.take_implied();
    // Parents come before what is in them.
    while let Some(path) = implied.pop_first() {
        let Some(found) = find(below, &path)? else { continue };
        match found.kind() {
            FileType::Directory => {
                let own = unpacker.open(&path).step("open", &path)?;
                copy_metadata(&found.open(&path)?, &own, &path)?;
            }
            FileType::Symlink => {
                links += 1;
                if links > LINKS {
                    return Err(Unfit::Entry(path, "too many links lead there"));
                }
                let target = rustix::fs::readlinkat(&found.directory, &found.name, Vec::new())
                    .step("read link", &path)?;
                let to = resolve(&path, Path::new(OsStr::from_bytes(target.as_bytes())));
                if to.starts_with(&path) {
                    return Err(Unfit::Entry(path, "a layer below has a link there that leads to itself"));
                }
                unpacker.relocate(&path, &to)?;
                implied = implied.into_iter().map(|other| moved(&other, &path, &to)).collect();
                implied.append(&mut unpacker.take_implied());
            }
            _ => return Err(Unfit::Entry(path, "a layer below has a file where it needs a directory")),
        }
    }
    for (name, target) in unpacker.take_links() {
        let found = find(below, &target)?.filter(|found| found.kind() == FileType::RegularFile);
        let found = found.ok_or_else(|| Unfit::Entry(name.clone(), NO_TARGET))?;
        let from = found.open(&target)?;
        let (parent, own) = unpacker.parent_of(&name).step("make directory of", &name)?;
        copy_file_to(&from, &parent, &own)?;
        let copy = rustix::fs::statat(&parent, &own, AtFlags::SYMLINK_NOFOLLOW).step("look at", &name)?;
        unpacker.forget(copy.st_ino);
    }
    Ok(())
}

/// Refuses links that lead nowhere.
pub(super) fn check_links(unpacker: &mut Unpacker) -> Result<(), Unfit> {
    match unpacker.take_links().pop() {
        Some((name, _)) => Err(Unfit::Entry(name, NO_TARGET)),
        None => Ok(()),
    }
}

/// A path after a directory above it was moved.
pub(in crate::store) fn moved(path: &Path, from: &Path, to: &Path) -> PathBuf {
    match path.strip_prefix(from) {
        Ok(rest) if rest.as_os_str().is_empty() => to.to_owned(),
        Ok(rest) => to.join(rest),
        Err(_) => path.to_owned(),
    }
}

/// Where a link leads that is at `path`. No link leads out of the root.
fn resolve(path: &Path, target: &Path) -> PathBuf {
    let start = if target.is_absolute() { Path::new("rootfs") } else { path.parent().unwrap_or(path) };
    let mut parts: Vec<&OsStr> = start.iter().collect();
    for part in target.components() {
        match part {
            Component::Normal(part) => parts.push(part),
            Component::ParentDir if parts.len() > 1 => drop(parts.pop()),
            _ => {}
        }
    }
    parts.iter().collect()
}

/// What the stack has at a path that starts with `rootfs`, links on the way not followed.
fn find(below: &[PathBuf], path: &Path) -> Result<Option<Found>, FileError> {
    let parts: Vec<&OsStr> = path.iter().skip(1).collect();
    let Some((last, parents)) = parts.split_last() else { return Ok(None) };
    'layers: for layer in below.iter().rev() {
        let mut directory = rustix::fs::open(layer, DIRECTORY, Mode::empty()).step("open", layer)?;
        let mut hidden = is_opaque(&directory);
        for parent in parents {
            directory = match rustix::fs::openat(&directory, *parent, DIRECTORY, Mode::empty()) {
                Ok(directory) => directory,
                Err(Errno::NOENT) if hidden => return Ok(None),
                Err(Errno::NOENT) => continue 'layers,
                // A file, a link, or a deletion: nothing is below it.
                Err(Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => return Ok(None),
                Err(errno) => return Err(errno).step("look for", path),
            };
            hidden |= is_opaque(&directory);
        }
        match rustix::fs::statat(&directory, *last, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if is_deletion(&stat) => return Ok(None),
            Ok(stat) => return Ok(Some(Found { directory, name: PathBuf::from(last), stat })),
            Err(Errno::NOENT) if hidden => return Ok(None),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).step("look for", path),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_places_inside() {
        for (path, target, want) in [
            ("rootfs/lib", "usr/lib", "rootfs/usr/lib"),
            ("rootfs/var/run", "/run", "rootfs/run"),
            ("rootfs/a/b", "../c", "rootfs/c"),
            ("rootfs/a/b", "../../../../etc", "rootfs/etc"),
            ("rootfs/a", "/", "rootfs"),
        ] {
            assert_eq!(resolve(Path::new(path), Path::new(target)), Path::new(want), "{path} {target}");
        }
    }

    #[test]
    fn what_is_in_a_moved_directory_moves() {
        let moved = |path: &str| moved(Path::new(path), Path::new("rootfs/lib"), Path::new("rootfs/usr/lib"));
        assert_eq!(moved("rootfs/lib"), Path::new("rootfs/usr/lib"));
        assert_eq!(moved("rootfs/lib/x"), Path::new("rootfs/usr/lib/x"));
        assert_eq!(moved("rootfs/lib64/x"), Path::new("rootfs/lib64/x"));
    }
}
