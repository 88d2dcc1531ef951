//! Docker's and OCI's images: from registries, layouts and archives, with their layers kept as they are.

mod archive;
mod auth;
mod convert;
mod digest;
mod documents;
mod layout;
mod reference;
mod registry;

use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use appc::types::AcIdentifier;
use oci_spec::image::ImageConfiguration;

pub(crate) use archive::is_one as is_archive;
pub(crate) use auth::Basic;
pub(crate) use digest::Digest;
pub(crate) use reference::RegistryName;

use crate::{
    http::Client,
    output::Progress,
    store::{ImageRecord, Layered, Origin as StoreOrigin, PullPolicy, Remote, Store, StoreError},
};
use archive::Archive;
use convert::Origin;
use digest::Verified;
use documents::{Blob, Document, MAX_DEPTH, MAX_DOCUMENT, choose, configuration};
use layout::Layout;
use reference::Version;
use registry::Registry;

/// Where an image of this kind is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a registry; and the name as the user wrote it.
    Registry(RegistryName, String),
    /// In a layout, by its tag.
    Layout(PathBuf, Option<String>),
    /// In a layout in a tar, by its tag.
    OciArchive(PathBuf, Option<String>),
    /// In what `docker save` wrote, by its name.
    DockerArchive(PathBuf, Option<String>),
}

/// Gets such images.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    /// Where they go.
    pub(crate) store: &'a Store,
    /// Who talks to registries.
    pub(crate) client: Client<'a>,
    /// What registries want to see, by host.
    pub(crate) credentials: &'a BTreeMap<String, Basic>,
    /// Whether http will do where https does not answer.
    pub(crate) allow_http: bool,
    /// When they are fetched.
    pub(crate) policy: PullPolicy,
    /// Where it is shown how far they are.
    pub(crate) progress: &'a Progress,
}

/// What has blobs.
trait Blobs: Sync {
    /// Opens a blob, which may turn out to be another one.
    fn open(&self, blob: &Blob) -> io::Result<Box<dyn Read + Send + '_>>;
}

/// An image whose layers can be got.
struct Found<'a> {
    config: ImageConfiguration,
    config_digest: Digest,
    manifest_digest: Option<Digest>,
    diff_ids: Vec<String>,
    layers: Layers<'a>,
}

type Opened<'a> = Box<dyn Read + Send + 'a>;

impl Found<'_> {
    /// A layer, for whoever watches.
    fn name(&self, index: usize, shown: &str) -> String {
        format!("{shown} layer {}/{} ({})", index + 1, self.diff_ids.len(), &self.diff_ids[index][..12])
    }
}

enum Layers<'a> {
    /// By their digests.
    Blobs(&'a dyn Blobs, Vec<Blob>),
    /// By the names of members.
    Members(&'a Archive, Vec<String>),
}

impl Layers<'_> {
    /// Opens a layer, and says how many bytes it has.
    fn open(&self, index: usize) -> io::Result<(Opened<'_>, Option<u64>)> {
        match self {
            Layers::Blobs(blobs, layers) => {
                let blob = &layers[index];
                let reader = Verified::new(blobs.open(blob)?, blob.digest.clone(), Some(blob.size));
                Ok((Box::new(reader), Some(blob.size)))
            }
            // They are verified by what the configuration says of them.
            Layers::Members(archive, names) => {
                Ok((Box::new(archive.member(Path::new(&names[index]))?), None))
            }
        }
    }
}

impl Source<'_> {
    /// Gets an image.
    pub(crate) fn fetch(&self, place: &Place) -> Result<ImageRecord> {
        match place {
            Place::Registry(name, original) => named(self.registry(name, original), original),
            Place::Layout(path, tag) => {
                let shown = format!("oci:{}", path.display());
                named(self.layout(path, tag.as_deref(), &shown), &shown)
            }
            Place::OciArchive(path, tag) => self.archive(path, "oci-archive", tag.as_deref()),
            Place::DockerArchive(path, name) => self.archive(path, "docker-archive", name.as_deref()),
        }
    }

    fn registry(&self, name: &RegistryName, original: &str) -> Result<ImageRecord> {
        let key = format!("docker://{name}");
        let _lock = if self.policy == PullPolicy::Never { None } else { Some(self.store.lock(&key)?) };
        let known = self.store.downloaded(&key, false)?;
        let exact = matches!(name.version, Version::Digest(_));
        let known = match (known, self.policy) {
            (Some((_, image)), PullPolicy::Never | PullPolicy::New) => return Ok(image),
            // A digest never means another image.
            (Some((_, image)), PullPolicy::Update) if exact => return Ok(image),
            (None, PullPolicy::Never) => {
                bail!("it was not found in the store, and --pull-policy=never forbids to fetch it")
            }
            (known, _) => known,
        };
        let credentials = auth::find(self.credentials, &name.registry, &name.repository)?;
        let registry = Registry::new(self.client, name, self.allow_http, credentials, self.credentials);
        let (text, digest) = registry.document(&name.version())?;
        if let Some((remote, image)) = known
            && remote.etag.as_deref() == Some(&digest.to_string())
        {
            return Ok(image);
        }
        let remote = Remote::now(key, digest.to_string());
        let found = resolve(&registry, text, digest)?;
        self.import(&found, &Origin::of(name, original), original, &StoreOrigin::Remote(&remote))
    }

    fn layout(&self, path: &Path, tag: Option<&str>, shown: &str) -> Result<ImageRecord> {
        let layout = Layout::open(path)?;
        let index = layout.index()?;
        let (entry, name) = layout::entry(&index, tag)?;
        let blob = Blob::new(entry)?;
        let found = resolve(&layout, document(&layout, &blob)?, blob.digest)?;
        self.import(&found, &origin(path, name.as_deref())?, shown, &StoreOrigin::Elsewhere)
    }

    /// The image in an archive that the store knows already.
    fn archive(&self, path: &Path, kind: &str, tag: Option<&str>) -> Result<ImageRecord> {
        let colon = if tag.is_some() { ":" } else { "" };
        let shown = format!("{kind}:{}{colon}{}", path.display(), tag.unwrap_or_default());
        let get = || -> Result<ImageRecord> {
            let source = self.store.source(path, &format!("{kind}:{}:", tag.unwrap_or_default()))?;
            if let Some(image) = self.store.known(&source)? {
                return Ok(image);
            }
            let _lock = self.store.lock(&format!("{source:?}"))?;
            if let Some(image) = self.store.known(&source)? {
                return Ok(image);
            }
            let archive = Archive::open(path, self.store)?;
            let store_origin = StoreOrigin::File(&source);
            if kind == "docker-archive" && archive.has("manifest.json") {
                let (saved, name) = archive.saved(tag)?;
                let text = archive.document(&saved.config)?;
                let (config, diff_ids) = configuration(&text, saved.layers.len())?;
                let found = Found {
                    config,
                    config_digest: Digest::of(&text),
                    manifest_digest: None,
                    diff_ids,
                    layers: Layers::Members(&archive, saved.layers),
                };
                return self.import(&found, &origin(path, name.as_deref())?, &shown, &store_origin);
            }
            if !archive.has("index.json") {
                bail!("it has neither a manifest.json nor an index.json: it is no archive of images");
            }
            let index = layout::index(&archive.document("index.json")?).context("its index.json")?;
            let (entry, name) = layout::entry(&index, tag)?;
            let blob = Blob::new(entry)?;
            let found = resolve(&archive, document(&archive, &blob)?, blob.digest)?;
            self.import(&found, &origin(path, name.as_deref())?, &shown, &store_origin)
        };
        named(get(), &shown)
    }

    fn import(
        &self,
        found: &Found<'_>,
        origin: &Origin,
        shown: &str,
        store_origin: &StoreOrigin<'_>,
    ) -> Result<ImageRecord> {
        let manifest =
            convert::manifest(origin, &found.config, &found.config_digest, found.manifest_digest.as_ref())?;
        let open = |index: usize| {
            let (reader, size) = found.layers.open(index)?;
            // Only what comes over the network takes its time.
            let is_remote = matches!(store_origin, StoreOrigin::Remote(_));
            Ok(match is_remote {
                true => Box::new(self.progress.reader(reader, &found.name(index, shown), size)) as Opened<'_>,
                false => reader,
            })
        };
        let layered = Layered { shown, manifest: &manifest, diff_ids: &found.diff_ids, open: &open };
        Ok(self.store.import_layered(&layered, store_origin)?)
    }
}

/// Adds which image an error is about, where it does not say so itself.
fn named<T>(result: Result<T>, shown: &str) -> Result<T> {
    match result {
        Err(error) if error.downcast_ref().is_some_and(StoreError::names_image) => Err(error),
        other => other.with_context(|| format!("image {shown}")),
    }
}

/// Finds the image that a document leads to.
fn resolve(blobs: &dyn Blobs, text: Vec<u8>, digest: Digest) -> Result<Found<'_>> {
    let (mut text, mut digest) = (text, digest);
    for _ in 0..MAX_DEPTH {
        match Document::read(&text).with_context(|| format!("manifest {digest}"))? {
            Document::Index(index) => {
                let blob = Blob::new(choose(index.manifests().iter())?)?;
                text = document(blobs, &blob)?;
                digest = blob.digest;
            }
            Document::Image { config, layers } => {
                let text = document(blobs, &config)?;
                let (configuration, diff_ids) = configuration(&text, layers.len())?;
                return Ok(Found {
                    config: configuration,
                    config_digest: config.digest,
                    manifest_digest: Some(digest),
                    diff_ids,
                    layers: Layers::Blobs(blobs, layers),
                });
            }
        }
    }
    bail!("more than {MAX_DEPTH} indexes are inside each other")
}

/// A blob that is small enough to be held as a whole.
fn document(blobs: &dyn Blobs, blob: &Blob) -> Result<Vec<u8>> {
    if blob.size > MAX_DOCUMENT {
        bail!("blob {}: it has {} bytes, at most {MAX_DOCUMENT} are allowed", blob.digest, blob.size);
    }
    let mut text = Vec::new();
    Verified::new(blobs.open(blob)?, blob.digest.clone(), Some(blob.size)).read_to_end(&mut text)?;
    Ok(text)
}

/// What an image of a file or directory is called: as that says, else by the file's name. The same image is the same,
/// however the file was given.
fn origin(path: &Path, name: Option<&str>) -> Result<Origin> {
    if let Some(name) = name.filter(|name| name.contains(['/', ':'])) {
        return Ok(Origin::of(&RegistryName::read(name)?, name));
    }
    let absolute = std::path::absolute(path).context("find the image")?;
    let file = absolute.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = [".gz", ".xz", ".zst", ".bz2", ".tar"]
        .iter()
        .fold(file.as_str(), |stem, suffix| stem.strip_suffix(suffix).unwrap_or(stem));
    let repository = AcIdentifier::sanitize(stem)?.to_string();
    Ok(Origin {
        registry: String::new(),
        tag: name.map(str::to_owned),
        original: repository.clone(),
        repository,
    })
}
