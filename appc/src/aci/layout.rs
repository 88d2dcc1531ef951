//! An image layout: a directory with `manifest` and `rootfs`, walked without following links.

use std::{
    collections::HashMap,
    ffi::{CStr, OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, major, minor},
    io::Errno,
};

use super::{Entry, EntryKind};
use crate::schema::ImageManifest;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What is wrong with a layout, and where.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LayoutError(String);

impl From<LayoutError> for String {
    fn from(error: LayoutError) -> String {
        error.0
    }
}

/// An open layout.
#[derive(Debug)]
pub struct Layout {
    directory: OwnedFd,
    path: PathBuf,
    /// Its manifest.
    pub manifest: ImageManifest,
    manifest_stat: Stat,
}

impl Layout {
    /// Opens a layout and checks what is in it.
    ///
    /// # Errors
    /// Where it is none, or cannot be read.
    pub fn open(path: &Path) -> Result<Layout, LayoutError> {
        Layout::check(path).map_err(LayoutError)
    }

    fn check(path: &Path) -> Result<Layout, String> {
        let shown = path.display();
        let directory = rustix::fs::openat(
            CWD,
            path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|errno| format!("{shown}: {}", words(errno)))?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory).map_err(|errno| format!("{shown}: {}", words(errno)))? {
            let entry = entry.map_err(|errno| format!("{shown}: {}", words(errno)))?;
            if entry.file_name() != c"." && entry.file_name() != c".." {
                names.push(OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
            }
        }
        if let Some(name) = names.iter().find(|name| *name != "manifest" && *name != "rootfs") {
            return Err(format!(
                "{shown}: unrecognized file path in layout: {:?}",
                name.display().to_string()
            ));
        }
        if !names.iter().any(|name| name == "manifest") {
            return Err(format!("{shown}: no image manifest found in layout"));
        }
        if !names.iter().any(|name| name == "rootfs") {
            return Err(format!("{shown}: no rootfs found in layout"));
        }
        let root =
            stat(&directory, c"rootfs").map_err(|errno| format!("{shown}/rootfs: {}", words(errno)))?;
        if FileType::from_raw_mode(root.st_mode) != FileType::Directory {
            return Err(format!("{shown}: rootfs is not a directory"));
        }
        let (manifest, manifest_stat) =
            read_manifest(&directory).map_err(|error| format!("{shown}/manifest: {error}"))?;
        Ok(Layout { directory, path: path.to_owned(), manifest, manifest_stat })
    }

    /// Calls `add` with every entry, `rootfs` first, each directory's entries in the order of their names. The manifest is
    /// left to the caller.
    ///
    /// # Errors
    /// What `add` says, or where something cannot be read.
    pub fn walk<E: From<LayoutError>>(
        &self,
        add: &mut dyn FnMut(Entry, &mut dyn Read) -> Result<(), E>,
    ) -> Result<(), E> {
        let open = rustix::fs::openat(&self.directory, c"rootfs", DIRECTORY, Mode::empty());
        walk_root(&open.map_err(|errno| wrong(&self.path, errno))?, add)
    }

    /// When the manifest was changed: builds of the same layout give the same image.
    pub fn manifest_time(&self) -> i64 {
        self.manifest_stat.st_mtime
    }
}

/// Calls `add` with every entry of a root file system, as [`Layout::walk`] does with those of a layout. `root` is open for
/// reading.
///
/// # Errors
/// What `add` says, or where something cannot be read.
pub fn walk_root<E: From<LayoutError>>(
    root: &OwnedFd,
    add: &mut dyn FnMut(Entry, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    let path = Path::new("rootfs");
    let stat = rustix::fs::fstat(root).map_err(|errno| wrong(path, errno))?;
    let mut entry = entry(path, &stat, EntryKind::Directory);
    entry.xattrs = attributes(root).map_err(|errno| wrong(path, errno))?;
    add(entry, &mut io::empty())?;
    walk_directory(root, path, &mut HashMap::new(), add)
}

fn walk_directory<E: From<LayoutError>>(
    directory: &OwnedFd,
    path: &Path,
    links: &mut HashMap<(u64, u64), PathBuf>,
    add: &mut dyn FnMut(Entry, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    let mut names: Vec<OsString> = Vec::new();
    for item in Dir::read_from(directory).map_err(|errno| wrong(path, errno))? {
        let item = item.map_err(|errno| wrong(path, errno))?;
        names.push(OsStr::from_bytes(item.file_name().to_bytes()).to_owned());
    }
    names.sort();
    for name in names.iter().filter(|name| *name != "." && *name != "..") {
        let below = path.join(name);
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| wrong(&below, errno))?;
        let Some(kind) = kind(directory, name, &stat, &below, links).map_err(|errno| wrong(&below, errno))?
        else {
            continue;
        };
        let mut entry = entry(&below, &stat, kind.clone());
        match kind {
            EntryKind::Regular => {
                // It may have been swapped for a pipe, which would block.
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
                let file = rustix::fs::openat(directory, name, flags, Mode::empty())
                    .map_err(|errno| wrong(&below, errno))?;
                let opened = rustix::fs::fstat(&file).map_err(|errno| wrong(&below, errno))?;
                if (opened.st_dev, opened.st_ino) != (stat.st_dev, stat.st_ino) {
                    let text = format!("{}: was replaced while it was read", below.display());
                    return Err(LayoutError(text).into());
                }
                entry.xattrs = attributes(&file).map_err(|errno| wrong(&below, errno))?;
                add(entry, &mut File::from(file))?;
            }
            EntryKind::Directory => {
                let open = rustix::fs::openat(directory, name, DIRECTORY, Mode::empty())
                    .map_err(|errno| wrong(&below, errno))?;
                entry.xattrs = attributes(&open).map_err(|errno| wrong(&below, errno))?;
                add(entry, &mut io::empty())?;
                walk_directory(&open, &below, links, add)?;
            }
            _ => add(entry, &mut io::empty())?,
        }
    }
    Ok(())
}

fn wrong(path: &Path, errno: Errno) -> LayoutError {
    LayoutError(format!("{}: {}", path.display(), words(errno)))
}

fn stat(directory: &OwnedFd, name: &CStr) -> rustix::io::Result<Stat> {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
}

fn read_manifest(directory: &OwnedFd) -> Result<(ImageManifest, Stat), String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::openat(directory, c"manifest", flags, Mode::empty()).map_err(words)?;
    let stat = rustix::fs::fstat(&file).map_err(words)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err("is not a regular file".to_owned());
    }
    let mut text = Vec::new();
    File::from(file)
        .take(crate::MAX_MANIFEST_SIZE + 1)
        .read_to_end(&mut text)
        .map_err(|error| error.kind().to_string())?;
    Ok((ImageManifest::from_slice(&text).map_err(|error| error.to_string())?, stat))
}

/// What a file is in an archive; `None` for a socket, which has no place there.
fn kind(
    directory: &OwnedFd,
    name: &OsStr,
    stat: &Stat,
    path: &Path,
    links: &mut HashMap<(u64, u64), PathBuf>,
) -> rustix::io::Result<Option<EntryKind>> {
    let (major, minor) = (major(stat.st_rdev), minor(stat.st_rdev));
    Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            if stat.st_nlink > 1 {
                if let Some(first) = links.get(&(stat.st_dev, stat.st_ino)) {
                    return Ok(Some(EntryKind::HardLink(first.clone())));
                }
                links.insert((stat.st_dev, stat.st_ino), path.to_owned());
            }
            EntryKind::Regular
        }
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(directory, name, Vec::new())?;
            EntryKind::Symlink(PathBuf::from(OsStr::from_bytes(target.as_bytes())))
        }
        FileType::Fifo => EntryKind::Fifo,
        FileType::CharacterDevice => EntryKind::CharDevice { major, minor },
        FileType::BlockDevice => EntryKind::BlockDevice { major, minor },
        _ => return Ok(None),
    }))
}

fn entry(path: &Path, stat: &Stat, kind: EntryKind) -> Entry {
    Entry {
        path: path.to_owned(),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: if kind == EntryKind::Regular { stat.st_size.unsigned_abs() } else { 0 },
        mtime: stat.st_mtime,
        mtime_nsec: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        xattrs: Vec::new(),
        kind,
    }
}

/// Extended attributes that an image may have, in the order of their names.
fn attributes(file: &OwnedFd) -> rustix::io::Result<Vec<(OsString, Vec<u8>)>> {
    let mut names = Vec::with_capacity(64 * 1024);
    match rustix::fs::flistxattr(file, rustix::buffer::spare_capacity(&mut names)) {
        Ok(_) => {}
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(errno) => return Err(errno),
    }
    let mut found = Vec::new();
    for name in names.split(|byte| *byte == 0) {
        let kept = name.starts_with(b"user.")
            || matches!(
                name,
                b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default"
            );
        if kept {
            let mut value = Vec::with_capacity(64 * 1024);
            rustix::fs::fgetxattr(file, name, rustix::buffer::spare_capacity(&mut value))?;
            found.push((OsStr::from_bytes(name).to_owned(), value));
        }
    }
    found.sort();
    Ok(found)
}

/// An error in words.
fn words(errno: Errno) -> String {
    let text = io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
