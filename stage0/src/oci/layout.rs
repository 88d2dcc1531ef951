//! Images in an OCI layout, a directory of blobs (OCI image specification, image layout).

use std::{
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use oci_spec::image::{Descriptor, ImageIndex};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use super::{
    Blobs, Digest, RegistryName,
    documents::{Blob, Document, MAX_DOCUMENT, choose},
};

/// The annotation that names an entry of a layout.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation by which containerd names it.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// An open layout.
#[derive(Debug)]
pub(super) struct Layout {
    directory: OwnedFd,
    path: PathBuf,
}

impl Layout {
    pub(super) fn open(path: &Path) -> Result<Layout> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())
            .with_context(|| format!("open OCI layout {}", path.display()))?;
        Ok(Layout { directory, path: path.to_owned() })
    }

    /// The index of the whole layout.
    pub(super) fn index(&self) -> Result<ImageIndex> {
        let read = || -> Result<Vec<u8>> {
            let mut text = Vec::new();
            self.file(Path::new("index.json"))?.take(MAX_DOCUMENT).read_to_end(&mut text)?;
            Ok(text)
        };
        index(&read()?).with_context(|| format!("{}/index.json", self.path.display()))
    }

    /// Opens a regular file of the layout. No link leads out of it.
    fn file(&self, name: &Path) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let shown = || self.path.join(name).display().to_string();
        let open = || -> rustix::io::Result<OwnedFd> {
            rustix::fs::openat2(&self.directory, name, flags, Mode::empty(), resolve)
        };
        let fd = open().map_err(|errno| io::Error::other(format!("open {}: {}", shown(), words(errno))))?;
        match FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) {
            FileType::RegularFile => Ok(File::from(fd)),
            _ => Err(io::Error::other(format!("open {}: it is not a regular file", shown()))),
        }
    }
}

fn words(errno: rustix::io::Errno) -> String {
    let text = io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// Where a layout has a blob.
pub(super) fn blob_path(digest: &Digest) -> PathBuf {
    Path::new("blobs").join(digest.algorithm()).join(digest.hex())
}

impl Blobs for Layout {
    fn open(&self, blob: &Blob) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.file(&blob_path(&blob.digest))?))
    }
}

/// Reads the index of a layout.
pub(super) fn index(text: &[u8]) -> Result<ImageIndex> {
    match Document::read(text)? {
        Document::Index(index) => Ok(*index),
        Document::Image { .. } => bail!("it is a manifest, where an index has to be"),
    }
}

/// The entry of a layout that is meant, and the name that it has there.
pub(super) fn entry<'a>(
    index: &'a ImageIndex,
    tag: Option<&str>,
) -> Result<(&'a Descriptor, Option<String>)> {
    let all: Vec<(&Descriptor, Option<String>)> =
        index.manifests().iter().map(|entry| (entry, name_of(entry))).collect();
    let mut names: Vec<&str> = all.iter().filter_map(|(_, name)| name.as_deref()).collect();
    names.sort_unstable();
    names.dedup();
    let wanted: Option<&str> =
        match tag {
            Some(tag) => Some(
                *names
                    .iter()
                    .find(|name| is_meant(name, tag))
                    .with_context(|| format!("no image {tag:?} in the layout, only: {}", names.join(", ")))?,
            ),
            None if names.len() < 2 => names.first().copied(),
            None => Some(*names.iter().find(|name| is_meant(name, "latest")).with_context(|| {
                format!("which image of the layout is meant? It has: {}", names.join(", "))
            })?),
        };
    // Without names, and with one that all have, the platform decides.
    let candidates = all.iter().filter(|(_, name)| wanted.is_none() || name.as_deref() == wanted);
    let entry = choose(candidates.map(|(entry, _)| *entry))?;
    Ok((entry, wanted.map(str::to_owned)))
}

fn name_of(entry: &Descriptor) -> Option<String> {
    let annotations = entry.annotations().as_ref()?;
    annotations.get(REF_NAME).or_else(|| annotations.get(CONTAINERD_NAME)).cloned()
}

/// Whether a name of a layout is what a user calls `tag`: the name as it stands, or its tag, or the same image.
fn is_meant(name: &str, tag: &str) -> bool {
    let whole = |text: &str| RegistryName::read(text).ok();
    let is_name = name.contains(['/', ':']);
    name == tag
        || (is_name && whole(name).is_some_and(|name| name.version() == tag))
        || (is_name && tag.contains(['/', ':']) && whole(name).is_some() && whole(name) == whole(tag))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn layout(names: &[&str]) -> ImageIndex {
        let entries: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(number, name)| {
                let mut entry = json!({
                    "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": number,
                    "digest": format!("sha256:{number:064}"),
                });
                if !name.is_empty() {
                    entry["annotations"] = json!({REF_NAME: name});
                }
                entry
            })
            .collect();
        index(json!({"schemaVersion": 2, "manifests": entries}).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn an_image_of_a_layout_is_found_by_its_tag() {
        let found = |names: &[&str], tag: Option<&str>| {
            entry(&layout(names), tag).map(|(entry, _)| entry.size()).map_err(|error| error.to_string())
        };
        assert_eq!(found(&["a", "b"], Some("b")), Ok(1));
        assert_eq!(found(&["a", "latest"], None), Ok(1));
        assert_eq!(found(&["a"], None), Ok(0));
        assert_eq!(found(&[""], None), Ok(0));
        assert_eq!(found(&["docker.io/library/x:1", "docker.io/library/x:2"], Some("2")), Ok(1));
        assert_eq!(found(&["docker.io/library/x:1"], Some("x:1")), Ok(0));
        for (names, tag, reason) in [
            (&["a", "b"][..], None, "a, b"),
            (&["a", "b"], Some("c"), "a, b"),
            (&[], None, "none for this machine"),
        ] {
            assert!(found(names, tag).unwrap_err().contains(reason), "{names:?}");
        }
    }

    #[test]
    fn a_layout_is_not_left() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("layout");
        std::fs::create_dir_all(path.join("blobs/sha256")).unwrap();
        std::fs::write(base.path().join("secret"), "x").unwrap();
        let digest = Digest::of(b"x");
        std::os::unix::fs::symlink("../../../secret", path.join(blob_path(&digest))).unwrap();
        let layout = Layout::open(&path).unwrap();
        let blob = Blob { digest, size: 1, media_type: String::new() };
        assert!(layout.open(&blob).is_err());
    }
}
