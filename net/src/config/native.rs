//! Networks that rkt makes itself: a configuration of type `rkt`.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::lease::{Subnet4, Subnet6};

/// The type in a configuration.
pub(super) const TYPE: &str = "rkt";

/// A network of veth pairs, one a pod, between which this machine forwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Native {
    /// Its IPv4 addresses.
    pub subnet4: Subnet4,
    /// Its IPv6 addresses.
    pub subnet6: Option<Subnet6>,
    /// Whether what leaves it looks as if it came from this machine.
    pub masquerade: bool,
    /// Whether pods get nowhere but to this machine and to each other.
    pub restricted: bool,
    /// The largest packet; that of this machine's way out where absent.
    pub mtu: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "type")]
    _type: String,
    #[serde(rename = "cniVersion")]
    _version: Option<String>,
    #[serde(default)]
    ip_masq: bool,
    #[serde(default)]
    restricted: bool,
    mtu: Option<u32>,
    ipam: Ipam,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Ipam {
    #[serde(rename = "type")]
    _type: Option<String>,
    subnet: String,
    subnet6: Option<String>,
}

impl Native {
    pub(super) fn read(config: &Value) -> Result<Native, String> {
        let file: File = serde_json::from_value(config.clone()).map_err(|error| error.to_string())?;
        if file.mtu.is_some_and(|mtu| !(1280..=65535).contains(&mtu)) {
            return Err("mtu must be from 1280 to 65535".to_owned());
        }
        if file.restricted && file.ip_masq {
            return Err("restricted and ipMasq do not go together: nothing leaves the network".to_owned());
        }
        Ok(Native {
            subnet4: file.ipam.subnet.parse()?,
            subnet6: file.ipam.subnet6.map(|subnet| subnet.parse()).transpose()?,
            masquerade: file.ip_masq,
            restricted: file.restricted,
            mtu: file.mtu,
        })
    }
}

/// The built-in networks and the names of the files that they would be in.
pub(super) fn built_in() -> [(&'static str, Value); 2] {
    [
        (
            "99-default.conf",
            json!({"name": "default", "type": TYPE, "ipMasq": true,
                "ipam": {"subnet": "172.16.28.0/24", "subnet6": "fd72:6b74:1::/64"}}),
        ),
        (
            "99-default-restricted.conf",
            json!({"name": "default-restricted", "type": TYPE, "restricted": true,
                "ipam": {"subnet": "172.31.0.0/16", "subnet6": "fd72:6b74:2::/64"}}),
        ),
    ]
}
