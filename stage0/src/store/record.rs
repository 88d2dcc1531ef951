//! What the index knows of an image.

use appc::types::ImageId;

/// One image of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageRecord {
    /// The whole ID.
    pub(crate) id: ImageId,
    /// The name in its manifest.
    pub(crate) name: String,
    /// The label `version`, where it has one.
    pub(crate) version: Option<String>,
    /// When it was imported: nanoseconds since the epoch.
    pub(crate) import_time: i64,
    /// When it was last used: nanoseconds since the epoch, exact to an hour.
    pub(crate) last_used: i64,
    /// Whether it was found as the latest of its name.
    pub(crate) latest: bool,
    /// Bytes of the uncompressed image.
    pub(crate) size: i64,
    /// Bytes of its rendered tree; 0 where there is none.
    pub(crate) tree_size: i64,
}

impl ImageRecord {
    /// What files of the store are named by: the first half of the ID.
    pub(crate) fn key(&self) -> String {
        self.id.key().to_owned()
    }

    /// The name with its version, as lists show it.
    pub(crate) fn display_name(&self) -> String {
        match &self.version {
            Some(version) => format!("{}:{version}", self.name),
            None => self.name.clone(),
        }
    }
}
