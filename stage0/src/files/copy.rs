//! Copying a tree with everything that a file has: owner, mode, times, attributes, hard links, holes.

use std::{
    collections::HashMap,
    ffi::{CStr, CString, OsStr},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags},
    io::Errno,
};

use super::{FileError, Step};

const READ: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Copies the directory `from` onto the directory `to`, which exists and is empty. File contents are shared with the
/// original where the file system can do that, copied inside the kernel otherwise.
///
/// # Errors
/// Names the first path that cannot be copied.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<(), FileError> {
    let source = rustix::fs::open(from, READ | OFlags::DIRECTORY, Mode::empty()).step("open", from)?;
    let target = rustix::fs::open(to, READ | OFlags::DIRECTORY, Mode::empty()).step("open", to)?;
    let mut links = HashMap::new();
    copy_directory(&source, &target, &target, Path::new(""), &mut links)
}

/// Where the first name of each file with several names went.
type Links = HashMap<(u64, u64), CString>;

fn copy_directory(
    source: &OwnedFd,
    target: &OwnedFd,
    root: &OwnedFd,
    path: &Path,
    links: &mut Links,
) -> Result<(), FileError> {
    for entry in Dir::read_from(source).step("list", path)? {
        let entry = entry.step("list", path)?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let below = path.join(OsStr::from_bytes(name.to_bytes()));
        copy_entry(source, target, name, root, &below, links)?;
    }
    let stat = rustix::fs::fstat(source).step("look at", path)?;
    settle(source, target, &stat, path)
}

fn copy_entry(
    source: &OwnedFd,
    target: &OwnedFd,
    name: &CStr,
    root: &OwnedFd,
    path: &Path,
    links: &mut Links,
) -> Result<(), FileError> {
    let stat = rustix::fs::statat(source, name, AtFlags::SYMLINK_NOFOLLOW).step("look at", path)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::Directory && stat.st_nlink > 1 {
        let key = (stat.st_dev, stat.st_ino);
        if let Some(first) = links.get(&key) {
            return rustix::fs::linkat(root, first, target, name, AtFlags::empty()).step("link", path);
        }
        if let Ok(text) = CString::new(path.as_os_str().as_bytes()) {
            links.insert(key, text);
        }
    }
    match kind {
        FileType::Directory => {
            rustix::fs::mkdirat(target, name, Mode::from_raw_mode(0o700)).step("make directory", path)?;
            let source = rustix::fs::openat(source, name, READ | OFlags::DIRECTORY, Mode::empty())
                .step("open", path)?;
            let target = rustix::fs::openat(target, name, READ | OFlags::DIRECTORY, Mode::empty())
                .step("open", path)?;
            return copy_directory(&source, &target, root, path, links);
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
    rustix::fs::utimensat(target, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW).step("set times of", path)
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
    if rustix::fs::ioctl_ficlone(&to, &from).is_err() {
        copy_content(&from, &to, stat.st_size.unsigned_abs()).step("copy", path)?;
    }
    settle(&from, &to, stat, path)
}

/// Copies what is between the holes.
fn copy_content(from: &OwnedFd, to: &OwnedFd, size: u64) -> rustix::io::Result<()> {
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
fn copy_attributes(from: &OwnedFd, to: &OwnedFd, path: &Path) -> Result<(), FileError> {
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

fn times(stat: &Stat) -> Timestamps {
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
}
