//! Reading an archive: one pass, in which it is decompressed, hashed, checked and handed on entry by entry.

use std::{
    ffi::{OsStr, OsString},
    io::{self, Read},
    os::unix::ffi::{OsStrExt, OsStringExt},
};

use sha2::{Digest, Sha512};

use super::{
    AciError, Compression, Entry, EntryKind,
    check::{Checker, clean},
    compression::decompress,
};
use crate::{schema::ImageManifest, types::ImageId};

/// A tar's unit, in bytes.
const BLOCK: u64 = 512;

/// How large an archive may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries.
    pub entries: u64,
    /// Bytes of the uncompressed archive.
    pub bytes: u64,
    /// Bytes that the files have together, holes included.
    pub content: u64,
    /// Bytes of a name.
    pub path: usize,
    /// Parts of a name.
    pub depth: usize,
    /// Bytes of the manifest.
    pub manifest: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            entries: 2_000_000,
            bytes: 64 << 30,
            content: 256 << 30,
            path: 4096,
            depth: 255,
            manifest: crate::MAX_MANIFEST_SIZE,
        }
    }
}

/// What is known of an archive that was read to its end.
#[derive(Debug, Clone)]
pub struct Archive {
    /// The hash of the uncompressed archive.
    pub id: ImageId,
    /// Its manifest.
    pub manifest: ImageManifest,
    /// The manifest as it stands in the archive.
    pub manifest_bytes: Vec<u8>,
    /// How it is compressed.
    pub compression: Compression,
    /// Bytes of the uncompressed archive.
    pub size: u64,
    /// Number of entries.
    pub entries: u64,
}

/// Why an archive could not be read: its own fault, the input's, or the visitor's.
#[derive(Debug, thiserror::Error)]
pub enum ReadError<E> {
    /// It is not what an image may be.
    #[error(transparent)]
    Invalid(#[from] AciError),
    /// Reading failed, or what was read is not a whole archive.
    #[error("read the archive: {0}")]
    Io(io::Error),
    /// The visitor did not want to go on.
    #[error(transparent)]
    Visit(E),
}

/// Reads an archive to its end and calls `visit` with each entry and its content, in the order of the archive, the
/// manifest among them. Memory does not grow with the image.
///
/// # Errors
/// See [`ReadError`]. The visitor may have seen entries of an archive that turns out to be invalid.
pub fn read<E>(
    input: impl Read,
    limits: &Limits,
    visit: &mut dyn FnMut(&Entry, &mut dyn Read) -> Result<(), E>,
) -> Result<Archive, ReadError<E>> {
    let (compression, reader) = decompress(input).map_err(of_io)?;
    let mut hashing = Hashing { reader, hash: Sha512::new(), position: 0, limit: limits.bytes };
    let mut manifest_bytes = None;
    let mut entries = 0;
    let end = {
        let mut tar = tar::Archive::new(&mut hashing);
        let mut checker = Checker::new(limits);
        let mut content = 0_u64;
        let mut end = 0;
        for raw in tar.entries().map_err(of_io)? {
            let mut raw = raw.map_err(of_io)?;
            let stored = raw.header().entry_size().unwrap_or(0);
            end = raw.raw_file_position() + stored.max(0).div_ceil(BLOCK) * BLOCK;
            let Some(entry) = entry(&mut raw, limits)? else { continue };
            checker.check(&entry)?;
            entries += 1;
            content = content.saturating_add(entry.size);
            if content > limits.content {
                return Err(
                    AciError::Archive(format!("its files have more than {} bytes", limits.content)).into()
                );
            }
            if entry.path.as_os_str() == "manifest" {
                let bytes = manifest(&mut raw, limits)?;
                visit(&entry, &mut bytes.as_slice()).map_err(ReadError::Visit)?;
                manifest_bytes = Some(bytes);
            } else {
                let mut whole = Whole { reader: &mut raw, left: entry.size };
                visit(&entry, &mut whole).map_err(ReadError::Visit)?;
            }
        }
        checker.finish()?;
        end
    };
    // An archive ends with blocks of zeros. One that ends without was cut off between two entries.
    if hashing.position <= end {
        return Err(truncated());
    }
    // Whatever follows belongs to the image's identity.
    io::copy(&mut hashing, &mut io::sink()).map_err(of_io)?;
    let manifest_bytes =
        manifest_bytes.ok_or_else(|| AciError::Archive("no image manifest found in layout".to_owned()))?;
    Ok(Archive {
        id: ImageId::from_digest(&hashing.hash.finalize().into()),
        manifest: ImageManifest::from_slice(&manifest_bytes).map_err(AciError::from)?,
        manifest_bytes,
        compression,
        size: hashing.position,
        entries,
    })
}

fn truncated<E>() -> ReadError<E> {
    ReadError::Io(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is truncated"))
}

/// Our own errors travel through readers as `io::Error`.
fn of_io<E>(error: io::Error) -> ReadError<E> {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return truncated();
    }
    let ours = error.get_ref().and_then(|inner| inner.downcast_ref::<AciError>()).cloned();
    ours.map_or(ReadError::Io(error), ReadError::Invalid)
}

fn manifest<E>(raw: &mut impl Read, limits: &Limits) -> Result<Vec<u8>, ReadError<E>> {
    let mut bytes = Vec::new();
    raw.take(limits.manifest + 1).read_to_end(&mut bytes).map_err(of_io)?;
    if bytes.len() as u64 > limits.manifest {
        return Err(AciError::from(crate::SchemaError::TooLarge(bytes.len() as u64)).into());
    }
    Ok(bytes)
}

/// Translates an entry. `None` is one without meaning for an image: the archive's own top directory, a global header.
fn entry<R: Read, E>(raw: &mut tar::Entry<'_, R>, limits: &Limits) -> Result<Option<Entry>, ReadError<E>> {
    let name = raw.path_bytes().into_owned();
    let wrong = |rule: &str| AciError::Entry {
        name: String::from_utf8_lossy(&name).chars().take(256).collect(),
        rule: rule.to_owned(),
    };
    let kind = raw.header().entry_type();
    if kind.is_pax_global_extensions() {
        return Ok(None);
    }
    let path = clean(&name, limits)?;
    if path.as_os_str().is_empty() {
        return if kind.is_dir() { Ok(None) } else { Err(wrong("the name is empty").into()) };
    }
    let link = raw.link_name_bytes().map(std::borrow::Cow::into_owned);
    let header = raw.header();
    let number = |value: io::Result<u64>, what: &str| {
        value
            .ok()
            .and_then(|value| u32::try_from(value).ok())
            .ok_or_else(|| wrong(&format!("its {what} is not a number in range")))
    };
    let device = || -> Result<(u32, u32), AciError> {
        let number = |part: io::Result<Option<u32>>| {
            part.ok().flatten().ok_or_else(|| wrong("its device number is missing"))
        };
        Ok((number(header.device_major())?, number(header.device_minor())?))
    };
    let target = || {
        link.clone()
            .filter(|link| !link.is_empty() && !link.contains(&0))
            .ok_or_else(|| wrong("its target is missing"))
    };
    let kind = match kind {
        tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
            EntryKind::Regular
        }
        tar::EntryType::Directory => EntryKind::Directory,
        tar::EntryType::Symlink => EntryKind::Symlink(OsString::from_vec(target()?).into()),
        tar::EntryType::Link => EntryKind::HardLink(clean(&target()?, limits)?),
        tar::EntryType::Fifo => EntryKind::Fifo,
        tar::EntryType::Char => device().map(|(major, minor)| EntryKind::CharDevice { major, minor })?,
        tar::EntryType::Block => device().map(|(major, minor)| EntryKind::BlockDevice { major, minor })?,
        other => {
            return Err(
                wrong(&format!("of a type ({:#04x}) that images do not have", other.as_byte())).into()
            );
        }
    };
    let mut entry = Entry {
        path,
        mode: number(header.mode().map(u64::from), "mode")? & 0o7777,
        uid: number(header.uid(), "owner")?,
        gid: number(header.gid(), "group")?,
        size: if kind == EntryKind::Regular { raw.size() } else { 0 },
        mtime: header.mtime().ok().and_then(|time| i64::try_from(time).ok()).unwrap_or(0),
        mtime_nsec: 0,
        xattrs: Vec::new(),
        kind,
    };
    extensions(raw, &mut entry)?;
    Ok(Some(entry))
}

/// Takes what PAX records say beyond the header. (Names and sizes are taken by the tar reader.)
fn extensions<R: Read, E>(raw: &mut tar::Entry<'_, R>, entry: &mut Entry) -> Result<(), ReadError<E>> {
    let Some(records) = raw.pax_extensions().map_err(of_io)? else { return Ok(()) };
    for record in records {
        let record = record.map_err(of_io)?;
        let (key, value) = (record.key_bytes(), record.value_bytes());
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            if keeps(name) {
                entry.xattrs.push((OsStr::from_bytes(name).to_owned(), value.to_vec()));
            }
            continue;
        }
        let text = || std::str::from_utf8(value).ok();
        let wrong = || AciError::Entry {
            name: entry.path.display().to_string(),
            rule: format!("its {} is not a number in range", String::from_utf8_lossy(key)),
        };
        match key {
            b"uid" => entry.uid = text().and_then(|t| t.parse().ok()).ok_or_else(wrong)?,
            b"gid" => entry.gid = text().and_then(|t| t.parse().ok()).ok_or_else(wrong)?,
            b"mtime" => (entry.mtime, entry.mtime_nsec) = text().and_then(time).ok_or_else(wrong)?,
            _ => {}
        }
    }
    Ok(())
}

/// Attributes that an image may set. What overlayfs keeps for itself would forge deletions; other namespaces are the
/// host's.
fn keeps(name: &[u8]) -> bool {
    let user = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
    user || matches!(name, b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default")
}

/// Seconds and nanoseconds of a PAX time, which may be negative and have a fraction.
fn time(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    match (whole.starts_with('-'), nanoseconds) {
        (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
        _ => Some((seconds, nanoseconds)),
    }
}

/// Hashes what is read through it, and refuses more than the limit.
struct Hashing<R> {
    reader: R,
    hash: Sha512,
    position: u64,
    limit: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        self.hash.update(&buffer[..length]);
        self.position += length as u64;
        if self.position > self.limit {
            let error =
                AciError::Archive(format!("the uncompressed archive has more than {} bytes", self.limit));
            return Err(io::Error::other(error));
        }
        Ok(length)
    }
}

/// An entry's content, which must have as many bytes as its header claims.
struct Whole<'a, R> {
    reader: &'a mut R,
    left: u64,
}

impl<R: Read> Read for Whole<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        self.left = self.left.saturating_sub(length as u64);
        if length == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is truncated"));
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_fractions() {
        for (text, want) in [
            ("0", Some((0, 0))),
            ("12.5", Some((12, 500_000_000))),
            ("-1", Some((-1, 0))),
            ("-1.25", Some((-2, 750_000_000))),
            ("1.0000000019", Some((1, 1))),
            ("x", None),
            ("1.x", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(time(text), want, "{text}");
        }
    }
}
