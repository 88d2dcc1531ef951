//! The members of a tar, one after another: a header with everything that extended headers add to it, then its content.

use std::io::{self, BufRead, Read};

use tar::{EntryType, Header};

use super::{
    AciError,
    header::{BLOCK, Sparse, check, number, pax_records, sparse, sparse_pieces},
};

/// How many bytes the extended headers of one member may have together.
const MOST_METADATA: u64 = 2 << 20;

/// A member as its headers describe it, before any rule for images is applied.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) header: Header,
    pub(super) kind: EntryType,
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    /// Bytes of its content, holes included.
    pub(super) size: u64,
    /// Records of the extended header that the caller has to look at.
    pub(super) records: Vec<(Vec<u8>, Vec<u8>)>,
    sparse: Option<Sparse>,
}

/// What stands before a member and describes it.
#[derive(Debug, Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Option<Vec<u8>>,
    bytes: u64,
}

/// Reads members.
#[derive(Debug)]
pub(super) struct Members<R> {
    reader: R,
    /// Content and padding of the current member that were not read yet.
    content: u64,
    padding: u64,
    /// Whether an archive may end without the block that says so.
    open_end: bool,
}

fn invalid(name: &[u8], rule: impl Into<String>) -> io::Error {
    let name = String::from_utf8_lossy(&name[..name.len().min(256)]).into_owned();
    io::Error::other(AciError::Entry { name, rule: rule.into() })
}

pub(super) fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is truncated")
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(reader: R) -> Members<R> {
        Members { reader, content: 0, padding: 0, open_end: false }
    }

    /// The same for an archive whose length is known otherwise, so that it may end without saying so.
    pub(super) fn with_open_end(reader: R) -> Members<R> {
        Members { open_end: true, ..Members::new(reader) }
    }

    /// The reader behind, at the block after the end of the archive.
    pub(super) fn into_inner(self) -> R {
        self.reader
    }

    /// The next member, or `None` at the end of the archive: a block of zeros. One that ends without it was cut off.
    pub(super) fn next(&mut self) -> io::Result<Option<Member>> {
        let mut before = Extensions::default();
        loop {
            let Some(header) = self.header()? else {
                return if before.bytes == 0 { Ok(None) } else { Err(truncated()) };
            };
            let name = header.path_bytes().into_owned();
            check(&header).map_err(|rule| invalid(&name, rule))?;
            let stored = number(&header.as_old().size)
                .and_then(|size| u64::try_from(size).ok())
                .ok_or_else(|| invalid(&name, "its size is not a number in range"))?;
            let kind = header.entry_type();
            let slot = match kind {
                EntryType::XHeader => &mut before.pax,
                EntryType::GNULongName => &mut before.name,
                EntryType::GNULongLink => &mut before.link,
                EntryType::XGlobalHeader => {
                    let text = self.metadata(&name, stored, &mut before.bytes)?;
                    check_global(&name, &text)?;
                    continue;
                }
                _ => return self.member(header, stored, &before).map(Some),
            };
            if slot.is_some() {
                return Err(invalid(&name, "a second header that describes the same member"));
            }
            let text = self.metadata(&name, stored, &mut before.bytes)?;
            *slot = Some(if kind.is_pax_local_extensions() { text } else { until_nul(text) });
        }
    }

    /// The content of the member that was returned last.
    pub(super) fn content<'a>(&'a mut self, member: &'a Member) -> Content<'a, R> {
        let pieces = member.sparse.as_ref().map_or(&[][..], |sparse| &sparse.pieces);
        Content { members: self, pieces, sparse: member.sparse.is_some(), position: 0, size: member.size }
    }

    fn header(&mut self) -> io::Result<Option<Header>> {
        self.skip()?;
        if self.open_end && self.reader.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut header = Header::new_old();
        self.reader.read_exact(header.as_mut_bytes()).map_err(cut)?;
        let empty = header.as_bytes().iter().all(|byte| *byte == 0);
        Ok(if empty { None } else { Some(header) })
    }

    fn skip(&mut self) -> io::Result<()> {
        let padding = self.padding;
        let mut left = self.content.saturating_add(padding);
        (self.content, self.padding) = (0, 0);
        while left > 0 {
            let there = self.reader.fill_buf()?.len();
            // Nothing but the padding of the last content is missing.
            if there == 0 && self.open_end && left <= padding {
                return Ok(());
            }
            if there == 0 {
                return Err(truncated());
            }
            let step = usize::try_from(left).unwrap_or(usize::MAX).min(there);
            self.reader.consume(step);
            left -= step as u64;
        }
        Ok(())
    }

    fn begin(&mut self, stored: u64) {
        self.content = stored;
        self.padding = stored.wrapping_neg() % BLOCK as u64;
    }

    fn metadata(&mut self, name: &[u8], stored: u64, sum: &mut u64) -> io::Result<Vec<u8>> {
        *sum = sum.saturating_add(stored).saturating_add(BLOCK as u64);
        if *sum > MOST_METADATA {
            return Err(invalid(name, format!("its extended headers have more than {MOST_METADATA} bytes")));
        }
        self.begin(stored);
        let mut text = Vec::new();
        self.reader.by_ref().take(stored).read_to_end(&mut text)?;
        self.content = 0;
        if text.len() as u64 == stored { Ok(text) } else { Err(truncated()) }
    }

    fn member(&mut self, header: Header, stored: u64, before: &Extensions) -> io::Result<Member> {
        let kind = header.entry_type();
        let mut member = Member {
            name: before.name.clone().unwrap_or_else(|| header.path_bytes().into_owned()),
            link: before
                .link
                .clone()
                .or_else(|| header.link_name_bytes().map(Into::into))
                .unwrap_or_default(),
            header,
            kind,
            size: stored,
            records: Vec::new(),
            sparse: None,
        };
        if let Some(pax) = &before.pax {
            take_records(&mut member, pax, before)?;
        }
        if kind.is_gnu_sparse() {
            let map = self.sparse(&member).map_err(|error| match error {
                Wrong::Io(error) => error,
                Wrong::Rule(rule) => invalid(&member.name, rule),
            })?;
            self.begin(member.size);
            member.size = map.size;
            member.sparse = Some(map);
        } else {
            self.begin(member.size);
        }
        Ok(member)
    }

    fn sparse(&mut self, member: &Member) -> Result<Sparse, Wrong> {
        let bytes = member.header.as_bytes();
        if member.header.as_gnu().is_none() {
            return Err(Wrong::Rule("a sparse file in a header that has no place for it"));
        }
        let mut pieces = Vec::new();
        sparse_pieces(&bytes[386..482], &mut pieces)?;
        let size = number(&bytes[483..495]).and_then(|size| u64::try_from(size).ok());
        let size = size.ok_or(Wrong::Rule("its size (sparse file) is not a number in range"))?;
        let mut more = bytes[482] != 0;
        while more {
            let mut block = [0; BLOCK];
            self.reader.read_exact(&mut block).map_err(cut)?;
            sparse_pieces(&block[..504], &mut pieces)?;
            more = block[504] != 0;
        }
        Ok(sparse(pieces, size, member.size)?)
    }
}

enum Wrong {
    Io(io::Error),
    Rule(&'static str),
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Wrong {
        Wrong::Io(error)
    }
}

impl From<&'static str> for Wrong {
    fn from(rule: &'static str) -> Wrong {
        Wrong::Rule(rule)
    }
}

fn cut(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof { truncated() } else { error }
}

/// A long name ends with a NUL. One that has more behind it is left as it is, to be refused like any name with a NUL.
fn until_nul(mut text: Vec<u8>) -> Vec<u8> {
    while text.last() == Some(&0) {
        text.pop();
    }
    text
}

/// A global header changes nothing here. Readers that let it change what follows would see other files.
fn check_global(name: &[u8], text: &[u8]) -> io::Result<()> {
    let records = pax_records(text).ok_or_else(|| invalid(name, "the global header is malformed"))?;
    let matters = |key: &[u8]| {
        matches!(key, b"path" | b"linkpath" | b"size" | b"uid" | b"gid" | b"mtime")
            || key.starts_with(b"GNU.sparse.")
            || key.starts_with(b"SCHILY.xattr.")
    };
    match records.iter().find(|(key, _)| matters(key)) {
        Some((key, _)) => {
            let key = String::from_utf8_lossy(key);
            Err(invalid(name, format!("a global header that sets {key} for all entries")))
        }
        None => Ok(()),
    }
}

/// Applies an extended header. The last of several records with one key counts.
fn take_records(member: &mut Member, pax: &[u8], before: &Extensions) -> io::Result<()> {
    let name = member.name.clone();
    let wrong = |rule: &str| Err(invalid(&name, rule));
    let Some(records) = pax_records(pax) else { return wrong("its extended header is malformed") };
    for (key, value) in records {
        match key {
            b"path" | b"linkpath" | b"size" if value.is_empty() => {
                return wrong("its extended header has an empty value");
            }
            // Readers differ in which of the two counts.
            b"path" if before.name.is_some() => return wrong("it has two long names"),
            b"linkpath" if before.link.is_some() => return wrong("it has two long targets"),
            b"path" => member.name = value.to_vec(),
            b"linkpath" => member.link = value.to_vec(),
            b"size" => {
                let text =
                    std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
                match text.and_then(|text| text.parse().ok()) {
                    Some(size) => member.size = size,
                    None => return wrong("its size is not a number in range"),
                }
            }
            _ if key.starts_with(b"GNU.sparse.") => {
                return wrong("a sparse file in an extended header; archive it without --sparse");
            }
            _ => member.records.push((key.to_vec(), value.to_vec())),
        }
    }
    Ok(())
}

/// A member's content, with zeros for its holes. It has as many bytes as the member's size, or reading fails.
#[derive(Debug)]
pub(super) struct Content<'a, R> {
    members: &'a mut Members<R>,
    pieces: &'a [(u64, u64)],
    sparse: bool,
    position: u64,
    size: u64,
}

impl<R: BufRead> Content<'_, R> {
    /// How far reading may go from here, and whether it goes through a hole.
    fn stretch(&mut self) -> (u64, bool) {
        if !self.sparse {
            return (self.size - self.position, false);
        }
        while let Some(&(offset, length)) = self.pieces.first() {
            if self.position < offset {
                return (offset - self.position, true);
            }
            if self.position < offset + length {
                return (offset + length - self.position, false);
            }
            self.pieces = &self.pieces[1..];
        }
        (self.size - self.position, true)
    }
}

impl<R: BufRead> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (most, hole) = self.stretch();
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let length = if hole {
            buffer[..most].fill(0);
            most
        } else {
            self.members.reader.read(&mut buffer[..most])?
        };
        if length == 0 {
            return Err(truncated());
        }
        if !hole {
            self.members.content -= length as u64;
        }
        self.position += length as u64;
        Ok(length)
    }
}
