//! Removing a tree.

use std::{
    ffi::{CStr, CString},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags},
    io::Errno,
};

use super::{FileError, Step};

/// Removes the file or directory at `path` with all below it. A missing one is fine. Nothing is followed: what a link
/// points to stays, and so does what is on another file system.
///
/// # Errors
/// Names the first path that cannot be removed.
pub(crate) fn remove_tree(path: &Path) -> Result<(), FileError> {
    let Ok(name) = CString::new(path.as_os_str().as_bytes()) else { return Ok(()) };
    remove_at(CWD, &name, path)
}

fn remove_at(parent: impl AsFd, name: &CStr, shown: &Path) -> Result<(), FileError> {
    // Most things are files; what is none is found out by trying.
    match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno).step("remove", shown),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory: OwnedFd = match rustix::fs::openat(&parent, name, flags, Mode::empty()) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno).step("remove", shown),
    };
    let entries = Dir::read_from(&directory).step("list", shown)?;
    for entry in entries {
        let entry = entry.step("list", shown)?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let below = shown.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
        if entry.file_type() == FileType::Directory {
            remove_at(&directory, name, &below)?;
        } else {
            match rustix::fs::unlinkat(&directory, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR) => remove_at(&directory, name, &below)?,
                Err(errno) => return Err(errno).step("remove", below),
            }
        }
    }
    match rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).step("remove", shown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn links_are_removed_and_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let outside = directory.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("keep"), "").unwrap();
        let tree = directory.path().join("tree");
        fs::create_dir_all(tree.join("a/b/c")).unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("a/link")).unwrap();
        fs::write(tree.join("a/b/file"), "x").unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert!(outside.join("keep").exists());
        remove_tree(&tree).unwrap();
    }
}
