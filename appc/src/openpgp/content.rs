//! What is inside of the encryption: a file in a literal packet, which may be compressed.

use std::io::{self, BufRead, Read};

use pgp::{
    packet::{Decompressor, PacketHeader},
    types::Tag,
};

use super::{
    OpenPgpError,
    packet::{Body, ended, header, unexpected},
};

/// Most bytes of padding after the file.
const MAX_PADDING: u64 = 1 << 20;

/// The file, in what `R` decrypts.
#[derive(Debug)]
pub(super) enum Content<R: BufRead> {
    /// As it is.
    Plain(Body<R>),
    /// Compressed.
    Compressed {
        /// The file.
        body: Box<Body<Decompressor<Body<R>>>>,
        /// Whether what stands before it was read.
        begun: bool,
    },
}

impl<R: BufRead> Content<R> {
    /// Reads up to the first byte of the file, or to where it is compressed.
    pub(super) fn open(mut source: R) -> io::Result<Content<R>> {
        let first = next(&mut source)?;
        match first.tag() {
            Tag::LiteralData => {
                let mut body = Body::new(&first, source);
                skip_name(&mut body)?;
                Ok(Content::Plain(body))
            }
            Tag::CompressedData => {
                let inside = Decompressor::from_reader(Body::new(&first, source)).map_err(ended)?;
                Ok(Content::Compressed { body: Box::new(Body::pending(inside)), begun: false })
            }
            tag => Err(unexpected(tag)),
        }
    }

    /// What it is in.
    pub(super) fn source(&mut self) -> &mut R {
        match self {
            Content::Plain(body) => body.source(),
            Content::Compressed { body, .. } => body.source().get_mut().source(),
        }
    }

    /// Reads what follows the file, of which there is nothing that counts.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if let Content::Compressed { body, .. } = self {
            let inside = body.source();
            if !inside.fill_buf()?.is_empty() {
                return Err(more());
            }
            // A compressor may leave bytes at its end.
            io::copy(&mut inside.get_mut().take(MAX_PADDING), &mut io::sink())?;
        }
        let source = self.source();
        while let Some(header) = header(source)? {
            if !matches!(header.tag(), Tag::Padding | Tag::Marker) {
                return Err(more());
            }
            Body::new(&header, &mut *source).small(MAX_PADDING)?;
        }
        Ok(())
    }
}

fn more() -> io::Error {
    OpenPgpError::Malformed("there is more in it than one file".to_owned()).into()
}

/// The header of the first packet that counts.
fn next(source: &mut impl BufRead) -> io::Result<PacketHeader> {
    loop {
        let header = header(source)?.ok_or(OpenPgpError::Truncated)?;
        match header.tag() {
            Tag::Marker | Tag::Padding => drop(Body::new(&header, &mut *source).small(MAX_PADDING)?),
            _ => return Ok(header),
        }
    }
}

/// Skips the name and the time that a literal packet begins with: they are not authentic, and not needed.
fn skip_name(body: &mut impl Read) -> io::Result<()> {
    let mut start = [0; 2];
    body.read_exact(&mut start).map_err(ended)?;
    let mut rest = vec![0; usize::from(start[1]) + 4];
    body.read_exact(&mut rest).map_err(ended)
}

impl<R: BufRead> Read for Content<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Content::Plain(body) => body.read(buffer),
            Content::Compressed { body, begun } => {
                if !*begun {
                    let header = next(body.source())?;
                    if header.tag() != Tag::LiteralData {
                        return Err(unexpected(header.tag()));
                    }
                    body.begin(&header.packet_length());
                    skip_name(body)?;
                    *begun = true;
                }
                body.read(buffer)
            }
        }
    }
}
