//! Networks of pods.
//!
//! A network is a configuration ([`config`]). Those of type `rkt`, the built-in `default` and `default-restricted` among
//! them, are made by this crate over netlink, without any process being started; all others by CNI plugins. What a
//! pod got is noted in its directory before it is made ([`record`]), so that [`collect`] undoes it whenever the pod came to
//! its end. stage0 chooses networks, checks what can be checked before there is a pod, and shows what pods have; stage1
//! attaches and detaches.

mod attach;
pub mod cni;
pub mod config;
mod detach;
pub mod error;
mod host;
mod lease;
mod link;
pub mod names;
mod native;
mod netlink;
mod nft;
pub mod overview;
pub mod ports;
pub mod record;

pub use attach::{Attached, Place, Request, attach};
pub use cni::Directories;
pub use config::{Loaded, Network, Selection, load};
pub use detach::collect;
pub use error::{Error, Result};
pub use lease::{Subnet4, Subnet6};
pub use ports::{Forward, Protocol, reserve};
pub use record::{NET_INFO, NetInfo};

use config::Kind;

/// What the names of our interfaces on the host begin with.
const INTERFACE_PREFIX: &str = "rkt-";

/// Checks that this machine can give a pod these networks and ports, and changes nothing.
///
/// # Errors
/// Where the kernel has no nftables, a plugin is missing, or a port is taken or cannot be forwarded.
pub fn check(networks: &[Network], forwards: &[Forward], directories: &Directories) -> Result<()> {
    let mut native = false;
    for network in networks {
        match &network.kind {
            Kind::Native(_) => native = true,
            Kind::Cni(cni) => {
                let programs =
                    cni.plugins.iter().flat_map(|plugin| [&plugin["type"], &plugin["ipam"]["type"]]);
                for program in programs.filter_map(|name| name.as_str()) {
                    cni::find(directories, program).map_err(|error| error.of(&network.name))?;
                }
            }
        }
    }
    if let Some(target) = ports::target(networks.iter()) {
        ports::check(target, forwards)?;
    }
    if native || !forwards.is_empty() {
        nft::available(&mut netlink::Socket::open(netlink::Family::Netfilter)?)?;
    }
    reserve(forwards).map(drop)
}
