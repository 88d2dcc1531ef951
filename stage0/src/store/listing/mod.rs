//! What a tree held when it was made: a line of JSON for each file, in a file beside the tree.
//!
//! The lines come in the order of a walk that lists each directory by its names' bytes. What a file is, is taken from the
//! finished tree; the hash of its content is from when it was unpacked, so that no byte is read again.

mod name;
mod verify;
mod walk;

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::Result;
use crate::files::Step;

pub(super) use verify::verify;

/// The listing's name, beside `rootfs`.
pub(super) const FILE: &str = "files";

/// The version of the lines' meaning.
const FORMAT: u32 = 1;

/// Hashes of the contents of regular files, by inode number.
pub(super) type Hashes = HashMap<u64, blake3::Hash>;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
}

/// What is known of one file of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Node {
    /// The path in the image, from `/`.
    path: String,
    /// What it is.
    kind: Kind,
    /// Where it is a further name of a file: the first one, and nothing else is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    same_as: Option<String>,
    /// Permission bits, in octal digits.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    mode: String,
    /// Owner.
    #[serde(default)]
    uid: u32,
    /// Group.
    #[serde(default)]
    gid: u32,
    /// Bytes of a regular file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Modification time: seconds and nanoseconds since the epoch.
    #[serde(default)]
    mtime: (i64, u32),
    /// What a symbolic link points to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// Major and minor number of a device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device: Option<(u32, u32)>,
    /// Extended attributes, their values in hexadecimal digits.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, String>,
    /// Hash of the content of a regular file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blake3: Option<String>,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    File,
    Directory,
    Link,
    Fifo,
    CharacterDevice,
    BlockDevice,
    Socket,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::File => "a file",
            Kind::Directory => "a directory",
            Kind::Link => "a symbolic link",
            Kind::Fifo => "a named pipe",
            Kind::CharacterDevice => "a character device",
            Kind::BlockDevice => "a block device",
            Kind::Socket => "a socket",
        }
    }
}

/// Writes down what the finished tree at `tree` holds. What has no hash in `hashes` is read.
pub(super) fn write(tree: &Path, hashes: &Hashes) -> Result<()> {
    let path = tree.join(FILE);
    let mut file = BufWriter::with_capacity(128 * 1024, File::create(&path).step("make", &path)?);
    line(&mut file, &Header { format: FORMAT }).step("write", &path)?;
    walk::walk(&tree.join("rootfs"), hashes, &mut |_, node| {
        line(&mut file, &node).step("write", &path)?;
        Ok(true)
    })?;
    file.flush().step("write", &path)?;
    Ok(())
}

fn line(file: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *file, value)?;
    file.write_all(b"\n")
}
