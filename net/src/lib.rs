//! Networks of pods.
//!
//! A network is a configuration ([`config`]). Those of type `rkt`, the built-in `default` and `default-restricted` among
//! them, are made by this crate over netlink, without any process being started; all others by CNI plugins. What a
//! pod got is noted in its directory before it is made ([`record`]), so that [`collect`] undoes it whenever the pod came to
//! its end. stage0 chooses networks, checks what can be checked before there is a pod, and shows what pods have; stage1
//! attaches and detaches.

mod attach;
pub mod config;
mod detach;
pub mod error;
mod failpoint;
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

pub use attach::{Attached, Place, attach};
pub use config::{Loaded, Network, Selection, load};
pub use detach::collect;
pub use error::{Error, Result};
pub use ports::{Forward, Protocol, reserve};
pub use record::NetInfo;

/// What the names of our interfaces on the host begin with.
const INTERFACE_PREFIX: &str = "rkt-";

/// Checks that this machine can give a pod these networks and ports, and changes nothing.
///
/// # Errors
/// Where the kernel has no nftables, or a port is taken.
pub fn check(networks: &[Network], forwards: &[Forward]) -> Result<()> {
    let native = networks.iter().any(|network| matches!(network.kind, config::Kind::Native(_)));
    if native || !forwards.is_empty() {
        nft::available(&mut netlink::Socket::open(netlink::Family::Netfilter)?)?;
    }
    reserve(forwards).map(drop)
}
