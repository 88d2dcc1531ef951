//! Copying between trees one of which nobody has to trust: an app may change its own while files are copied out of it or
//! into it. Every step starts at a descriptor, and nothing is opened but directories and regular files.

use std::{
    cell::Cell,
    ffi::{CStr, CString, OsStr},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid},
    io::Errno,
};

use super::{
    FileError, Step,
    copy::{copy_attributes, copy_data, times},
};

/// How often a path is looked up anew that something moved under.
const LOOKUPS: u32 = 10_000;

/// Set-user-ID, set-group-ID and sticky bits.
const SPECIAL_BITS: u32 = 0o7000;

/// What opens an entry without doing anything to it.
const PLACE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a path in `root` as a place, which leads nowhere out of it. Without `follow` a link at its end is the place.
///
/// # Errors
/// What openat2(2) says.
pub fn place_in_root(root: impl AsFd, path: &Path, follow: bool) -> rustix::io::Result<OwnedFd> {
    let flags = if follow { OFlags::PATH | OFlags::CLOEXEC } else { PLACE };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let look = || rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve);
    for _ in 1..LOOKUPS {
        match look() {
            // Something was renamed or mounted meanwhile, and a `..` may lead anywhere.
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    look()
}

/// Whose copies are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// One user's and the group's of the same number.
    One(u32),
    /// The originals', of which those in one range are those in another one. The rest stays as it is.
    Shifted {
        /// The first of the originals' range.
        from: u32,
        /// The first of the copies' range.
        to: u32,
        /// How many there are in each.
        count: u32,
    },
}

impl Owners {
    fn of(self, id: u32) -> u32 {
        match self {
            Owners::One(id) => id,
            Owners::Shifted { from, to, count } => match id.checked_sub(from) {
                Some(distance) if distance < count => to.saturating_add(distance),
                _ => id,
            },
        }
    }
}

/// How files are copied.
#[derive(Debug)]
pub struct Exchange {
    owners: Owners,
    /// Whether times, attributes, set-id and sticky bits are copied, too.
    archive: bool,
    /// What was left out: neither a directory, nor a file, a link or a pipe.
    left_out: Vec<PathBuf>,
    /// Numbers the names of copies that are not complete.
    number: Cell<u32>,
}

impl Exchange {
    /// A copy that has not begun. An archive keeps times, attributes, set-id and sticky bits.
    pub fn new(owners: Owners, archive: bool) -> Exchange {
        Exchange { owners, archive, left_out: Vec::new(), number: Cell::new(0) }
    }

    /// Copies what is at the place `from` to `name` in the directory `to`. Directories are copied into those that are
    /// there; all else takes the place of what has its name, at once and when it is complete.
    ///
    /// # Errors
    /// Names the first path that cannot be copied. What was copied before stays.
    pub fn copy(&mut self, from: &OwnedFd, to: &OwnedFd, name: &OsStr) -> Result<(), FileError> {
        let name = CString::new(name.as_bytes()).map_err(|_| Errno::INVAL).step("make", Path::new(name))?;
        self.entry(from, to, &name, Path::new(OsStr::from_bytes(name.to_bytes())))
    }

    /// Copies what is in the directory at the place `from` into the directory `to`.
    ///
    /// # Errors
    /// As [`Exchange::copy`].
    pub fn copy_content(&mut self, from: &OwnedFd, to: &OwnedFd) -> Result<(), FileError> {
        self.directory(from, to, Path::new(""))
    }

    /// What was left out, below what was copied.
    pub fn left_out(self) -> Vec<PathBuf> {
        self.left_out
    }

    fn directory(&mut self, from: &OwnedFd, to: &OwnedFd, path: &Path) -> Result<(), FileError> {
        let from = rustix::fs::openat(from, ".", DIRECTORY, Mode::empty()).step("open", path)?;
        for entry in Dir::read_from(&from).step("list", path)? {
            let entry = entry.step("list", path)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let below = path.join(OsStr::from_bytes(name.to_bytes()));
            match rustix::fs::openat(&from, name, PLACE, Mode::empty()) {
                Ok(place) => self.entry(&place, to, name, &below)?,
                // It was removed meanwhile.
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).step("open", &below),
            }
        }
        Ok(())
    }

    fn entry(&mut self, from: &OwnedFd, to: &OwnedFd, name: &CStr, path: &Path) -> Result<(), FileError> {
        let stat = rustix::fs::fstat(from).step("look at", path)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let made = match rustix::fs::mkdirat(to, name, Mode::RWXU) {
                    Err(Errno::EXIST) => false,
                    other => other.step("make directory", path).map(|()| true)?,
                };
                let target = rustix::fs::openat(to, name, DIRECTORY, Mode::empty()).step("open", path)?;
                self.directory(from, &target, path)?;
                if made { self.settle(from, &target, &stat, path) } else { Ok(()) }
            }
            FileType::RegularFile => self.file(from, to, name, &stat, path),
            FileType::Symlink => {
                let text = rustix::fs::readlinkat(from, "", Vec::new()).step("read link", path)?;
                self.replace(to, name, path, |name| rustix::fs::symlinkat(&text, to, name))?;
                let (uid, gid) = self.owner(&stat);
                if uid.is_root() && gid.is_root() {
                    return Ok(()); // As all that root makes.
                }
                rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                    .step("set owner of", path)
            }
            FileType::Fifo => {
                let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
                self.replace(to, name, path, |name| {
                    rustix::fs::mknodat(to, name, FileType::Fifo, mode, 0)?;
                    let (uid, gid) = self.owner(&stat);
                    rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                })
            }
            _ => {
                self.left_out.push(path.to_owned());
                Ok(())
            }
        }
    }

    /// Copies a regular file. Its name is not its own before it is complete.
    fn file(
        &self,
        from: &OwnedFd,
        to: &OwnedFd,
        name: &CStr,
        stat: &Stat,
        path: &Path,
    ) -> Result<(), FileError> {
        let reopened = format!("/proc/self/fd/{}", from.as_raw_fd());
        let source =
            rustix::fs::open(reopened, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).step("open", path)?;
        let fill = |copy: &OwnedFd| {
            copy_data(&source, copy, stat.st_size.unsigned_abs()).step("copy", path)?;
            self.settle(&source, copy, stat, path)
        };
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        match rustix::fs::openat(to, ".", flags | OFlags::TMPFILE, Mode::RUSR) {
            Ok(copy) => {
                fill(&copy)?;
                let unnamed = format!("/proc/self/fd/{}", copy.as_raw_fd());
                self.replace(to, name, path, |name| {
                    rustix::fs::linkat(CWD, &unnamed, to, name, AtFlags::SYMLINK_FOLLOW)
                })
            }
            // The file system has no files without a name.
            Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
                let exclusive = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
                let temporary = self.temporary();
                let copy = rustix::fs::openat(to, &temporary, exclusive, Mode::RUSR).step("make", path)?;
                let filled = fill(&copy);
                self.rename(to, &temporary, name, path, filled)
            }
            Err(errno) => Err(errno).step("make", path),
        }
    }

    /// A name for what is not complete.
    fn temporary(&self) -> String {
        let number = self.number.replace(self.number.get().wrapping_add(1));
        format!(".rkt-cp-{}-{number}", rustix::process::getpid().as_raw_nonzero())
    }

    /// Gives what is complete its name, and removes what did not come to be that.
    fn rename(
        &self,
        to: &OwnedFd,
        temporary: &str,
        name: &CStr,
        path: &Path,
        made: Result<(), FileError>,
    ) -> Result<(), FileError> {
        let renamed = made.and_then(|()| rustix::fs::renameat(to, temporary, to, name).step("replace", path));
        if renamed.is_err() && rustix::fs::unlinkat(to, temporary, AtFlags::empty()).is_err() {
            // Somebody else has removed it.
        }
        renamed
    }

    /// Makes an entry, in the place of what has its name unless that is a directory.
    fn replace(
        &self,
        to: &OwnedFd,
        name: &CStr,
        path: &Path,
        make: impl Fn(&CStr) -> rustix::io::Result<()>,
    ) -> Result<(), FileError> {
        match make(name) {
            Err(Errno::EXIST) => {}
            other => return other.step("make", path),
        }
        let temporary = self.temporary();
        let free = CString::new(temporary.as_str()).map_err(|_| Errno::INVAL).step("make", path)?;
        make(&free).step("make", path)?;
        self.rename(to, &temporary, name, path, Ok(()))
    }

    fn owner(&self, stat: &Stat) -> (Uid, Gid) {
        (Uid::from_raw(self.owners.of(stat.st_uid)), Gid::from_raw(self.owners.of(stat.st_gid)))
    }

    /// Owner first: changing it takes set-id bits and capabilities away. Times last: all else changes them.
    fn settle(&self, from: &OwnedFd, to: &OwnedFd, stat: &Stat, path: &Path) -> Result<(), FileError> {
        let (uid, gid) = self.owner(stat);
        rustix::fs::fchown(to, Some(uid), Some(gid)).step("set owner of", path)?;
        let mut mode = stat.st_mode & 0o7777;
        if self.archive {
            let reopened = format!("/proc/self/fd/{}", from.as_raw_fd());
            let readable = rustix::fs::open(reopened, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .step("open", path)?;
            copy_attributes(&readable, to, path)?;
        } else {
            mode &= !SPECIAL_BITS;
        }
        rustix::fs::fchmod(to, Mode::from_raw_mode(mode)).step("set mode of", path)?;
        if self.archive {
            rustix::fs::futimens(to, &times(stat)).step("set times of", path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    };

    use super::*;

    fn open(path: &Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn a_tree_is_copied_into_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::create_dir_all(from.join("d/e")).unwrap();
        fs::create_dir_all(to.join("from/d")).unwrap();
        fs::write(from.join("d/file"), "new").unwrap();
        fs::set_permissions(from.join("d/file"), fs::Permissions::from_mode(0o6755)).unwrap();
        symlink("/nowhere", from.join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(from.join("socket")).unwrap();
        fs::write(to.join("from/d/file"), "old").unwrap();
        fs::write(to.join("from/d/kept"), "old").unwrap();
        symlink("/etc/passwd", to.join("from/link")).unwrap();
        let owner = Owners::Shifted { from: 0, to: 0, count: 1 };
        let mut exchange = Exchange::new(owner, false);
        exchange.copy(&open(&from), &open(&to), "from".as_ref()).unwrap();
        assert_eq!(exchange.left_out(), [PathBuf::from("from/socket")]);
        let to = to.join("from");
        assert_eq!(fs::read_to_string(to.join("d/file")).unwrap(), "new");
        assert_eq!(fs::metadata(to.join("d/file")).unwrap().mode() & 0o7777, 0o755);
        assert_eq!(fs::read_to_string(to.join("d/kept")).unwrap(), "old");
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/nowhere"));
        assert!(to.join("d/e").is_dir());
        assert_eq!(fs::read_dir(&to).unwrap().count(), 2, "something temporary stayed");
        // A file does not replace a directory, and leaves nothing.
        fs::remove_file(from.join("link")).unwrap();
        fs::write(from.join("e"), "").unwrap();
        let mut exchange = Exchange::new(owner, true);
        let error = exchange.copy(&open(&from.join("e")), &open(&to), "d".as_ref()).unwrap_err();
        assert!(error.to_string().starts_with("replace d: "), "{error}");
        assert_eq!(fs::read_dir(&to).unwrap().count(), 2);
    }

    #[test]
    fn links_in_a_root_lead_nowhere_out_of_it() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("etc")).unwrap();
        fs::write(directory.path().join("etc/passwd"), "").unwrap();
        symlink("/etc/passwd", directory.path().join("link")).unwrap();
        symlink("../../../..", directory.path().join("up")).unwrap();
        let root = open(directory.path());
        let place =
            |path: &str, follow| rustix::fs::fstat(place_in_root(&root, path.as_ref(), follow).unwrap());
        let own = fs::metadata(directory.path().join("etc/passwd")).unwrap().ino();
        assert_eq!(place("/link", true).unwrap().st_ino, own);
        assert_eq!(place("up/../etc/passwd", true).unwrap().st_ino, own);
        assert_eq!(FileType::from_raw_mode(place("link", false).unwrap().st_mode), FileType::Symlink);
    }
}
