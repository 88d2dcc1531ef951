//! The image store: an index, files as they were fetched, and trees that pods run on.
//!
//! ```text
//! cas/db/index.sqlite3                          the index (SQLite, WAL)
//! cas/blob/sha512/<2 hex>/<key>                 each image as it was given, whatever its compression, but decrypted
//! cas/imageManifest/sha512/<2 hex>/<key>        its manifest
//! cas/tree/<id>/{manifest,image,files,rootfs,rendered}  its files, read-only lower layers of overlays
//! cas/tree/<id>/{layer,files,rootfs,rendered}         layers of images that are made of them, shared ([`layers`])
//! cas/tmp/<random>                              work in progress, locked by whoever works on it
//! cas/partial/<hash>/{data,meta.json}           interrupted downloads ([`crate::http`])
//! cas/imagelocks/<hash>                         who imports what
//! cas/treestorelocks/<id>                       who renders what
//! ```
//!
//! What is here is whole: it was made under a temporary name, synced and renamed. What the index says and the disk lacks
//! is as if it had never been imported.

mod check;
mod collect;
mod dependencies;
mod give;
mod import;
mod index;
mod layers;
mod listing;
mod lock;
mod merge;
mod mount_points;
mod origin;
mod overlay;
mod record;
mod remote;
mod schema;
mod sealed;
mod tree;
mod unpack;
mod used;
mod verify;
mod workspace;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use appc::{
    aci::{AciError, ReadError},
    openpgp::OpenPgpError,
    schema::ImageManifest,
    types::ImageName,
};

pub(crate) use check::Checked;
pub(crate) use collect::Collected;
pub(crate) use give::{Beside, Given, Place as GivePlace};
pub(crate) use layers::Layered;
pub(crate) use mount_points::make as make_mount_points;
pub(crate) use origin::{Origin, Remote};
pub(crate) use overlay::overlay_supported;
pub(crate) use record::ImageRecord;
pub(crate) use remote::PullPolicy;
pub(crate) use sealed::Keys;
pub(crate) use tree::Tree;
pub(crate) use verify::{SignatureFrom, Signed, Verification, signature_beside};
pub(crate) use workspace::Workspace as Scratch;

use crate::{files::FileError, http::HttpError, trust::TrustError};
use index::Index;
use workspace::Workspace;

/// What can go wrong in the store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// A step on a file failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The index cannot be read or written.
    #[error("image index {0}: {1}")]
    Index(String, rusqlite::Error),
    /// The index is of a version that this rkt does not know.
    #[error("image index {path}: it has version {found}, this rkt knows {known}; use the rkt that made it")]
    Version {
        /// The index.
        path: String,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// A file is no image.
    #[error("image {path}: {source}")]
    Invalid {
        /// The file.
        path: String,
        /// Why.
        source: AciError,
    },
    /// Reading an image failed.
    #[error("image {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Unpacking an image failed.
    #[error("image {path}: {source}")]
    Unpack {
        /// The image.
        path: String,
        /// Why.
        source: FileError,
    },
    /// An encrypted image cannot be decrypted.
    #[error("image {path}: {source}")]
    Encrypted {
        /// The image.
        path: String,
        /// Why.
        source: OpenPgpError,
    },
    /// Nothing opens an encrypted image.
    #[error(
        "image {path}: it is encrypted, and there is no passphrase for it; give one with --passphrase-file=FILE, or \
         configure one for its name (rktKind imageKey)"
    )]
    Locked {
        /// The image.
        path: String,
    },
    /// Nothing verifies the image.
    #[error(
        "image {path}: its signature {signature} cannot be read: {source}; have the image signed, or use --insecure-options=image if you trust the file"
    )]
    Unsigned {
        /// The image.
        path: String,
        /// Where its signature should be.
        signature: String,
        /// Why it is not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What should verify the image does not.
    #[error("image {path}: {source}")]
    Untrusted {
        /// The image.
        path: String,
        /// Why.
        source: TrustError,
    },
    /// It cannot be downloaded.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It is another image than was asked for.
    #[error("image {path}: {reason}")]
    Other {
        /// The image.
        path: String,
        /// What is different.
        reason: String,
    },
    /// What was found cannot be told.
    #[error("write what was done: {0}")]
    Output(#[from] io::Error),
    /// The argument names no image.
    #[error("{0}")]
    Lookup(String),
}

pub(crate) type Result<T> = std::result::Result<T, StoreError>;

impl StoreError {
    /// Whether its text says which image it is about.
    pub(crate) fn names_image(&self) -> bool {
        use StoreError::{Encrypted, Invalid, Locked, Other, Read, Unpack, Unsigned, Untrusted};
        matches!(
            self,
            Encrypted { .. }
                | Invalid { .. }
                | Locked { .. }
                | Other { .. }
                | Read { .. }
                | Unpack { .. }
                | Unsigned { .. }
                | Untrusted { .. }
        )
    }

    /// Sorts out whose fault it is that an archive cannot be read.
    fn of_read(path: &Path, error: ReadError<FileError>) -> StoreError {
        let path = path.display().to_string();
        match error {
            ReadError::Invalid(source) => StoreError::Invalid { path, source },
            ReadError::Io(source) => StoreError::of_io(&path, source),
            ReadError::Visit(source) => StoreError::Unpack { path, source },
        }
    }

    /// What reading an image gave, which may be what decrypting it gave.
    fn of_io(path: &str, error: io::Error) -> StoreError {
        match OpenPgpError::of(&error) {
            Some(source) => StoreError::encrypted(path, source.clone()),
            None => StoreError::Read { path: path.to_owned(), source: error },
        }
    }

    fn encrypted(path: &str, source: OpenPgpError) -> StoreError {
        let path = path.to_owned();
        match source {
            OpenPgpError::NoPassphrase => StoreError::Locked { path },
            source => StoreError::Encrypted { path, source },
        }
    }
}

/// An open store.
#[derive(Debug)]
pub(crate) struct Store {
    data: PathBuf,
    base: PathBuf,
    index: Index,
}

impl Store {
    /// Opens the store below the data directory; it is made where it is missing.
    pub(crate) fn open(data: &Path) -> Result<Store> {
        let base = data.join(rkt_pod::layout::STORE);
        let index = Index::open(&base)?;
        Ok(Store { data: data.to_owned(), base, index })
    }

    /// The data directory that it is in.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// A directory for work, which vanishes with its owner.
    pub(crate) fn scratch(&self) -> Result<Workspace> {
        Workspace::new(&self.base)
    }

    /// The image that an argument means: an ID or the beginning of one, or a name with an optional version and labels.
    pub(crate) fn resolve(&self, argument: &str) -> Result<ImageRecord> {
        match argument.strip_prefix("sha512-") {
            Some(hex) if !hex.is_empty() && !hex.contains('-') => self.by_id(argument),
            _ => {
                let name: ImageName = argument
                    .parse()
                    .map_err(|error| StoreError::Lookup(format!("invalid image string: {error}")))?;
                self.by_name(&name)?.ok_or_else(|| {
                    StoreError::Lookup(format!(
                        "no image {argument:?} in the store; fetch it first, with rkt fetch"
                    ))
                })
            }
        }
    }

    /// The image whose ID starts with `id`.
    pub(crate) fn by_id(&self, id: &str) -> Result<ImageRecord> {
        let hex = id.strip_prefix("sha512-").unwrap_or(id);
        if hex.len() < 2 {
            return Err(StoreError::Lookup(format!("image ID too short: {id:?}")));
        }
        let mut found = self.index.by_id_prefix(id)?;
        found.retain(|image| self.is_whole(image));
        match found.len() {
            0 => Err(StoreError::Lookup(format!("no image IDs found that start with {id:?}"))),
            1 => Ok(found.remove(0)),
            _ => Err(StoreError::Lookup(format!("ambiguous image ID: {id:?}"))),
        }
    }

    /// The image of this name whose labels are those of the name: the latest first, then the most recently imported.
    pub(crate) fn by_name(&self, name: &ImageName) -> Result<Option<ImageRecord>> {
        let mut found = self.index.by_name(name.name.as_str())?;
        found.sort_by_key(|image| std::cmp::Reverse((image.latest, image.import_time)));
        for image in found {
            let manifest = self.manifest(&image);
            // Somebody may remove it just now.
            if self.is_whole(&image) && manifest?.labels.contains(&name.labels) {
                return Ok(Some(image));
            }
        }
        Ok(None)
    }

    /// What came of work on an image that was in the store. Where it has been removed meanwhile, that is why it failed.
    fn unless_removed<T>(&self, image: &ImageRecord, result: Result<T>) -> Result<T> {
        match result {
            // Who removes it begins with the index.
            Err(_) if matches!(self.index.by_id(image.id.as_str()), Ok(None)) => {
                let name = image.display_name();
                Err(StoreError::Lookup(format!("no image {name} in the store: it was removed just now")))
            }
            other => other,
        }
    }

    /// Whether the disk has what the index says.
    fn is_whole(&self, image: &ImageRecord) -> bool {
        self.manifest_path(&image.key()).exists()
            && (self.blob_path(&image.key()).exists() || self.has_layers(image))
    }

    /// Whether it is made of layers, which are all there.
    fn has_layers(&self, image: &ImageRecord) -> bool {
        let layers = self.index.layers(image.id.as_str()).unwrap_or_default();
        !layers.is_empty() && layers.iter().all(|layer| self.is_rendered_tree(layer))
    }

    /// The image's manifest as it stands in the image.
    pub(crate) fn manifest_bytes(&self, image: &ImageRecord) -> Result<Vec<u8>> {
        use crate::files::Step;
        let path = self.manifest_path(&image.key());
        self.unless_removed(image, fs::read(&path).step("read", &path).map_err(Into::into))
    }

    /// The image's manifest.
    pub(crate) fn manifest(&self, image: &ImageRecord) -> Result<ImageManifest> {
        let path = self.manifest_path(&image.key());
        ImageManifest::from_slice(&self.manifest_bytes(image)?)
            .map_err(|error| StoreError::Invalid { path: path.display().to_string(), source: error.into() })
    }

    /// All images, in the order of their import.
    pub(crate) fn list(&self) -> Result<Vec<ImageRecord>> {
        let mut all = self.index.all()?;
        all.retain(|image| self.is_whole(image));
        Ok(all)
    }

    fn blob_path(&self, key: &str) -> PathBuf {
        self.keyed("blob", key)
    }

    fn manifest_path(&self, key: &str) -> PathBuf {
        self.keyed("imageManifest", key)
    }

    fn keyed(&self, kind: &str, key: &str) -> PathBuf {
        let shard = key.get(7..9).unwrap_or("00");
        self.base.join(kind).join("sha512").join(shard).join(key)
    }
}
