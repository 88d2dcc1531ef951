//! Removing a tree.

use std::{
    ffi::{CStr, OsStr},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags},
    io::Errno,
    path::Arg,
};

use super::{FileError, Step};

/// How many levels of directories are open at once. What lies deeper is moved up first: apps may nest directories
/// deeper than a process may have descriptors, and than any path is long.
const LEVELS: usize = 64;

/// Removes the file or directory at `path` with all below it. A missing one is fine. Nothing is followed: what a link
/// points to stays.
///
/// # Errors
/// Names the first path that cannot be removed.
pub fn remove_tree(path: &Path) -> Result<(), FileError> {
    // Most things are files; what is none is found out by trying.
    match rustix::fs::unlink(path) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno).step("remove", path),
    }
    let Some(top) = open(CWD, path).step("remove", path)? else { return Ok(()) };
    let mut removal = Removal { top: &top, moved: 0 };
    loop {
        let before = removal.moved;
        removal.empty(&top, path, 1)?;
        if removal.moved == before {
            break;
        }
    }
    gone(rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR)).step("remove", path)
}

/// Opens a directory; `None` where it is gone already.
fn open(parent: impl AsFd, name: impl Arg) -> rustix::io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// What is gone already needs no removal.
fn gone(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

struct Removal<'a> {
    top: &'a OwnedFd,
    /// How many directories were moved up to the top.
    moved: u64,
}

impl Removal<'_> {
    /// Removes all that is in a directory, `level` levels down.
    fn empty(&mut self, directory: &OwnedFd, shown: &Path, level: usize) -> Result<(), FileError> {
        for entry in Dir::read_from(directory).step("list", shown)? {
            let entry = entry.step("list", shown)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let below = shown.join(OsStr::from_bytes(name.to_bytes()));
            if entry.file_type() == FileType::Directory {
                self.remove_directory(directory, name, &below, level)?;
                continue;
            }
            match gone(rustix::fs::unlinkat(directory, name, AtFlags::empty())) {
                Err(Errno::ISDIR) => self.remove_directory(directory, name, &below, level)?,
                other => other.step("remove", below)?,
            }
        }
        Ok(())
    }

    fn remove_directory(
        &mut self,
        parent: &OwnedFd,
        name: &CStr,
        shown: &Path,
        level: usize,
    ) -> Result<(), FileError> {
        if level >= LEVELS {
            return self.move_up(parent, name).step("move up", shown);
        }
        let Some(directory) = open(parent, name).step("remove", shown)? else { return Ok(()) };
        self.empty(&directory, shown, level + 1)?;
        drop(directory);
        gone(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)).step("remove", shown)
    }

    /// Moves a directory to the top, where the next pass finds it.
    fn move_up(&mut self, parent: &OwnedFd, name: &CStr) -> rustix::io::Result<()> {
        loop {
            self.moved += 1;
            let free = format!(".removed-{}", self.moved);
            let flags = RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(parent, name, self.top, free, flags) {
                Err(Errno::EXIST) => {}
                other => return gone(other),
            }
        }
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

    #[test]
    fn no_tree_is_too_deep() {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path().join("tree");
        fs::create_dir_all(tree.join(".removed-1")).unwrap();
        // Deeper than a path can say, and than there are descriptors.
        let mut parent = open(CWD, &tree).unwrap().unwrap();
        for _ in 0..2500 {
            rustix::fs::mkdirat(&parent, "d", Mode::from_raw_mode(0o755)).unwrap();
            parent = open(&parent, "d").unwrap().unwrap();
        }
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    }
}
