//! Reading a layer of a Docker or OCI image: a tar of what it adds to the layers below, and of what it takes away.
//!
//! The same reader, rules and limits as for images, with the differences that the OCI image specification (layer) makes:
//! no manifest, no `rootfs`, deletions as names that start with `.wh.`.

use std::{
    io::{self, BufRead, Read},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    thread,
};

use sha2::Sha256;
use tar::EntryType;

use super::{
    AciError, Compression, Entry, EntryKind, Limits, ReadError,
    check::{Checker, Shape},
    compression::decompress_tar,
    members::{Member, Members},
    read::{entry, of_io},
    source::Source,
};

/// What a layer does. Paths are as in an image, `rootfs` or below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Makes an entry, in the place of what was there. A hard link may lead to a file of a layer below.
    Add(Entry),
    /// Deletes what layers below have at a path; what this layer has there stays.
    Remove(PathBuf),
    /// Deletes what layers below have in a directory; what this layer has there stays.
    Empty(PathBuf),
}

/// What is known of a layer that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The SHA-256 of the uncompressed layer, its DiffID.
    pub diff_id: [u8; 32],
    /// How it is compressed.
    pub compression: Compression,
    /// Bytes of the uncompressed layer.
    pub size: u64,
}

/// Reads a layer to its end and calls `visit` with each change and its content, in the order of the layer.
///
/// # Errors
/// See [`ReadError`]. The visitor may have seen changes of a layer that turns out to be invalid.
pub fn read_layer<E>(
    input: impl Read + Send,
    limits: &Limits,
    visit: &mut dyn FnMut(&Change, &mut dyn Read) -> Result<(), E>,
) -> Result<Layer, ReadError<E>> {
    let (compression, reader) = decompress_tar(input).map_err(of_io)?;
    thread::scope(|scope| {
        let source = Source::<Sha256>::new(reader, limits.bytes, scope).map_err(of_io)?;
        // Its digest says where it ends; not every tool writes the end of a tar.
        let mut members = Members::with_open_end(source);
        walk(&mut members, limits, visit)?;
        let (digest, size) = members.into_inner().finish().map_err(of_io)?;
        Ok(Layer { diff_id: digest.into(), compression, size })
    })
}

fn walk<R: BufRead, E>(
    members: &mut Members<R>,
    limits: &Limits,
    visit: &mut dyn FnMut(&Change, &mut dyn Read) -> Result<(), E>,
) -> Result<(), ReadError<E>> {
    let mut checker = Checker::new(Shape::Layer, limits);
    let mut content = 0_u64;
    while let Some(mut member) = members.next().map_err(of_io)? {
        move_below_rootfs(&mut member);
        let Some(entry) = entry(&member, limits)? else { continue };
        let Some(change) = change(entry)? else { continue };
        match &change {
            Change::Add(entry) => {
                checker.check(entry)?;
                content = content.saturating_add(entry.size);
            }
            Change::Remove(path) => checker.check_parents(path)?,
            Change::Empty(path) => checker.check_parents(&path.join("x"))?,
        }
        if content > limits.content {
            let message = format!("its files have more than {} bytes", limits.content);
            return Err(AciError::Archive(message).into());
        }
        match &change {
            Change::Add(_) => visit(&change, &mut members.content(&member)),
            _ => visit(&change, &mut io::empty()),
        }
        .map_err(ReadError::Visit)?;
    }
    Ok(())
}

/// Layers have at their top what images have in `rootfs`. A slash at the start says nothing more.
fn move_below_rootfs(member: &mut Member) {
    let below = |name: &[u8]| {
        let start = name.iter().take_while(|byte| **byte == b'/').count();
        [b"rootfs/", &name[start..]].concat()
    };
    member.name = below(&member.name);
    if member.kind == EntryType::Link && !member.link.is_empty() {
        member.link = below(&member.link);
    }
}

/// What an entry does. `None` is what a union file system kept for itself.
fn change(entry: Entry) -> Result<Option<Change>, AciError> {
    let refuse = |rule: &str| {
        Err(AciError::Entry { name: entry.path.to_string_lossy().into_owned(), rule: rule.to_owned() })
    };
    let marked = |part: &Path, mark: &[u8]| part.as_os_str().as_bytes().starts_with(mark);
    let name = Path::new(entry.path.file_name().unwrap_or_default());
    let parent = entry.path.parent().unwrap_or(Path::new(""));
    if name == Path::new(".wh..wh..opq") {
        return Ok(Some(Change::Empty(parent.to_owned())));
    }
    if entry.path.iter().any(|part| marked(Path::new(part), b".wh..wh.")) {
        return Ok(None);
    }
    if parent.iter().any(|part| marked(Path::new(part), b".wh.")) {
        return refuse("it is in a directory whose name stands for a deletion");
    }
    if let Some(hidden) = name.as_os_str().as_bytes().strip_prefix(b".wh.") {
        let hidden = std::ffi::OsStr::from_bytes(hidden);
        if matches!(hidden.as_bytes(), b"" | b"." | b"..") {
            return refuse("it deletes a name that no file can have");
        }
        return Ok(Some(Change::Remove(parent.join(hidden))));
    }
    if matches!(entry.kind, EntryKind::CharDevice { major: 0, minor: 0 }) {
        return refuse("the device 0:0 stands for a deletion");
    }
    Ok(Some(Change::Add(entry)))
}

#[cfg(test)]
mod tests {
    use tar::{Builder, Header};

    use super::*;

    /// A tar of these: a name, a type, and a target.
    fn layer(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (name, kind, target) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(0);
            header.set_mode(0o644);
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
            if *kind == EntryType::Char {
                header.set_device_major(0).unwrap();
                header.set_device_minor(0).unwrap();
            }
            header.set_cksum();
            builder.append(&header, io::empty()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn changes(entries: &[(&str, EntryType, &str)]) -> Result<Vec<String>, String> {
        let mut all = Vec::new();
        let tar = layer(entries);
        let read = read_layer(tar.as_slice(), &Limits::default(), &mut |change, _| {
            all.push(match change {
                Change::Add(entry) => match &entry.kind {
                    EntryKind::HardLink(target) => format!("{} = {}", entry.path.display(), target.display()),
                    _ => entry.path.display().to_string(),
                },
                Change::Remove(path) => format!("- {}", path.display()),
                Change::Empty(path) => format!("-- {}", path.display()),
            });
            Ok::<(), io::Error>(())
        });
        read.map(|_| all).map_err(|error| error.to_string())
    }

    const FILE: EntryType = EntryType::Regular;
    const DIR: EntryType = EntryType::Directory;
    const LINK: EntryType = EntryType::Link;

    #[test]
    fn names_that_start_with_a_mark_are_deletions() {
        let found = changes(&[
            ("./", DIR, ""),
            ("etc/", DIR, ""),
            ("etc/.wh.passwd", FILE, ""),
            ("/var/lib/.wh..wh..opq", FILE, ""),
            (".wh..wh.plnk/12.3", FILE, ""),
            (".wh..wh.aufs", FILE, ""),
            ("a", FILE, ""),
            ("a", FILE, ""),
            ("b", LINK, "/a"),
            ("c", LINK, "below"),
        ]);
        let want =
            ["rootfs", "rootfs/etc", "- rootfs/etc/passwd", "-- rootfs/var/lib", "rootfs/a", "rootfs/a"];
        let links = ["rootfs/b = rootfs/a", "rootfs/c = rootfs/below"];
        assert_eq!(found.unwrap(), [&want[..], &links].concat());
        assert_eq!(changes(&[]).unwrap(), [""; 0]);
    }

    #[test]
    fn case_06_deletions_act_in_their_own_directory_only() {
        for entries in [
            &[(".wh...", FILE, "")][..],
            &[(".wh..", FILE, "")],
            &[(".wh.", FILE, "")],
            &[("a/.wh..wh..opq/../../x", FILE, "")],
            &[("../.wh.x", FILE, "")],
            &[("a/../.wh.x", FILE, "")],
            &[(".wh.a/b", FILE, "")],
            &[("a", EntryType::Symlink, "/etc"), ("a/.wh.passwd", FILE, "")],
            &[("a", EntryType::Symlink, "/etc"), ("a/.wh..wh..opq", FILE, "")],
            &[("a", FILE, ""), ("a/", DIR, "")],
            &[("a/b", FILE, ""), ("a", FILE, "")],
            &[("a", LINK, "a")],
            &[("a", LINK, "../a")],
            &[("a", EntryType::Char, "")],
        ] {
            assert!(changes(entries).is_err(), "{entries:?}");
        }
    }

    #[test]
    fn the_id_is_that_of_the_uncompressed_layer() {
        use std::io::Write;
        let tar = layer(&[("a", FILE, "")]);
        let read = |bytes: &[u8]| {
            read_layer(bytes, &Limits::default(), &mut |_, _| Ok::<(), io::Error>(())).unwrap()
        };
        let plain = read(&tar);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).unwrap();
        let gzip = read(&gzip.finish().unwrap());
        let zstd = read(&zstd::encode_all(tar.as_slice(), 1).unwrap());
        assert_eq!((plain.diff_id, plain.size), (gzip.diff_id, gzip.size));
        assert_eq!(plain.diff_id, zstd.diff_id);
        assert_eq!(gzip.compression, Compression::Gzip);
        assert_eq!(read(&[]).size, 0);
        assert_eq!(read(&tar[..512]).size, 512);
        // Only zeros: nothing tells that it is a tar.
        assert_eq!(read(&[0; 1024]).compression, Compression::None);
    }
}
