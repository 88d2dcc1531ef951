//! What an app is given besides what a pod manifest can say: it stands in an annotation of the app, as JSON.

use serde::{Deserialize, Serialize};

/// The annotation's name.
pub const ANNOTATION: &str = "coreos.com/rkt/stage1/extras";

/// The annotation's value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Extras {
    /// File systems in memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<Tmpfs>,
    /// Devices of the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// Targets of volumes in which nothing appears that is mounted on the host later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub private: Vec<String>,
    /// Volumes that show other owners than they would.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<VolumeOwners>,
}

/// Whose the files of a volume are where it is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeOwners {
    /// Absolute path in the app's root.
    pub target: String,
    /// Whose.
    pub owners: Owners,
}

/// Whose the files of a mount are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Owners {
    /// Those of the host's users as they are, also where the pod has users of its own.
    Host,
    /// The pod's root makes files, and has them, as this user and group of the host.
    #[serde(rename_all = "camelCase")]
    Root {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
}

/// A file system in memory, of one app alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tmpfs {
    /// Absolute path in the app's root.
    pub target: String,
    /// Bytes; half of the machine's memory where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Permission bits.
    pub mode: u32,
}

/// A device of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    /// Absolute path on the host.
    pub source: String,
    /// Absolute path in the app's root.
    pub target: String,
    /// `r`, `w`, `m`: read, write, make.
    pub access: String,
}

impl Extras {
    /// Whether there is anything.
    pub fn is_empty(&self) -> bool {
        *self == Extras::default()
    }
}
