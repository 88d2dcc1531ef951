//! Images in a tar: what `docker save` writes, and OCI layouts.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    io::{self, Read, Seek},
    os::unix::fs::FileExt,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use appc::aci;
use serde::Deserialize;
use tar::EntryType;

use super::{
    Blobs, RegistryName,
    documents::{Blob, MAX_DOCUMENT},
    layout::blob_path,
};
use crate::store::{Scratch, Store};

/// Most members of an archive.
const MOST_MEMBERS: usize = 100_000;

/// Links from member to member that are followed.
const LINKS: usize = 8;

/// An archive whose members can be read in any order.
#[derive(Debug)]
pub(super) struct Archive {
    file: Arc<File>,
    members: HashMap<PathBuf, Member>,
    /// Where it was decompressed to.
    _scratch: Option<Scratch>,
}

#[derive(Debug)]
enum Member {
    File { offset: u64, size: u64 },
    Link(PathBuf),
}

/// An entry of a Docker archive's `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Saved {
    /// The configuration's member.
    pub(super) config: String,
    /// The image's names.
    #[serde(default)]
    pub(super) repo_tags: Option<Vec<String>>,
    /// The layers' members, the lowest first.
    pub(super) layers: Vec<String>,
}

/// Whether a file is an archive of images of others, by its first members: ours start with a manifest or a root.
pub(crate) fn is_one(path: &Path) -> bool {
    let first = || -> io::Result<Option<bool>> {
        let (_, reader) = aci::decompress_tar(File::open(path)?)?;
        for entry in tar::Archive::new(reader).entries()?.take(8) {
            let path = clean(&entry?.path_bytes());
            let Some(first) = path.iter().next() else { continue };
            let json = path.extension() == Some(OsStr::new("json"));
            let known = ["oci-layout", "repositories", "blobs"].iter().any(|name| first == *name);
            // Older ones start with a directory of a layer.
            let is_layer = first.len() == 64 && first.as_encoded_bytes().iter().all(u8::is_ascii_hexdigit);
            let is_tar = first.len() == 68 && path.extension() == Some(OsStr::new("tar"));
            return Ok(Some(json || known || is_layer || is_tar));
        }
        Ok(None)
    };
    matches!(first(), Ok(Some(true)))
}

impl Archive {
    /// Opens an archive. One that is compressed is decompressed into the store's directory for work.
    pub(super) fn open(path: &Path, store: &Store) -> Result<Archive> {
        let shown = || format!("archive {}", path.display());
        let file = File::open(path).with_context(shown)?;
        if !file.metadata().with_context(shown)?.is_file() {
            bail!("{}: it is not a regular file", shown());
        }
        let (compression, mut reader) = aci::decompress_tar(file.try_clone()?).with_context(shown)?;
        let (file, scratch) = if compression == aci::Compression::None {
            (file, None)
        } else {
            let scratch = store.scratch()?;
            let place = scratch.path().join("archive");
            let mut plain = File::options().read(true).write(true).create_new(true).open(&place)?;
            let most = aci::Limits::default().bytes;
            if io::copy(&mut reader.by_ref().take(most + 1), &mut plain).with_context(shown)? > most {
                bail!("{}: uncompressed it has more than {most} bytes", shown());
            }
            (plain, Some(scratch))
        };
        drop(reader);
        let members = members(&file).with_context(shown)?;
        Ok(Archive { file: Arc::new(file), members, _scratch: scratch })
    }

    /// Whether there is a member of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.members.contains_key(Path::new(name))
    }

    /// A document in the archive.
    pub(super) fn document(&self, name: &str) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        self.member(&clean(name.as_bytes()))
            .and_then(|member| member.take(MAX_DOCUMENT).read_to_end(&mut text))
            .with_context(|| format!("read {name}"))?;
        Ok(text)
    }

    /// Opens a member, or the one that it leads to.
    pub(super) fn member(&self, name: &Path) -> io::Result<Section> {
        let mut name = name;
        for _ in 0..LINKS {
            match self.members.get(name) {
                Some(Member::File { offset, size }) => {
                    return Ok(Section { file: Arc::clone(&self.file), position: *offset, left: *size });
                }
                Some(Member::Link(target)) => name = target,
                None => break,
            }
        }
        Err(io::Error::other(format!("the archive has no file {}", name.display())))
    }

    /// The image of a Docker archive that is meant, and its name.
    pub(super) fn saved(&self, name: Option<&str>) -> Result<(Saved, Option<String>)> {
        let text = self.document("manifest.json")?;
        let mut all: Vec<Saved> = serde_json::from_slice(&text).context("its manifest.json")?;
        let names: Vec<String> =
            all.iter().flat_map(|saved| saved.repo_tags.iter().flatten().cloned()).collect();
        let Some(wanted) = name else {
            if all.len() != 1 {
                bail!("which image of the archive is meant? It has: {}", names.join(", "));
            }
            let saved = all.remove(0);
            let name = saved.repo_tags.as_ref().and_then(|names| names.first().cloned());
            return Ok((saved, name));
        };
        let whole = RegistryName::read(wanted)?;
        let is_it = |name: &String| RegistryName::read(name).is_ok_and(|name| name == whole);
        let position = all.iter().position(|saved| saved.repo_tags.iter().flatten().any(is_it));
        let position = position
            .with_context(|| format!("no image {wanted:?} in the archive, only: {}", names.join(", ")))?;
        Ok((all.swap_remove(position), Some(wanted.to_owned())))
    }
}

impl Blobs for Archive {
    fn open(&self, blob: &Blob) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.member(&blob_path(&blob.digest))?))
    }
}

/// Finds all members.
fn members(file: &File) -> Result<HashMap<PathBuf, Member>> {
    let mut reader = file;
    reader.rewind()?;
    let mut archive = tar::Archive::new(reader);
    let mut members = HashMap::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let name = clean(&entry.path_bytes());
        let member = match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {
                Member::File { offset: entry.raw_file_position(), size: entry.size() }
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().context("a link without a target")?;
                let parent = name.parent().unwrap_or(Path::new(""));
                Member::Link(clean(&[parent.as_os_str().as_encoded_bytes(), b"/", &target].concat()))
            }
            EntryType::Link => {
                Member::Link(clean(&entry.link_name_bytes().context("a link without a target")?))
            }
            _ => continue,
        };
        members.insert(name, member);
        if members.len() > MOST_MEMBERS {
            bail!("more than {MOST_MEMBERS} members");
        }
    }
    Ok(members)
}

/// The name of a member without what says nothing. Names are only looked up among each other.
fn clean(name: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let mut parts: Vec<&OsStr> = Vec::new();
    for part in Path::new(OsStr::from_bytes(name)).components() {
        match part {
            Component::Normal(part) => parts.push(part),
            Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    parts.iter().collect()
}

/// A part of a file, read without moving the position that others read from.
#[derive(Debug)]
pub(super) struct Section {
    file: Arc<File>,
    position: u64,
    left: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let length = self.file.read_at(&mut buffer[..most], self.position)?;
        if length == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is truncated"));
        }
        self.position += length as u64;
        self.left -= length as u64;
        Ok(length)
    }
}
