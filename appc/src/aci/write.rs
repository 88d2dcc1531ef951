//! Writing an archive as a stream. The same entries give the same bytes, on any machine, at any time.

use std::{
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use sha2::{Digest, Sha512};

use super::{
    AciError, Compression, Entry, EntryKind, Limits,
    check::{Checker, Shape, clean},
    compression::Encoder,
};
use crate::types::ImageId;

/// Why an archive could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// An entry is not what an image may contain.
    #[error(transparent)]
    Invalid(#[from] AciError),
    /// Reading content or writing failed.
    #[error("write the archive: {0}")]
    Io(#[from] io::Error),
}

/// Writes the entries of an archive, checking them as a reader would.
pub struct ArchiveWriter<'a, W: Write> {
    tar: tar::Builder<Hashing<Encoder<W>>>,
    checker: Checker<'a>,
    limits: &'a Limits,
}

impl<W: Write> std::fmt::Debug for ArchiveWriter<'_, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArchiveWriter").finish_non_exhaustive()
    }
}

impl<'a, W: Write> ArchiveWriter<'a, W> {
    /// Starts an archive on `output`.
    ///
    /// # Errors
    /// Where the compressor cannot start.
    pub fn new(output: W, compression: Compression, limits: &'a Limits) -> io::Result<ArchiveWriter<'a, W>> {
        let encoder = Encoder::new(compression, output)?;
        Ok(ArchiveWriter {
            tar: tar::Builder::new(Hashing { output: encoder, hash: Sha512::new() }),
            checker: Checker::new(Shape::Image, limits),
            limits,
        })
    }

    /// Adds an entry with its content, of which exactly `entry.size` bytes are read.
    ///
    /// # Errors
    /// Where the entry breaks a rule, the content is shorter, or reading or writing fails.
    pub fn add(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), WriteError> {
        let name = entry.path.as_os_str().as_bytes();
        if clean(name, self.limits)?.as_os_str().as_bytes() != name {
            let (name, rule) = (entry.path.display().to_string(), "the name is not clean".to_owned());
            return Err(AciError::Entry { name, rule }.into());
        }
        self.checker.check(entry)?;
        let mut header = tar::Header::new_ustar();
        let mut records: Vec<(String, Vec<u8>)> = Vec::new();
        let seconds = u64::try_from(entry.mtime).unwrap_or(0);
        header.set_mode(entry.mode);
        header.set_uid(u64::from(entry.uid));
        header.set_gid(u64::from(entry.gid));
        header.set_size(entry.size);
        header.set_mtime(seconds);
        if entry.mtime < 0 || entry.mtime_nsec > 0 {
            records.push(("mtime".to_owned(), pax_time(entry.mtime, entry.mtime_nsec).into_bytes()));
        }
        for (name, value) in &entry.xattrs {
            let name = name.to_str().ok_or_else(|| {
                let (name, rule) =
                    (entry.path.display().to_string(), "an attribute's name is not UTF-8".to_owned());
                AciError::Entry { name, rule }
            })?;
            records.push((format!("SCHILY.xattr.{name}"), value.clone()));
        }
        let kind = kind(&mut header, &entry.kind)?;
        header.set_entry_type(kind);
        if let EntryKind::Symlink(target) | EntryKind::HardLink(target) = &entry.kind
            && header.set_link_name_literal(target.as_os_str().as_bytes()).is_err()
        {
            records.push(("linkpath".to_owned(), target.as_os_str().as_bytes().to_vec()));
        }
        if set_name(&mut header, &entry.path).is_err() {
            records.push(("path".to_owned(), entry.path.as_os_str().as_bytes().to_vec()));
            if let Some(ustar) = header.as_ustar_mut() {
                ustar.name[..5].copy_from_slice(b"@long");
            }
        }
        if !records.is_empty() {
            self.tar
                .append_pax_extensions(records.iter().map(|(key, value)| (key.as_str(), value.as_slice())))?;
        }
        header.set_cksum();
        let mut content = Exactly { content, left: entry.size };
        self.tar.append(&header, &mut content)?;
        Ok(())
    }

    /// Ends the archive and returns its image ID and the output.
    ///
    /// # Errors
    /// Where `rootfs` is missing, or writing fails.
    pub fn finish(self) -> Result<(ImageId, W), WriteError> {
        self.checker.finish()?;
        let hashing = self.tar.into_inner()?;
        let id = ImageId::from_digest(&hashing.hash.finalize().into());
        let mut output = hashing.output.finish()?;
        output.flush()?;
        Ok((id, output))
    }
}

fn kind(header: &mut tar::Header, kind: &EntryKind) -> io::Result<tar::EntryType> {
    Ok(match kind {
        EntryKind::Directory => tar::EntryType::Directory,
        EntryKind::Regular => tar::EntryType::Regular,
        EntryKind::Symlink(_) => tar::EntryType::Symlink,
        EntryKind::HardLink(_) => tar::EntryType::Link,
        EntryKind::Fifo => tar::EntryType::Fifo,
        EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
            header.set_device_major(*major)?;
            header.set_device_minor(*minor)?;
            if matches!(kind, EntryKind::CharDevice { .. }) {
                tar::EntryType::Char
            } else {
                tar::EntryType::Block
            }
        }
    })
}

/// The name in the header itself, where it fits and has only characters that every reader takes.
fn set_name(header: &mut tar::Header, path: &Path) -> Result<(), ()> {
    let name = path.to_str().filter(|name| name.len() <= 100 && name.is_ascii()).ok_or(())?;
    let ustar = header.as_ustar_mut().ok_or(())?;
    ustar.name[..name.len()].copy_from_slice(name.as_bytes());
    Ok(())
}

fn pax_time(seconds: i64, nanoseconds: u32) -> String {
    match (seconds, nanoseconds) {
        (_, 0) => seconds.to_string(),
        // The fraction of a negative time counts towards its sign.
        (..0, _) => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds),
        _ => format!("{seconds}.{nanoseconds:09}"),
    }
}

struct Hashing<W> {
    output: W,
    hash: Sha512,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.output.write(bytes)?;
        self.hash.update(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Content of exactly the promised length, even if the file behind it grows or shrinks meanwhile.
struct Exactly<'a> {
    content: &'a mut dyn Read,
    left: u64,
}

impl Read for Exactly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let length = self.content.read(&mut buffer[..most])?;
        if length == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a file became shorter while it was read",
            ));
        }
        self.left -= length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aci::{ReadError, read};

    const MANIFEST: &[u8] = br#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/a"}"#;

    fn entry(path: &str, kind: EntryKind, size: usize) -> Entry {
        let (mode, mtime, mtime_nsec) = (0o4755, 1_700_000_000, 123_000_000);
        Entry {
            path: path.into(),
            kind,
            mode,
            uid: 7,
            gid: 3_000_000,
            size: size as u64,
            mtime,
            mtime_nsec,
            xattrs: Vec::new(),
        }
    }

    fn entries() -> Vec<(Entry, &'static [u8])> {
        let long = format!("rootfs/{}", ["long-name"; 20].join("/"));
        let mut with_xattr = entry("rootfs/caps", EntryKind::Regular, 0);
        with_xattr.xattrs = vec![("user.a".into(), b"1\0\n2".to_vec())];
        let mut old = entry("rootfs/old", EntryKind::Fifo, 0);
        (old.mtime, old.mtime_nsec) = (-2, 750_000_000);
        vec![
            (entry("rootfs", EntryKind::Directory, 0), b"".as_slice()),
            (entry("rootfs/hello", EntryKind::Regular, 5), b"hello"),
            (entry("rootfs/link", EntryKind::Symlink("../../etc".into()), 0), b""),
            (entry("rootfs/hard", EntryKind::HardLink("rootfs/hello".into()), 0), b""),
            (entry("rootfs/null", EntryKind::CharDevice { major: 1, minor: 3 }, 0), b""),
            (entry(&long, EntryKind::Regular, 3), b"abc"),
            (entry("rootfs/gr\u{fc}n", EntryKind::Symlink("l".repeat(150).into()), 0), b""),
            (with_xattr, b""),
            (old, b""),
            (entry("manifest", EntryKind::Regular, MANIFEST.len()), MANIFEST),
        ]
    }

    fn archive(compression: Compression) -> (ImageId, Vec<u8>) {
        let limits = Limits::default();
        let mut writer = ArchiveWriter::new(Vec::new(), compression, &limits).unwrap();
        for (entry, mut content) in entries() {
            writer.add(&entry, &mut content).unwrap();
        }
        writer.finish().unwrap()
    }

    // APPC-057, APPC-059, APPC-062
    #[test]
    fn what_is_written_is_read_back_whatever_the_compression() {
        use Compression::{Bzip2, Gzip, None, Xz, Zstd};
        let mut ids = Vec::new();
        for compression in [None, Gzip, Bzip2, Xz, Zstd] {
            let (id, bytes) = archive(compression);
            let mut seen = Vec::new();
            let read = read::<io::Error>(bytes.as_slice(), &Limits::default(), &mut |entry, content| {
                let mut text = Vec::new();
                content.read_to_end(&mut text)?;
                seen.push((entry.clone(), text));
                Ok(())
            })
            .unwrap();
            let want: Vec<_> =
                entries().into_iter().map(|(entry, content)| (entry, content.to_vec())).collect();
            assert_eq!(seen, want);
            assert_eq!((read.id.clone(), read.compression, read.entries), (id.clone(), compression, 10));
            ids.push(id);
        }
        ids.dedup();
        assert_eq!(ids.len(), 1, "the ID is that of the uncompressed archive");
    }

    #[test]
    fn case_08_a_truncated_archive_is_refused_wherever_it_ends() {
        for compression in
            [Compression::None, Compression::Gzip, Compression::Zstd, Compression::Xz, Compression::Bzip2]
        {
            let (_, bytes) = archive(compression);
            // The second of the two blocks of zeros at the end may be missing: nothing is lost with it.
            let last = if compression == Compression::None { bytes.len() - 512 } else { bytes.len() };
            for length in (0..last).step_by(if compression == Compression::None { 64 } else { 7 }) {
                let result = read::<io::Error>(&bytes[..length], &Limits::default(), &mut |_, content| {
                    io::copy(content, &mut io::sink()).map(drop)
                });
                assert!(result.is_err(), "{compression:?} cut to {length} of {}", bytes.len());
            }
        }
    }

    // APPC-061
    #[test]
    fn case_07_limits_are_clear_errors() {
        let (_, bytes) = archive(Compression::Gzip);
        let limits = [
            Limits { entries: 3, ..Limits::default() },
            Limits { bytes: 1000, ..Limits::default() },
            Limits { content: 4, ..Limits::default() },
            Limits { path: 20, ..Limits::default() },
            Limits { depth: 3, ..Limits::default() },
            Limits { manifest: 10, ..Limits::default() },
        ];
        for limit in limits {
            let result = read::<io::Error>(bytes.as_slice(), &limit, &mut |_, _| Ok(()));
            assert!(matches!(result, Err(ReadError::Invalid(_))), "{limit:?}: {result:?}");
        }
    }
}
