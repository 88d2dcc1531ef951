//! Putting one unpacked image over another: what the upper one has takes the place of what the lower one had.
//!
//! Both trees are ours and of one file system, and nobody else works on them: files are moved, not copied. All is done
//! from descriptors of directories, which are opened without following links.

use std::{
    collections::HashSet,
    ffi::{CStr, OsStr},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags},
    io::{self, Errno},
};

use crate::files::{FileError, Step, remove_tree};

/// Moves all of `upper` over `lower`. Directories of `upper` that are in `explicit` (paths inside, with `/`) bring their
/// owner, mode, attributes and time along; others were only made for what is in them.
pub(super) fn merge(
    upper: &Path,
    lower: &Path,
    explicit: &HashSet<PathBuf>,
) -> std::result::Result<(), FileError> {
    let open = |path: &Path| rustix::fs::open(path, DIRECTORY, Mode::empty()).step("open", path);
    let (from, to) = (open(upper)?, open(lower)?);
    let merge = Merge { lower, explicit };
    merge.directory(from.as_fd(), to.as_fd(), Path::new("/"))
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

struct Merge<'a> {
    lower: &'a Path,
    explicit: &'a HashSet<PathBuf>,
}

impl Merge<'_> {
    fn directory(
        &self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        inside: &Path,
    ) -> std::result::Result<(), FileError> {
        let names = names(from).step("list", inside)?;
        for name in names {
            let path = inside.join(OsStr::from_bytes(name.to_bytes()));
            let kind = kind_of(from, &name).step("look at", &path)?;
            let below = match kind_of(to, &name) {
                Ok(kind) => Some(kind),
                Err(Errno::NOENT) => None,
                Err(errno) => return Err(errno).step("look at", &path),
            };
            match (kind, below) {
                (Some(FileType::Directory), Some(Some(FileType::Directory))) => {
                    let open =
                        |base: BorrowedFd<'_>| rustix::fs::openat(base, &name, DIRECTORY, Mode::empty());
                    let (upper, lower) = (open(from).step("open", &path)?, open(to).step("open", &path)?);
                    self.directory(upper.as_fd(), lower.as_fd(), &path)?;
                    continue;
                }
                (_, Some(Some(FileType::Directory))) => {
                    let relative = path.strip_prefix("/").unwrap_or(&path);
                    remove_tree(&self.lower.join(relative))?;
                }
                (Some(FileType::Directory), Some(_)) => {
                    rustix::fs::unlinkat(to, &name, AtFlags::empty()).step("replace", &path)?;
                }
                _ => {}
            }
            rustix::fs::renameat(from, &name, to, &name).step("move", &path)?;
        }
        if self.explicit.contains(inside) {
            settle(from, to).step("set attributes of", inside)?;
        }
        Ok(())
    }
}

fn names(directory: BorrowedFd<'_>) -> io::Result<Vec<std::ffi::CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

fn kind_of(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<FileType>> {
    let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(Some(FileType::from_raw_mode(stat.st_mode)))
}

/// Gives a directory what another has.
fn settle(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    for name in attributes(to)? {
        rustix::fs::fremovexattr(to, name.as_slice())?;
    }
    rustix::fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    for name in attributes(from)? {
        let mut value = vec![0; 64 * 1024];
        let length = rustix::fs::fgetxattr(from, name.as_slice(), &mut value)?;
        rustix::fs::fsetxattr(to, name.as_slice(), &value[..length], XattrFlags::empty())?;
    }
    let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0) };
    rustix::fs::futimens(to, &Timestamps { last_access: time, last_modification: time })
}

/// Names of the attributes that images may have; those of security modules are the machine's.
fn attributes(directory: BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
    let mut list = vec![0; 64 * 1024];
    let length = rustix::fs::flistxattr(directory, &mut list)?;
    let is_of_image = |name: &&[u8]| {
        name.starts_with(b"user.")
            || matches!(*name, b"system.posix_acl_access" | b"system.posix_acl_default")
    };
    let names = list[..length].split(|byte| *byte == 0).filter(is_of_image);
    Ok(names.map(<[u8]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn tree(base: &Path, files: &[(&str, &str)]) -> PathBuf {
        fs::create_dir(base).unwrap();
        for (path, content) in files {
            let path = base.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match content.strip_prefix("-> ") {
                Some(target) => symlink(target, path).unwrap(),
                None => fs::write(path, content).unwrap(),
            }
        }
        base.to_owned()
    }

    fn list(base: &Path, inside: &str, found: &mut Vec<String>) {
        let mut entries: Vec<_> =
            fs::read_dir(base.join(inside)).unwrap().map(|entry| entry.unwrap()).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = Path::new(inside).join(entry.file_name()).display().to_string();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                list(base, &path, found);
            } else if kind.is_symlink() {
                found.push(format!("{path} -> {}", fs::read_link(entry.path()).unwrap().display()));
            } else {
                found.push(format!("{path}={}", fs::read_to_string(entry.path()).unwrap()));
            }
        }
    }

    // APPC-152, APPC-153, APPC-162
    #[test]
    fn the_upper_tree_takes_the_lowers_place() {
        let base = tempfile::tempdir().unwrap();
        let outside = tree(&base.path().join("outside"), &[("kept", "outside")]);
        let to_outside = format!("-> {}", outside.display());
        let lower = tree(
            &base.path().join("lower"),
            &[
                ("a", "lower"),
                ("d/x", "lower"),
                ("d/y", "lower"),
                ("link", &to_outside),
                ("f/in", "lower"),
                ("g", "lower"),
            ],
        );
        let upper = tree(
            &base.path().join("upper"),
            &[("b", "upper"), ("d/y", "upper"), ("link/kept", "upper"), ("f", "upper"), ("g/in", "upper")],
        );
        merge(&upper, &lower, &HashSet::new()).unwrap();
        let mut found = Vec::new();
        list(&lower, "", &mut found);
        assert_eq!(
            found,
            ["a=lower", "b=upper", "d/x=lower", "d/y=upper", "f=upper", "g/in=upper", "link/kept=upper"]
        );
        assert_eq!(fs::read_to_string(outside.join("kept")).unwrap(), "outside");
    }

    #[test]
    fn only_directories_that_the_image_has_bring_their_mode() {
        use std::os::unix::fs::PermissionsExt;
        let base = tempfile::tempdir().unwrap();
        let lower = tree(&base.path().join("lower"), &[("d/x", ""), ("e/x", "")]);
        let upper = tree(&base.path().join("upper"), &[("d/y", ""), ("e/y", "")]);
        for directory in ["d", "e"] {
            fs::set_permissions(lower.join(directory), fs::Permissions::from_mode(0o711)).unwrap();
            fs::set_permissions(upper.join(directory), fs::Permissions::from_mode(0o700)).unwrap();
        }
        merge(&upper, &lower, &HashSet::from(["/d".into()])).unwrap();
        let mode = |name: &str| fs::metadata(lower.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("d"), mode("e")), (0o700, 0o711));
    }
}
