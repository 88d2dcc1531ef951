//! Copying a tree with everything that a file has: owner, mode, times, attributes, hard links, holes.

use std::{
    collections::HashMap,
    ffi::{CStr, CString, OsStr},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags},
    io::Errno,
};

use super::{FileError, Step, remove_tree};

const READ: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Copies the directory `from` onto the directory `to`, which exists and is empty. File contents are shared with the
/// original where the file system can do that, copied inside the kernel otherwise.
///
/// # Errors
/// Names the first path that cannot be copied.
pub fn copy_tree(from: &Path, to: &Path) -> Result<(), FileError> {
    let source = rustix::fs::open(from, READ | OFlags::DIRECTORY, Mode::empty()).step("open", from)?;
    copy_directory(&source, to)
}

/// The same for a directory that is open.
///
/// # Errors
/// Names the first path that cannot be copied.
pub fn copy_directory(from: &OwnedFd, to: &Path) -> Result<(), FileError> {
    let root = rustix::fs::open(to, READ | OFlags::DIRECTORY, Mode::empty()).step("open", to)?;
    Copier { root: &root, over: None, links: HashMap::new() }.directory(from, &root, Path::new(""))
}

/// Copies the tree `layer`, which is to be an overlay's lower layer, over what is in the directory `to` already: what the
/// layer has takes the place of what was there, what it deletes is removed.
///
/// # Errors
/// Names the first path that cannot be copied.
pub fn copy_layer(layer: &Path, to: &Path) -> Result<(), FileError> {
    let source = rustix::fs::open(layer, READ | OFlags::DIRECTORY, Mode::empty()).step("open", layer)?;
    let root = rustix::fs::open(to, READ | OFlags::DIRECTORY, Mode::empty()).step("open", to)?;
    Copier { root: &root, over: Some(to), links: HashMap::new() }.directory(&source, &root, Path::new(""))
}

/// Copies a regular file, with all it has, to a name that is free.
///
/// # Errors
/// Where it cannot be copied.
pub fn copy_file_to(from: &OwnedFd, target: &OwnedFd, name: &Path) -> Result<(), FileError> {
    let stat = rustix::fs::fstat(from).step("look at", name)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let to = rustix::fs::openat(target, name, flags, Mode::from_raw_mode(0o600)).step("make", name)?;
    copy_content(from, &to, &stat, name)
}

/// Gives a directory what another one has: owner, attributes, mode, times.
///
/// # Errors
/// Where it cannot be set.
pub fn copy_metadata(from: &OwnedFd, to: &OwnedFd, path: &Path) -> Result<(), FileError> {
    let stat = rustix::fs::fstat(from).step("look at", path)?;
    settle(from, to, &stat, path)
}

/// Whether an entry of an overlay's lower layer deletes what is below it.
pub fn is_deletion(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Whether a directory of an overlay's lower layer hides what is below it.
pub fn is_opaque(directory: impl AsFd) -> bool {
    let mut value = [0; 1];
    matches!(rustix::fs::fgetxattr(directory, OPAQUE, &mut value), Ok(1) if value == *b"y")
}

/// The attribute of a directory that hides what is below it in an overlay.
pub const OPAQUE: &str = "trusted.overlay.opaque";

/// One copy.
struct Copier<'a> {
    root: &'a OwnedFd,
    /// The path of `root`, where there may be something already.
    over: Option<&'a Path>,
    /// Where the first name of each file with several names went.
    links: HashMap<(u64, u64), CString>,
}

impl Copier<'_> {
    fn directory(&mut self, source: &OwnedFd, target: &OwnedFd, path: &Path) -> Result<(), FileError> {
        for entry in Dir::read_from(source).step("list", path)? {
            let entry = entry.step("list", path)?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                let below = path.join(OsStr::from_bytes(name.to_bytes()));
                self.entry(source, target, name, &below)?;
            }
        }
        let stat = rustix::fs::fstat(source).step("look at", path)?;
        settle(source, target, &stat, path)
    }

    /// Removes what is where an entry comes to be. A directory stays for one that does not hide it.
    fn make_room(&self, source: &OwnedFd, stat: &Stat, name: &CStr, path: &Path) -> Result<(), FileError> {
        let Some(base) = self.over else { return Ok(()) };
        let place = base.join(path);
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let is_there = std::fs::symlink_metadata(&place).is_ok_and(|there| there.is_dir());
            let directory = rustix::fs::openat(source, name, READ | OFlags::DIRECTORY, Mode::empty())
                .step("open", path)?;
            if is_there && !is_opaque(directory) {
                return Ok(());
            }
        }
        remove_tree(&place)
    }

    fn entry(
        &mut self,
        source: &OwnedFd,
        target: &OwnedFd,
        name: &CStr,
        path: &Path,
    ) -> Result<(), FileError> {
        let stat = rustix::fs::statat(source, name, AtFlags::SYMLINK_NOFOLLOW).step("look at", path)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        self.make_room(source, &stat, name, path)?;
        if self.over.is_some() && is_deletion(&stat) {
            return Ok(());
        }
        if kind != FileType::Directory && stat.st_nlink > 1 {
            let key = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&key) {
                return rustix::fs::linkat(self.root, first, target, name, AtFlags::empty())
                    .step("link", path);
            }
            if let Ok(text) = CString::new(path.as_os_str().as_bytes()) {
                self.links.insert(key, text);
            }
        }
        match kind {
            FileType::Directory => {
                match rustix::fs::mkdirat(target, name, Mode::from_raw_mode(0o700)) {
                    Err(Errno::EXIST) if self.over.is_some() => {}
                    other => other.step("make directory", path)?,
                }
                let open = |base: &OwnedFd| {
                    rustix::fs::openat(base, name, READ | OFlags::DIRECTORY, Mode::empty()).step("open", path)
                };
                return self.directory(&open(source)?, &open(target)?, path);
            }
            FileType::RegularFile => return copy_file(source, target, name, &stat, path),
            FileType::Symlink => {
                let text = rustix::fs::readlinkat(source, name, Vec::new()).step("read link", path)?;
                rustix::fs::symlinkat(text, target, name).step("make link", path)?;
            }
            FileType::Socket => return Ok(()),
            other => rustix::fs::mknodat(target, name, other, Mode::from_raw_mode(0o600), stat.st_rdev)
                .step("make", path)?,
        }
        let (uid, gid) = owner(&stat);
        rustix::fs::chownat(target, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .step("set owner of", path)?;
        if kind != FileType::Symlink {
            rustix::fs::chmodat(target, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())
                .step("set mode of", path)?;
        }
        rustix::fs::utimensat(target, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)
            .step("set times of", path)
    }
}

fn copy_file(
    source: &OwnedFd,
    target: &OwnedFd,
    name: &CStr,
    stat: &Stat,
    path: &Path,
) -> Result<(), FileError> {
    let from = rustix::fs::openat(source, name, READ, Mode::empty()).step("open", path)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let to = rustix::fs::openat(target, name, flags, Mode::from_raw_mode(0o600)).step("make", path)?;
    copy_content(&from, &to, stat, path)
}

fn copy_content(from: &OwnedFd, to: &OwnedFd, stat: &Stat, path: &Path) -> Result<(), FileError> {
    copy_data(from, to, stat.st_size.unsigned_abs()).step("copy", path)?;
    settle(from, to, stat, path)
}

/// Copies what is in a file of this size, to an empty one.
pub(super) fn copy_data(from: &OwnedFd, to: &OwnedFd, size: u64) -> rustix::io::Result<()> {
    match rustix::fs::ioctl_ficlone(to, from) {
        Ok(()) => Ok(()),
        // Files of the kernel's say that they have no size, and have content.
        Err(_) if size == 0 => copy_by_hand(from, to, 0, u64::MAX).map(drop),
        Err(_) => copy_pieces(from, to, size),
    }
}

/// Copies what is between the holes.
fn copy_pieces(from: &OwnedFd, to: &OwnedFd, size: u64) -> rustix::io::Result<()> {
    rustix::fs::ftruncate(to, size)?;
    let mut position = 0;
    while position < size {
        let data = match rustix::fs::seek(from, SeekFrom::Data(position)) {
            Ok(data) => data,
            Err(Errno::NXIO) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(data))?;
        position = copy_range(from, to, data, end)?;
    }
    Ok(())
}

fn copy_range(from: &OwnedFd, to: &OwnedFd, start: u64, end: u64) -> rustix::io::Result<u64> {
    let (mut source, mut target) = (start, start);
    while source < end {
        let length = usize::try_from(end - source).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(from, Some(&mut source), to, Some(&mut target), length) {
            Ok(0) => break,
            Ok(_) => {}
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                return copy_by_hand(from, to, source, end);
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(end)
}

fn copy_by_hand(from: &OwnedFd, to: &OwnedFd, start: u64, end: u64) -> rustix::io::Result<u64> {
    let mut buffer = vec![0; 128 * 1024];
    let mut position = start;
    while position < end {
        let most = usize::try_from(end - position).unwrap_or(usize::MAX).min(buffer.len());
        let length = rustix::io::pread(from, &mut buffer[..most], position)?;
        if length == 0 {
            break;
        }
        let mut written = 0;
        while written < length {
            written += rustix::io::pwrite(to, &buffer[written..length], position + written as u64)?;
        }
        position += length as u64;
    }
    Ok(end)
}

/// Copies extended attributes. A file system that has none of a kind has none to copy.
pub(super) fn copy_attributes(from: &OwnedFd, to: &OwnedFd, path: &Path) -> Result<(), FileError> {
    let mut names = Vec::with_capacity(1024);
    match rustix::fs::flistxattr(from, rustix::buffer::spare_capacity(&mut names)) {
        Ok(_) => {}
        Err(Errno::RANGE) => {
            names.reserve(64 * 1024);
            rustix::fs::flistxattr(from, rustix::buffer::spare_capacity(&mut names))
                .step("list attributes of", path)?;
        }
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(errno) => return Err(errno).step("list attributes of", path),
    }
    for name in
        names.split(|byte| *byte == 0).filter(|name| !name.is_empty() && !name.starts_with(b"trusted."))
    {
        let mut value = Vec::with_capacity(64 * 1024);
        rustix::fs::fgetxattr(from, name, rustix::buffer::spare_capacity(&mut value))
            .step("read attributes of", path)?;
        match rustix::fs::fsetxattr(to, name, &value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno).step("set attributes of", path),
        }
    }
    Ok(())
}

fn owner(stat: &Stat) -> (Uid, Gid) {
    (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))
}

pub(super) fn times(stat: &Stat) -> Timestamps {
    let time =
        |seconds: i64, nanoseconds: u64| Timespec { tv_sec: seconds, tv_nsec: nanoseconds.cast_signed() };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// Owner first: changing it takes set-id bits and capabilities away. Times last: all else changes them.
fn settle(from: &OwnedFd, to: &OwnedFd, stat: &Stat, path: &Path) -> Result<(), FileError> {
    let (uid, gid) = owner(stat);
    rustix::fs::fchown(to, Some(uid), Some(gid)).step("set owner of", path)?;
    copy_attributes(from, to, path)?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777)).step("set mode of", path)?;
    rustix::fs::futimens(to, &times(stat)).step("set times of", path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt},
    };

    #[test]
    fn a_copy_has_all_that_the_original_has() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::create_dir_all(from.join("d/e")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("d/file"), "content").unwrap();
        fs::set_permissions(from.join("d/file"), fs::Permissions::from_mode(0o4751)).unwrap();
        fs::hard_link(from.join("d/file"), from.join("d/e/hard")).unwrap();
        std::os::unix::fs::symlink("/nowhere", from.join("link")).unwrap();
        let sparse = fs::File::create(from.join("sparse")).unwrap();
        sparse.set_len(64 << 20).unwrap();
        copy_tree(&from, &to).unwrap();
        let meta = |path: &str| fs::symlink_metadata(to.join(path)).unwrap();
        assert_eq!(fs::read(to.join("d/file")).unwrap(), b"content");
        assert_eq!(meta("d/file").mode() & 0o7777, 0o4751);
        assert_eq!(meta("d/file").ino(), meta("d/e/hard").ino());
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/nowhere"));
        assert_eq!((meta("sparse").len(), meta("sparse").blocks()), (64 << 20, 0));
        let original = fs::symlink_metadata(from.join("d/file")).unwrap();
        assert_eq!(
            (original.mtime(), original.mtime_nsec()),
            (meta("d/file").mtime(), meta("d/file").mtime_nsec())
        );
    }

    #[test]
    fn a_layer_takes_the_place_of_what_was_there() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let (layer, to) = (directory.path().join("layer"), directory.path().join("to"));
        for path in ["d/kept", "hidden/gone", "gone/deep", "file", "was-dir/x", "link-target"] {
            fs::create_dir_all(to.join(path).parent().unwrap()).unwrap();
            fs::write(to.join(path), "below").unwrap();
        }
        std::os::unix::fs::symlink("link-target", to.join("link")).unwrap();
        for path in ["d/new", "hidden/new", "link", "was-dir"] {
            fs::create_dir_all(layer.join(path).parent().unwrap()).unwrap();
            fs::write(layer.join(path), "layer").unwrap();
        }
        let device = rustix::fs::CWD;
        for path in ["gone", "file"] {
            let mode = Mode::empty();
            rustix::fs::mknodat(device, layer.join(path), FileType::CharacterDevice, mode, 0).unwrap();
        }
        rustix::fs::setxattr(layer.join("hidden"), OPAQUE, b"y", XattrFlags::empty()).unwrap();
        copy_layer(&layer, &to).unwrap();
        let read = |path: &str| fs::read_to_string(to.join(path)).ok();
        assert_eq!(read("d/kept").as_deref(), Some("below"));
        for path in ["d/new", "hidden/new", "link", "was-dir"] {
            assert_eq!(read(path).as_deref(), Some("layer"), "{path}");
        }
        for path in ["gone", "file", "hidden/gone"] {
            assert!(fs::symlink_metadata(to.join(path)).is_err(), "{path}");
        }
        assert_eq!(read("link-target").as_deref(), Some("below"), "a link was followed");
        assert!(!is_opaque(fs::File::open(to.join("hidden")).unwrap()));
    }
}
