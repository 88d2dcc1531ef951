//! What is noted in the pod's directory: how its networks look to users, and what has to be undone.

use std::{fs, io::ErrorKind, net::IpAddr, os::fd::OwnedFd, path::Path};

use rkt_pod::directory::write_atomically;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::{Error, Result, failed},
    nft::Entry,
};

/// The networks of a pod, for users ([`NetInfo`]).
pub const NET_INFO: &str = "net-info.json";
/// What has to be undone ([`State`]). Gone when it is.
pub(crate) const STATE: &str = "network-state";
/// The configurations of the pod's networks, as they were when it was started.
pub const NET: &str = "net";

/// One network of a pod. The first seven are rkt 1.30's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetInfo {
    /// The network's name.
    pub net_name: String,
    /// The copy of its configuration.
    pub net_conf: String,
    /// The plugin; empty where rkt itself makes the network.
    pub plugin_path: String,
    /// The interface in the pod.
    pub if_name: String,
    /// The pod's IPv4 address.
    pub ip: String,
    /// What the plugin was told.
    pub args: String,
    /// The mask of the IPv4 address.
    pub mask: String,
    /// The pod's IPv6 addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip6: Vec<String>,
    /// The next one on the pod's way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The interface on the host that the pod's leads to, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_if_name: Option<String>,
}

impl NetInfo {
    /// The networks in the content of a pod's [`NET_INFO`].
    pub fn read(text: &[u8]) -> Vec<NetInfo> {
        serde_json::from_slice::<Option<Vec<NetInfo>>>(text).ok().flatten().unwrap_or_default()
    }
}

/// What has to be undone when the pod has ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct State {
    /// Interfaces on the host.
    #[serde(default)]
    pub(crate) interfaces: Vec<String>,
    /// Interfaces on the host that are the other end of nothing, and do not go with the pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) limits: Vec<String>,
    /// What it has in the packet filter.
    #[serde(default)]
    pub(crate) entries: Vec<Entry>,
    /// Networks of CNI plugins, in the order in which they were added.
    #[serde(default)]
    pub(crate) cni: Vec<CniState>,
}

/// A network that CNI plugins were asked to add the pod to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CniState {
    /// Its name, by which its configuration is found in [`NET`].
    pub(crate) network: String,
    /// The interface in the pod.
    pub(crate) interface: String,
    /// What the plugins were told.
    pub(crate) args: String,
    /// What was put into their configuration.
    pub(crate) runtime: Value,
    /// The path of the namespace, by which they know it while the pod runs.
    pub(crate) namespace: String,
    /// Where plugins are looked for.
    pub(crate) plugin_dirs: Vec<String>,
    /// What the last of them said, once all have done their work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<Value>,
}

impl State {
    /// What a pod still has; `None` where nothing is noted.
    pub(crate) fn of_pod(pod: &Path) -> Result<Option<State>> {
        let path = pod.join(STATE);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed("read", path.display()))?,
        };
        let read = serde_json::from_slice(&text);
        read.map(Some).map_err(|error| Error::Refused(format!("{}: {error}", path.display())))
    }

    pub(crate) fn write(&self, pod: &Path) -> Result<()> {
        write(pod, STATE, self)
    }

    /// Notes that nothing is left.
    pub(crate) fn clear(pod: &Path) -> Result<()> {
        let path = pod.join(STATE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", path.display())(error)),
            _ => Ok(()),
        }
    }
}

/// Writes a file of the pod's directory as JSON.
pub(crate) fn write(pod: &Path, name: &str, content: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(content).map_err(|error| Error::Refused(format!("{name}: {error}")))?;
    let directory = open(pod)?;
    write_atomically(&directory, Path::new(name), &text, 0o640)
        .map_err(failed("write", pod.join(name).display()))
}

fn open(pod: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(pod, flags, Mode::empty()).map_err(failed("open", pod.display()))
}
