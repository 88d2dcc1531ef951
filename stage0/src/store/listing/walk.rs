//! Walking a tree in the order of the listing.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::CString,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use super::{Hashes, Kind, Node, name::escape};
use crate::files::{FileError, Step};

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How much of a file is read at once, in bytes.
const CHUNK: usize = 256 * 1024;

/// Whom a node is handed to, with its path's bytes. `false` ends the walk.
pub(super) type Visit<'a> = dyn FnMut(&[u8], Node) -> Result<bool, FileError> + 'a;

/// Visits all files of the tree at `root`, itself first, each directory's in the order of their names' bytes.
pub(super) fn walk(root: &Path, hashes: &Hashes, visit: &mut Visit<'_>) -> Result<(), FileError> {
    let parent = rustix::fs::open(root.parent().unwrap_or(root), OPEN | OFlags::DIRECTORY, Mode::empty())
        .step("open", root)?;
    let name = CString::new(root.file_name().unwrap_or_default().as_bytes()).unwrap_or_default();
    let mut walk = Walk { hashes, firsts: HashMap::new(), buffer: Vec::new(), visit };
    walk.node(&parent, &name, &mut b"/".to_vec()).map(drop)
}

struct Walk<'a, 'v> {
    hashes: &'a Hashes,
    /// The first name of each file with several, by its inode number.
    firsts: HashMap<u64, String>,
    buffer: Vec<u8>,
    visit: &'a mut Visit<'v>,
}

impl Walk<'_, '_> {
    /// Visits what is at a name, and all below it. Returns whether the walk goes on.
    fn node(&mut self, parent: &OwnedFd, name: &CString, path: &mut Vec<u8>) -> Result<bool, FileError> {
        let shown = || Path::new(std::ffi::OsStr::from_bytes(path)).to_owned();
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).step("look at", shown())?;
        let node = self.describe(parent, name, &stat, path)?;
        let is_directory = node.kind == Kind::Directory;
        if !(self.visit)(path, node)? {
            return Ok(false);
        }
        if !is_directory {
            return Ok(true);
        }
        let directory = rustix::fs::openat(parent, name, OPEN | OFlags::DIRECTORY, Mode::empty())
            .step("open", shown())?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory).step("list", shown())? {
            let entry = entry.step("list", shown())?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
            }
        }
        names.sort_unstable();
        let length = path.len();
        for name in names {
            if path.last() != Some(&b'/') {
                path.push(b'/');
            }
            path.extend(name.as_bytes());
            let goes_on = self.node(&directory, &name, path)?;
            path.truncate(length);
            if !goes_on {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn describe(
        &mut self,
        parent: &OwnedFd,
        name: &CString,
        stat: &Stat,
        path: &[u8],
    ) -> Result<Node, FileError> {
        let shown = || Path::new(std::ffi::OsStr::from_bytes(path)).to_owned();
        let kind = kind(stat);
        let mut node = Node {
            path: escape(path),
            kind,
            same_as: None,
            mode: String::new(),
            uid: 0,
            gid: 0,
            size: None,
            mtime: (0, 0),
            target: None,
            device: None,
            xattrs: BTreeMap::new(),
            blake3: None,
        };
        if kind != Kind::Directory && stat.st_nlink > 1 {
            if let Some(first) = self.firsts.get(&stat.st_ino) {
                node.same_as = Some(first.clone());
                return Ok(node);
            }
            self.firsts.insert(stat.st_ino, node.path.clone());
        }
        node.mode = format!("{:04o}", stat.st_mode & 0o7777);
        (node.uid, node.gid) = (stat.st_uid, stat.st_gid);
        node.mtime = (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0));
        node.xattrs = attributes(parent, name).step("read attributes of", shown())?;
        match kind {
            Kind::File => {
                node.size = Some(stat.st_size.unsigned_abs());
                let hash = match self.hashes.get(&stat.st_ino) {
                    Some(hash) => *hash,
                    None => self.hash(parent, name).step("read", shown())?,
                };
                node.blake3 = Some(hash.to_hex().to_string());
            }
            Kind::Link => {
                let target = rustix::fs::readlinkat(parent, name, Vec::new()).step("read link", shown())?;
                node.target = Some(escape(target.as_bytes()));
            }
            Kind::CharacterDevice | Kind::BlockDevice => {
                node.device = Some((rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)));
            }
            Kind::Directory | Kind::Fifo | Kind::Socket => {}
        }
        Ok(node)
    }

    fn hash(&mut self, parent: &OwnedFd, name: &CString) -> rustix::io::Result<blake3::Hash> {
        let file = rustix::fs::openat(parent, name, OPEN | OFlags::NONBLOCK, Mode::empty())?;
        self.buffer.resize(CHUNK, 0);
        let mut hasher = blake3::Hasher::new();
        loop {
            let length = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut self.buffer[..]))?;
            if length == 0 {
                return Ok(hasher.finalize());
            }
            hasher.update(&self.buffer[..length]);
        }
    }
}

fn kind(stat: &Stat) -> Kind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Link,
        FileType::Fifo => Kind::Fifo,
        FileType::CharacterDevice => Kind::CharacterDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::Socket => Kind::Socket,
        FileType::RegularFile | FileType::Unknown => Kind::File,
    }
}

/// The attributes that are the image's: what the machine's security modules note on files is not.
fn attributes(parent: &OwnedFd, name: &CString) -> rustix::io::Result<BTreeMap<String, String>> {
    // There are no calls for attributes that take a directory and a name. /proc leads to the directory, and what the name
    // is, is not followed.
    let mut path = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
    path.extend(name.as_bytes());
    let mut list = vec![0; 1024];
    let length = loop {
        match rustix::fs::llistxattr(&*path, &mut list[..]) {
            Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(BTreeMap::new()),
            Ok(length) => break length,
            Err(Errno::RANGE) if list.len() < 64 * 1024 => list.resize(64 * 1024, 0),
            Err(errno) => return Err(errno),
        }
    };
    let mut found = BTreeMap::new();
    for name in list[..length].split(|byte| *byte == 0).filter(|name| is_of_image(name)) {
        let mut value = vec![0; 64 * 1024];
        let length = rustix::fs::lgetxattr(&*path, name, &mut value[..])?;
        found.insert(escape(name), super::super::layers::hex(&value[..length]));
    }
    Ok(found)
}

fn is_of_image(name: &[u8]) -> bool {
    !name.is_empty() && (!name.starts_with(b"security.") || name == b"security.capability")
}
