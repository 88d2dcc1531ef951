//! App Container Images: archives of `manifest` and `rootfs`, read and written as streams; and the layers of other kinds of
//! images, read the same way.

mod check;
mod compression;
mod entry;
mod header;
mod layer;
mod layout;
mod manifest;
mod members;
mod read;
mod source;
mod write;

pub use compression::{Compression, FileKind, HEAD, decompress_tar, sniff};
pub use entry::{Entry, EntryKind};
pub use layer::{Change, Layer, read_layer};
pub use layout::{Layout, LayoutError, walk_root};
pub use manifest::read_manifest;
pub use read::{Archive, Limits, ReadError, read};
pub use write::{ArchiveWriter, WriteError};

/// Why an archive, or an entry of it, is not what an image may contain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AciError {
    /// The file is none of the kinds that an image can be.
    #[error("not an image: {0}")]
    NotAnImage(String),
    /// An entry breaks a rule.
    #[error("entry {name:?}: {rule}")]
    Entry {
        /// The entry's name, as it stands in the archive.
        name: String,
        /// The rule that it breaks.
        rule: String,
    },
    /// The archive as a whole breaks a rule.
    #[error("{0}")]
    Archive(String),
    /// The manifest in the archive is none.
    #[error("its manifest: {0}")]
    Manifest(#[from] crate::SchemaError),
}
