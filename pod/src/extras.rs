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
