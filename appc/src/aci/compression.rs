//! What a file is, found by its first bytes and never by its name.

use std::io::{self, BufReader, Read, Write};

use super::AciError;

/// How many bytes [`sniff`] needs to see, at most.
pub const HEAD: usize = 512;

/// Size of the buffers between the steps of reading, in bytes.
const BUFFER: usize = 128 * 1024;

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (RFC 1952)
    Gzip,
    /// bzip2
    Bzip2,
    /// xz
    Xz,
    /// Zstandard (RFC 8878)
    Zstd,
}

impl Compression {
    /// The compression's name, as on a command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Bzip2 => "bzip2",
            Compression::Xz => "xz",
            Compression::Zstd => "zstd",
        }
    }

    /// The compression that `word` names.
    pub fn from_word(word: &str) -> Option<Compression> {
        use Compression::{Bzip2, Gzip, None, Xz, Zstd};
        [None, Gzip, Bzip2, Xz, Zstd].into_iter().find(|compression| compression.as_str() == word)
    }
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// An archive.
    Archive(Compression),
    /// An OpenPGP message: an encrypted image.
    OpenPgp,
    /// Text, perhaps a manifest.
    Text,
    /// Nothing that is known here.
    Unknown,
}

/// What a file that starts with `head` is.
pub fn sniff(head: &[u8]) -> FileKind {
    use Compression::{Bzip2, Gzip, None, Xz, Zstd};
    let magics: [(&[u8], Compression); 4] =
        [(b"\x1f\x8b", Gzip), (b"BZh", Bzip2), (b"\xfd7zXZ\0", Xz), (b"\x28\xb5\x2f\xfd", Zstd)];
    if let Some((_, compression)) = magics.into_iter().find(|(magic, _)| head.starts_with(magic)) {
        return FileKind::Archive(compression);
    }
    if head.get(257..262) == Some(b"ustar") {
        return FileKind::Archive(None);
    }
    if is_encrypted(head) {
        return FileKind::OpenPgp;
    }
    let end = match std::str::from_utf8(head) {
        Ok(_) => head.len(),
        // A character may be cut off at the end of what we see.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => return FileKind::Unknown,
    };
    let is_text = |byte: &u8| *byte >= 0x20 || matches!(byte, b'\n' | b'\r' | b'\t' | 0x0c | 0x1b);
    if end > 0 && head[..end].iter().all(is_text) { FileKind::Text } else { FileKind::Unknown }
}

/// Whether this is the beginning of an encrypted OpenPGP message: armour, or a packet with a session key, encrypted with a
/// passphrase (tag 3) or to a public key (tag 1), in the old or the new format, of a version that there is.
fn is_encrypted(head: &[u8]) -> bool {
    if head.starts_with(b"-----BEGIN PGP MESSAGE") {
        return true;
    }
    let (symmetric, body) = match head {
        [first @ (0x84 | 0x8c), _, body @ ..]
        | [first @ (0x85 | 0x8d), _, _, body @ ..]
        | [first @ (0xc1 | 0xc3), ..=191, body @ ..]
        | [first @ (0xc1 | 0xc3), 192..=223, _, body @ ..] => (matches!(first, 0x8c | 0x8d | 0xc3), body),
        _ => return false,
    };
    match body.first() {
        Some(4..=6) => symmetric,
        Some(3) => !symmetric,
        _ => false,
    }
}

/// Memory that decompressing xz may take, in bytes: the strongest preset needs 65 MiB, a hostile header may ask for 4 GiB.
const XZ_MEMORY: u64 = 256 << 20;

/// Reads the start of `input`, finds out what it is, and returns the whole of it decompressed.
pub(super) fn decompress<'a>(
    mut input: impl Read + Send + 'a,
) -> Result<(Compression, Box<dyn Read + Send + 'a>), io::Error> {
    let mut head = Vec::with_capacity(HEAD);
    input.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    let kind = sniff(&head);
    let whole = io::Cursor::new(head).chain(input);
    let refuse = |reason: &str| Err(io::Error::other(AciError::NotAnImage(reason.to_owned())));
    let compression = match kind {
        FileKind::Archive(compression) => compression,
        FileKind::OpenPgp => {
            return refuse("it is encrypted (OpenPGP); decrypt it first, as with gpg --decrypt");
        }
        FileKind::Text => return refuse("it is a text file, not an archive"),
        FileKind::Unknown => {
            return refuse("neither a tar archive nor one that is compressed by gzip, bzip2, xz or zstd");
        }
    };
    Ok((compression, decoder(compression, whole)?))
}

/// The same where it is known to be a tar if it is not compressed, as layers are: an empty one has no sign of that.
///
/// # Errors
/// Where reading the start fails.
pub fn decompress_tar<'a>(
    mut input: impl Read + Send + 'a,
) -> Result<(Compression, Box<dyn Read + Send + 'a>), io::Error> {
    let mut head = Vec::with_capacity(HEAD);
    input.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    let compression = match sniff(&head) {
        FileKind::Archive(compression) => compression,
        _ => Compression::None,
    };
    Ok((compression, decoder(compression, io::Cursor::new(head).chain(input))?))
}

fn decoder<'a>(
    compression: Compression,
    whole: impl Read + Send + 'a,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    if compression == Compression::None {
        return Ok(Box::new(whole));
    }
    let whole = BufReader::with_capacity(BUFFER, whole);
    Ok(match compression {
        Compression::None => Box::new(whole),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(whole)),
        Compression::Xz => {
            let stream =
                liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(whole, stream))
        }
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(whole)?),
    })
}

/// A compressor. [`Encoder::finish`] must be called, or the end is missing.
pub(super) enum Encoder<W: Write> {
    None(W),
    Gzip(flate2::write::GzEncoder<W>),
    Bzip2(bzip2::write::BzEncoder<W>),
    Xz(liblzma::write::XzEncoder<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    pub(super) fn new(compression: Compression, output: W) -> io::Result<Encoder<W>> {
        Ok(match compression {
            Compression::None => Encoder::None(output),
            Compression::Gzip => {
                Encoder::Gzip(flate2::write::GzEncoder::new(output, flate2::Compression::default()))
            }
            Compression::Bzip2 => {
                Encoder::Bzip2(bzip2::write::BzEncoder::new(output, bzip2::Compression::default()))
            }
            Compression::Xz => Encoder::Xz(liblzma::write::XzEncoder::new(output, 6)),
            Compression::Zstd => Encoder::Zstd(zstd::stream::write::Encoder::new(output, 0)?),
        })
    }

    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Encoder::None(output) => Ok(output),
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Bzip2(encoder) => encoder.finish(),
            Encoder::Xz(encoder) => encoder.finish(),
            Encoder::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Encoder::None(output) => output.write(bytes),
            Encoder::Gzip(encoder) => encoder.write(bytes),
            Encoder::Bzip2(encoder) => encoder.write(bytes),
            Encoder::Xz(encoder) => encoder.write(bytes),
            Encoder::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Encoder::None(output) => output.flush(),
            Encoder::Gzip(encoder) => encoder.flush(),
            Encoder::Bzip2(encoder) => encoder.flush(),
            Encoder::Xz(encoder) => encoder.flush(),
            Encoder::Zstd(encoder) => encoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // APPC-060
    #[test]
    fn kinds_are_found_by_content() {
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        for (head, kind) in [
            (b"\x1f\x8b\x08".as_slice(), FileKind::Archive(Compression::Gzip)),
            (b"BZh9", FileKind::Archive(Compression::Bzip2)),
            (b"\xfd7zXZ\0\0", FileKind::Archive(Compression::Xz)),
            (b"\x28\xb5\x2f\xfd\0", FileKind::Archive(Compression::Zstd)),
            (&tar, FileKind::Archive(Compression::None)),
            (b"\x8c\x0d\x04\x09", FileKind::OpenPgp),
            (b"\xc3\x2e\x04\x09", FileKind::OpenPgp),
            (b"\xc3\x3d\x06\x1a", FileKind::OpenPgp),
            (b"\x84\x5e\x03", FileKind::OpenPgp),
            (b"\x85\x01\x0c\x03", FileKind::OpenPgp),
            (b"\xc1\xc0\x4c\x03", FileKind::OpenPgp),
            (b"-----BEGIN PGP MESSAGE-----\n", FileKind::OpenPgp),
            (b"-----BEGIN PGP SIGNATURE-----\n", FileKind::Text),
            (b"\x8c\x0d\x03\x09", FileKind::Unknown),
            (b"\x8c", FileKind::Unknown),
            (b"{\"acKind\": \"x\"}\n", FileKind::Text),
            ("grün, abgeschnitten \u{fc}".as_bytes(), FileKind::Text),
            (b"", FileKind::Unknown),
            (b"\0\0\0\0", FileKind::Unknown),
            (b"\x7fELF\x02\x01\x01\0", FileKind::Unknown),
        ] {
            assert_eq!(sniff(head), kind, "{head:?}");
        }
    }
}
