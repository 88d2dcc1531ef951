//! Reading an archive: one pass, in which it is decompressed, hashed, checked and handed on entry by entry.

use std::{
    ffi::{OsStr, OsString},
    io::{self, BufRead, Read},
    os::unix::ffi::{OsStrExt, OsStringExt},
    thread,
};

use sha2::Sha512;
use tar::EntryType;

use super::{
    AciError, Compression, Entry, EntryKind,
    check::{Checker, Shape, clean},
    compression::decompress,
    header::{number, number_or_zero},
    members::{Member, Members, truncated},
    source::Source,
};
use crate::{schema::ImageManifest, types::ImageId};

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
/// manifest among them. Memory does not grow with the image. What the visitor leaves of a content is skipped.
///
/// A large archive is decompressed and hashed on threads of their own.
///
/// # Errors
/// See [`ReadError`]. The visitor may have seen entries of an archive that turns out to be invalid.
pub fn read<E>(
    input: impl Read + Send,
    limits: &Limits,
    visit: &mut dyn FnMut(&Entry, &mut dyn Read) -> Result<(), E>,
) -> Result<Archive, ReadError<E>> {
    let (compression, reader) = decompress(input).map_err(of_io)?;
    thread::scope(|scope| {
        let source = Source::<Sha512>::new(reader, limits.bytes, scope).map_err(of_io)?;
        let mut members = Members::new(source);
        let (entries, manifest_bytes) = walk(&mut members, limits, visit)?;
        let manifest_bytes = manifest_bytes
            .ok_or_else(|| AciError::Archive("no image manifest found in layout".to_owned()))?;
        // Whatever follows belongs to the image's identity.
        let (digest, size) = members.into_inner().finish().map_err(of_io)?;
        let manifest = ImageManifest::from_slice(&manifest_bytes).map_err(AciError::from)?;
        let id = ImageId::from_digest(&digest.into());
        Ok(Archive { id, manifest, manifest_bytes, compression, size, entries })
    })
}

/// Visits all entries. Returns how many there are, and the manifest.
fn walk<R: BufRead, E>(
    members: &mut Members<R>,
    limits: &Limits,
    visit: &mut dyn FnMut(&Entry, &mut dyn Read) -> Result<(), E>,
) -> Result<(u64, Option<Vec<u8>>), ReadError<E>> {
    let mut checker = Checker::new(Shape::Image, limits);
    let (mut entries, mut content, mut manifest_bytes) = (0, 0_u64, None);
    while let Some(member) = members.next().map_err(of_io)? {
        let Some(entry) = entry(&member, limits)? else { continue };
        checker.check(&entry)?;
        entries += 1;
        content = content.saturating_add(entry.size);
        if content > limits.content {
            let message = format!("its files have more than {} bytes", limits.content);
            return Err(AciError::Archive(message).into());
        }
        let mut reader = members.content(&member);
        if entry.path.as_os_str() == "manifest" {
            let bytes = manifest(&mut reader, limits)?;
            visit(&entry, &mut bytes.as_slice()).map_err(ReadError::Visit)?;
            manifest_bytes = Some(bytes);
        } else {
            visit(&entry, &mut reader).map_err(ReadError::Visit)?;
        }
    }
    checker.finish()?;
    Ok((entries, manifest_bytes))
}

/// Our own errors travel through readers as `io::Error`.
pub(super) fn of_io<E>(error: io::Error) -> ReadError<E> {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return ReadError::Io(truncated());
    }
    let ours = error.get_ref().and_then(|inner| inner.downcast_ref::<AciError>()).cloned();
    ours.map_or(ReadError::Io(error), ReadError::Invalid)
}

fn manifest<E>(content: &mut impl Read, limits: &Limits) -> Result<Vec<u8>, ReadError<E>> {
    let mut bytes = Vec::new();
    content.take(limits.manifest + 1).read_to_end(&mut bytes).map_err(of_io)?;
    if bytes.len() as u64 > limits.manifest {
        return Err(AciError::from(crate::SchemaError::TooLarge(bytes.len() as u64)).into());
    }
    Ok(bytes)
}

/// Translates a member. `None` is one without meaning for an image: the archive's own top directory.
pub(super) fn entry(member: &Member, limits: &Limits) -> Result<Option<Entry>, AciError> {
    let name = &member.name;
    let wrong = |rule: &str| AciError::Entry {
        name: String::from_utf8_lossy(name).chars().take(256).collect(),
        rule: rule.to_owned(),
    };
    let path = clean(name, limits)?;
    let kind = kind(member, limits)?.map_err(|rule| wrong(&rule))?;
    if path.as_os_str().is_empty() {
        return if kind == EntryKind::Directory { Ok(None) } else { Err(wrong("the name is empty")) };
    }
    if kind != EntryKind::Regular && member.size > 0 {
        return Err(wrong("it has content, which only regular files have"));
    }
    let old = member.header.as_old();
    let in_range = |field: &[u8], what: &str| {
        let value = number_or_zero(field).and_then(|value| u32::try_from(value).ok());
        value.ok_or_else(|| wrong(&format!("its {what} is not a number in range")))
    };
    // The field for an owner above its range is left to the extended header.
    let owner = |key: &[u8], field: &[u8]| match member.records.iter().rfind(|(name, _)| name == key) {
        Some((_, value)) => decimal(value).ok_or_else(|| wrong("its owner is not a number in range")),
        None => in_range(field, "owner"),
    };
    let mut entry = Entry {
        path,
        mode: in_range(&old.mode, "mode")? & 0o7777,
        uid: owner(b"uid", &old.uid)?,
        gid: owner(b"gid", &old.gid)?,
        size: if kind == EntryKind::Regular { member.size } else { 0 },
        mtime: number_or_zero(&old.mtime)
            .and_then(|time| i64::try_from(time).ok())
            .ok_or_else(|| wrong("its time is not a number in range"))?,
        mtime_nsec: 0,
        xattrs: Vec::new(),
        kind,
    };
    if entry.uid == u32::MAX || entry.gid == u32::MAX {
        return Err(wrong("its owner is the number that means none"));
    }
    for (key, value) in &member.records {
        if key == b"mtime" {
            let time = std::str::from_utf8(value).ok().and_then(time);
            (entry.mtime, entry.mtime_nsec) =
                time.ok_or_else(|| wrong("its time is not a number in range"))?;
        } else if let Some(name) = key.strip_prefix(b"SCHILY.xattr.").filter(|name| keeps(name)) {
            entry.xattrs.retain(|(earlier, _)| earlier.as_bytes() != name);
            entry.xattrs.push((OsStr::from_bytes(name).to_owned(), value.clone()));
        }
    }
    Ok(Some(entry))
}

fn decimal(text: &[u8]) -> Option<u32> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

/// What a member is, or the rule that it breaks.
fn kind(member: &Member, limits: &Limits) -> Result<Result<EntryKind, String>, AciError> {
    let target = || {
        let link = &member.link;
        let usable = !link.is_empty() && !link.contains(&0) && link.len() <= limits.path;
        usable.then(|| link.clone()).ok_or_else(|| "its target is missing, too long or has a NUL".to_owned())
    };
    let device = || {
        let bytes = member.header.as_bytes();
        let part = |field: &[u8]| number(field).and_then(|number| u32::try_from(number).ok());
        let both = part(&bytes[329..337]).zip(part(&bytes[337..345]));
        both.ok_or_else(|| "its device number is missing or out of range".to_owned())
    };
    Ok(match member.kind {
        // Tars older than the type for directories mark them by a slash.
        EntryType::Regular | EntryType::Continuous if member.name.ends_with(b"/") => Ok(EntryKind::Directory),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Ok(EntryKind::Regular),
        EntryType::Directory => Ok(EntryKind::Directory),
        EntryType::Symlink => target().map(|link| EntryKind::Symlink(OsString::from_vec(link).into())),
        EntryType::Link => match target() {
            Ok(link) => {
                Ok(EntryKind::HardLink(clean(&link, limits).map_err(|error| renamed(member, error))?))
            }
            Err(rule) => Err(rule),
        },
        EntryType::Fifo => Ok(EntryKind::Fifo),
        EntryType::Char => device().map(|(major, minor)| EntryKind::CharDevice { major, minor }),
        EntryType::Block => device().map(|(major, minor)| EntryKind::BlockDevice { major, minor }),
        other => Err(format!("of a type ({:#04x}) that images do not have", other.as_byte())),
    })
}

/// What is wrong with a hard link's target is told of the link.
fn renamed(member: &Member, error: AciError) -> AciError {
    match error {
        AciError::Entry { name, rule } => AciError::Entry {
            name: String::from_utf8_lossy(&member.name).into_owned(),
            rule: format!("its target {name:?}: {rule}"),
        },
        other => other,
    }
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
