//! Image and pod manifests.

mod app;
mod common;
mod image;
mod pod;
mod volume;

pub use app::{App, EnvironmentVariable, EventHandler, HandlerName, MountPoint, Port};
pub use image::{Dependency, ImageManifest};
pub use pod::{ExposedPort, Mount, PodManifest, RuntimeApp, RuntimeImage};
pub use volume::{Volume, VolumeKind};

use crate::json::{Node, SchemaError, document};

/// The two kinds of manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `ImageManifest`
    Image,
    /// `PodManifest`
    Pod,
}

impl Kind {
    /// The word in `acKind`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Image => "ImageManifest",
            Kind::Pod => "PodManifest",
        }
    }
}

/// Which kind of manifest a document says it is.
///
/// # Errors
/// Where it is no JSON object with a known `acKind`.
pub fn kind_of(bytes: &[u8]) -> Result<Kind, SchemaError> {
    let value = document(bytes)?;
    Node::root(&value).member("acKind", |kind| match kind.required()? {
        "ImageManifest" => Ok(Kind::Image),
        "PodManifest" => Ok(Kind::Pod),
        other => Err(kind.error(format_args!("bad ACKind: {other:?}"))),
    })
}
