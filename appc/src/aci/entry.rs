//! One entry of an image archive, with its name checked and cleaned.

use std::{ffi::OsString, path::PathBuf};

/// An entry as its header describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The cleaned name: `manifest`, `rootfs`, or a path below `rootfs/`. Relative, without `.`, `..` and doubled or
    /// trailing slashes.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, set-id and sticky bits included (`0o7777`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of content; 0 for everything but regular files.
    pub size: u64,
    /// Modification time: seconds since the epoch.
    pub mtime: i64,
    /// Its nanoseconds, 0 to 999,999,999.
    pub mtime_nsec: u32,
    /// Extended attributes (`SCHILY.xattr.*` records), in the order of the archive.
    pub xattrs: Vec<(OsString, Vec<u8>)>,
}

impl Entry {
    /// The entry of an image's manifest of `size` bytes, written at `mtime` (seconds since the epoch): root's, as every archive
    /// of ours has it, whoever makes it.
    pub fn manifest(size: usize, mtime: i64) -> Entry {
        Entry {
            path: "manifest".into(),
            kind: EntryKind::Regular,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: size as u64,
            mtime,
            mtime_nsec: 0,
            xattrs: Vec::new(),
        }
    }
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file; its content follows.
    Regular,
    /// A symbolic link and its target, as it stands. The target may point anywhere: it must never be followed.
    Symlink(PathBuf),
    /// A further name of the file at this cleaned path in the archive, which starts with `rootfs/`.
    HardLink(PathBuf),
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}
