//! Packets as streams: their headers, and their bodies in one piece, in chunks, or up to the end of what holds them.

use std::io::{self, BufRead, Read};

use pgp::{
    packet::PacketHeader,
    types::{PacketLength, Tag},
};

use super::OpenPgpError;

/// Reads the header of the next packet. `None` where nothing follows.
pub(super) fn header(source: &mut impl BufRead) -> io::Result<Option<PacketHeader>> {
    if source.fill_buf()?.is_empty() {
        return Ok(None);
    }
    PacketHeader::try_from_reader(source).map(Some).map_err(ended)
}

/// A packet that ends within its header or its first fields is a truncated one.
pub(super) fn ended(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof { OpenPgpError::Truncated.into() } else { error }
}

/// A packet that must not be where it is.
pub(super) fn unexpected(tag: Tag) -> io::Error {
    match tag {
        Tag::OnePassSignature | Tag::Signature => OpenPgpError::SignedInside,
        tag => OpenPgpError::Malformed(format!("a packet of type {} does not belong there", u8::from(tag))),
    }
    .into()
}

/// The body of a packet.
#[derive(Debug)]
pub(super) struct Body<R> {
    source: R,
    /// Bytes left of the current chunk.
    left: u64,
    then: Then,
}

/// What follows the current chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Nothing: it is the last.
    End,
    /// Another, with its length before it.
    Chunk,
    /// It has no length, and ends where its source does.
    Source,
}

impl<R: BufRead> Body<R> {
    /// The body of the packet whose header was read from `source`.
    pub(super) fn new(header: &PacketHeader, source: R) -> Body<R> {
        let mut body = Body::pending(source);
        body.begin(&header.packet_length());
        body
    }

    /// The body of a packet whose header was not read yet: it seems empty.
    pub(super) fn pending(source: R) -> Body<R> {
        Body { source, left: 0, then: Then::End }
    }

    /// Begins a chunk whose length was read.
    pub(super) fn begin(&mut self, length: &PacketLength) {
        (self.left, self.then) = match length {
            PacketLength::Fixed(length) => ((*length).into(), Then::End),
            PacketLength::Partial(length) => ((*length).into(), Then::Chunk),
            PacketLength::Indeterminate => (u64::MAX, Then::Source),
        };
    }

    /// What it is read from.
    pub(super) fn source(&mut self) -> &mut R {
        &mut self.source
    }

    /// All of a body that has at most `most` bytes.
    pub(super) fn small(mut self, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.by_ref().take(most + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most {
            return Err(OpenPgpError::Malformed(format!("a packet has more than {most} bytes")).into());
        }
        Ok(bytes)
    }
}

impl<R: BufRead> BufRead for Body<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.left == 0 && self.then == Then::Chunk {
            let length = PacketLength::try_from_reader(&mut self.source).map_err(ended)?;
            self.begin(&length);
        }
        if self.left == 0 {
            return Ok(&[]);
        }
        let there = self.source.fill_buf()?;
        if there.is_empty() && self.then != Then::Source {
            return Err(OpenPgpError::Truncated.into());
        }
        let length = usize::try_from(self.left).map_or(there.len(), |left| left.min(there.len()));
        Ok(&there[..length])
    }

    fn consume(&mut self, amount: usize) {
        self.source.consume(amount);
        if self.then != Then::Source {
            self.left = self.left.saturating_sub(amount as u64);
        }
    }
}

impl<R: BufRead> Read for Body<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let there = self.fill_buf()?;
        let length = there.len().min(buffer.len());
        buffer[..length].copy_from_slice(&there[..length]);
        self.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(mut bytes: &[u8]) -> io::Result<Vec<u8>> {
        let header = header(&mut bytes)?.unwrap();
        Body::new(&header, bytes).small(100)
    }

    #[test]
    fn bodies_of_all_forms() {
        assert_eq!(body(b"\xcb\x03abcdef").unwrap(), b"abc");
        assert_eq!(body(b"\xac\x03abcdef").unwrap(), b"abc");
        assert_eq!(body(b"\xafabcdef").unwrap(), b"abcdef");
        assert_eq!(body(b"\xcb\xe1ab\xe0c\x01def").unwrap(), b"abcd");
        assert_eq!(body(b"\xcb\xe1ab\x00def").unwrap(), b"ab");
    }

    #[test]
    fn bodies_that_end_early() {
        for bytes in [&b"\xcb\x03ab"[..], b"\xcb\xe1ab", b"\xcb\xe1a", b"\xcb\xe1ab\x02c", b"\xcb"] {
            let error = body(bytes).unwrap_err();
            assert_eq!(OpenPgpError::of(&error), Some(&OpenPgpError::Truncated), "{bytes:?}");
        }
        assert!(matches!(
            OpenPgpError::of(&body(&[0xaf; 102]).unwrap_err()),
            Some(OpenPgpError::Malformed(_))
        ));
    }
}
