//! Unpacking an image's entries below a directory, and nowhere else.
//!
//! Every name is opened part by part from the root's descriptor, without following a link that the archive may have
//! made. The archive's own rules are checked before (`appc::aci`); here nothing relies on that.

use std::{
    collections::{BTreeSet, HashSet},
    ffi::OsStr,
    fs,
    io::{self, Read},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use appc::aci::{Entry, EntryKind};
use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, SeekFrom, Timespec, Timestamps, Uid, XattrFlags,
        makedev,
    },
    io::Errno,
};

use super::{Result, layers::below::moved, listing::Hashes, merge::merge};
use crate::files::{FileError, Step};

const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// How much is copied at once, in bytes. A piece of zeros this long becomes a hole.
const CHUNK: usize = 64 * 1024;

/// Unpacks one image.
#[derive(Debug)]
pub(super) struct Unpacker {
    base: PathBuf,
    root: OwnedFd,
    /// The last directory that was opened: entries of one directory mostly follow each other.
    parent: Option<(PathBuf, OwnedFd)>,
    /// Modes and times of directories, set when nothing is made in them any more.
    directories: Vec<Entry>,
    /// Directories that were only made for what is in them.
    implied: BTreeSet<PathBuf>,
    /// Names and targets of hard links to files that are not there.
    links: Vec<(PathBuf, PathBuf)>,
    /// Whether what comes later takes the place of what was there, as in layers.
    replaces: bool,
    /// Hashes of what was written.
    hashes: Hashes,
    size: u64,
    buffer: Vec<u8>,
}

impl Unpacker {
    /// Makes `base` and in it `rootfs`.
    pub(super) fn new(base: &Path) -> Result<Unpacker> {
        let path = base.join("rootfs");
        fs::create_dir_all(&path).step("make directory", &path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::open(base, flags, Mode::empty()).step("open", base)?;
        Ok(Unpacker {
            base: base.to_owned(),
            root,
            parent: None,
            directories: Vec::new(),
            implied: BTreeSet::new(),
            links: Vec::new(),
            replaces: false,
            hashes: Hashes::new(),
            size: 0,
            buffer: vec![0; CHUNK],
        })
    }

    /// The same for a layer, in which an entry may take the place of an earlier one.
    pub(super) fn of_layer(base: &Path) -> Result<Unpacker> {
        Ok(Unpacker { replaces: true, ..Unpacker::new(base)? })
    }

    /// Makes one entry. The manifest is none of the tree's files.
    pub(super) fn add(
        &mut self,
        entry: &Entry,
        content: &mut dyn Read,
    ) -> std::result::Result<(), FileError> {
        if !entry.path.starts_with("rootfs") {
            return io::copy(content, &mut io::sink()).map(drop).step("read", &entry.path);
        }
        let path = entry.path.as_path();
        if let EntryKind::Directory = entry.kind {
            self.open(path).step("make directory", path)?;
            self.implied.remove(path);
            self.directories.push(entry.clone());
            return Ok(());
        }
        let (parent, name) = self.parent_of(path).step("make directory of", path)?;
        if self.replaces {
            match rustix::fs::unlinkat(&parent, &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).step("replace", path),
            }
        }
        match &entry.kind {
            EntryKind::Regular => self.file(&parent, &name, entry, content)?,
            EntryKind::HardLink(target) => {
                let (from, first) = self.parent_of(target).step("open", target)?;
                match rustix::fs::linkat(&from, &first, &parent, &name, AtFlags::empty()) {
                    Err(Errno::NOENT) if self.replaces => {
                        self.links.push((path.to_owned(), target.clone()));
                    }
                    other => other.step("link", path)?,
                }
            }
            EntryKind::Symlink(target) => {
                rustix::fs::symlinkat(target, &parent, &name).step("make link", path)?;
                settle_at(&parent, &name, entry, false).step("set attributes of", path)?;
            }
            other => {
                let (kind, device) = special(other);
                rustix::fs::mknodat(&parent, &name, kind, Mode::from_raw_mode(0o600), device)
                    .step("make", path)?;
                settle_at(&parent, &name, entry, true).step("set attributes of", path)?;
            }
        }
        self.parent = Some((path.parent().unwrap_or(Path::new("")).to_owned(), parent));
        Ok(())
    }

    pub(super) fn parent_of(&mut self, path: &Path) -> rustix::io::Result<(OwnedFd, PathBuf)> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let parent = path.parent().ok_or(Errno::INVAL)?;
        let fd = match self.parent.take() {
            Some((known, fd)) if known == parent => fd,
            _ => self.open(parent)?,
        };
        Ok((fd, PathBuf::from(name)))
    }

    /// Opens a directory; it and those above it are made where they are missing.
    pub(super) fn open(&mut self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), BENEATH) {
            Err(Errno::NOENT) => {
                let parent =
                    self.open(path.parent().filter(|p| !p.as_os_str().is_empty()).ok_or(Errno::NOENT)?)?;
                let name = path.file_name().ok_or(Errno::INVAL)?;
                match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) => drop(self.implied.insert(path.to_owned())),
                    Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
                rustix::fs::openat2(&self.root, path, flags, Mode::empty(), BENEATH)
            }
            other => other,
        }
    }

    fn file(
        &mut self,
        parent: &OwnedFd,
        name: &Path,
        entry: &Entry,
        content: &mut dyn Read,
    ) -> std::result::Result<(), FileError> {
        let path = entry.path.as_path();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600)).step("make", path)?;
        self.copy(&file, entry.size, content, path)?;
        settle(&file, entry).step("set attributes of", path)
    }

    fn copy(
        &mut self,
        file: &OwnedFd,
        size: u64,
        content: &mut dyn Read,
        path: &Path,
    ) -> std::result::Result<(), FileError> {
        let mut left = size;
        let mut hole = false;
        let mut hasher = blake3::Hasher::new();
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            content.read_exact(&mut self.buffer[..most]).step("read", path)?;
            let piece = &self.buffer[..most];
            left -= most as u64;
            hasher.update(piece);
            if most == CHUNK && piece.iter().all(|byte| *byte == 0) {
                rustix::fs::seek(file, SeekFrom::Current(CHUNK as i64)).step("write", path)?;
                hole = true;
                continue;
            }
            let mut rest = piece;
            while !rest.is_empty() {
                let written =
                    rustix::io::retry_on_intr(|| rustix::io::write(file, rest)).step("write", path)?;
                rest = &rest[written..];
            }
            self.size += most as u64;
        }
        if hole {
            rustix::fs::ftruncate(file, size).step("write", path)?;
        }
        // A file keeps its number, whatever it is moved to, and whatever further names it gets.
        let number = rustix::fs::fstat(file).step("look at", path)?.st_ino;
        self.hashes.insert(number, hasher.finalize());
        Ok(())
    }

    /// Forgets what a file with this number held: it is another one now.
    pub(super) fn forget(&mut self, number: u64) {
        self.hashes.remove(&number);
    }

    /// Removes what one of the whitelists does not name, and sets what directories have, the deepest first.
    pub(super) fn finish(mut self, whitelists: &[&[String]]) -> Result<Unpacked> {
        self.parent = None;
        keep_only(&self.base.join("rootfs"), whitelists)?;
        // The last of several for one directory counts.
        self.directories.sort_by(|a, b| b.path.cmp(&a.path));
        let mut directories = HashSet::new();
        for entry in std::mem::take(&mut self.directories) {
            let directory = self.open(&entry.path).step("open", &entry.path)?;
            settle(&directory, &entry).step("set attributes of", &entry.path)?;
            directories.insert(Path::new("/").join(entry.path.strip_prefix("rootfs").unwrap_or(&entry.path)));
        }
        Ok(Unpacked { size: self.size, directories, hashes: self.hashes })
    }

    /// Whether anything of this layer depends on what is below it.
    pub(super) fn needs_what_is_below(&self) -> bool {
        !self.implied.is_empty() || !self.links.is_empty()
    }

    /// The directories that nobody has said anything of: paths that start with `rootfs`.
    pub(super) fn take_implied(&mut self) -> BTreeSet<PathBuf> {
        std::mem::take(&mut self.implied)
    }

    /// Names and targets of the hard links to files that this layer does not have.
    pub(super) fn take_links(&mut self) -> Vec<(PathBuf, PathBuf)> {
        std::mem::take(&mut self.links)
    }

    /// Moves a directory with all that is in it, over what is there already.
    pub(super) fn relocate(&mut self, from: &Path, to: &Path) -> std::result::Result<(), FileError> {
        self.parent = None;
        let (to_parent, to_name) = self.parent_of(to).step("make directory of", to)?;
        let (from_parent, from_name) = self.parent_of(from).step("open", from)?;
        match rustix::fs::statat(&to_parent, &to_name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {
                rustix::fs::renameat(&from_parent, &from_name, &to_parent, &to_name).step("move", from)?;
                self.implied.insert(to.to_owned());
            }
            _ => {
                merge(&self.base.join(from), &self.base.join(to), &HashSet::new())?;
                rustix::fs::unlinkat(&from_parent, &from_name, AtFlags::REMOVEDIR).step("move", from)?;
            }
        }
        for entry in &mut self.directories {
            entry.path = moved(&entry.path, from, to);
        }
        for (name, _) in &mut self.links {
            *name = moved(name, from, to);
        }
        Ok(())
    }
}

/// What was unpacked.
#[derive(Debug)]
pub(super) struct Unpacked {
    /// Bytes that were written.
    pub(super) size: u64,
    /// Directories that the image has itself, as paths inside it.
    pub(super) directories: HashSet<PathBuf>,
    /// Hashes of the contents that were written.
    pub(super) hashes: Hashes,
}

fn special(kind: &EntryKind) -> (FileType, u64) {
    match kind {
        EntryKind::CharDevice { major, minor } => (FileType::CharacterDevice, makedev(*major, *minor)),
        EntryKind::BlockDevice { major, minor } => (FileType::BlockDevice, makedev(*major, *minor)),
        _ => (FileType::Fifo, 0),
    }
}

fn times(entry: &Entry) -> Timestamps {
    let time = Timespec { tv_sec: entry.mtime, tv_nsec: i64::from(entry.mtime_nsec) };
    Timestamps { last_access: time, last_modification: time }
}

/// Owner, mode, attributes, times: each would undo what follows it if it came later.
fn settle(fd: &OwnedFd, entry: &Entry) -> rustix::io::Result<()> {
    rustix::fs::fchown(fd, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))?;
    rustix::fs::fchmod(fd, Mode::from_raw_mode(entry.mode))?;
    for (name, value) in &entry.xattrs {
        rustix::fs::fsetxattr(fd, name.as_bytes(), value, XattrFlags::empty())?;
    }
    rustix::fs::futimens(fd, &times(entry))
}

fn settle_at(parent: &OwnedFd, name: &Path, entry: &Entry, has_mode: bool) -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    if has_mode {
        rustix::fs::chmodat(parent, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())?;
    }
    rustix::fs::utimensat(parent, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW)
}

/// Removes what one of the whitelists does not name. An empty one names everything.
pub(super) fn keep_only(root: &Path, whitelists: &[&[String]]) -> Result<()> {
    for whitelist in whitelists.iter().filter(|whitelist| !whitelist.is_empty()) {
        let kept: HashSet<PathBuf> =
            whitelist.iter().map(|path| Path::new(path).components().collect()).collect();
        filter(root, Path::new("/"), &kept)?;
    }
    Ok(())
}

/// Removes files that are not named; directories stay (spec, pathWhitelist).
fn filter(directory: &Path, inside: &Path, kept: &HashSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).step("list", directory)? {
        let entry = entry.step("list", directory)?;
        let path = inside.join(OsStr::from_bytes(entry.file_name().as_bytes()));
        if entry.file_type().step("look at", entry.path())?.is_dir() {
            filter(&entry.path(), &path, kept)?;
        } else if !kept.contains(&path) {
            fs::remove_file(entry.path()).step("remove", entry.path())?;
        }
    }
    Ok(())
}
