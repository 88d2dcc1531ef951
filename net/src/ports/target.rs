//! Which network ports are forwarded into, and whether they can be.

use std::net::IpAddr;

use super::Forward;
use crate::{
    config::{Kind, Network},
    error::{Result, refused},
};

/// The network that ports are forwarded into: the first that hides its pods, else the last.
pub(crate) fn target<'a>(
    mut networks: impl DoubleEndedIterator<Item = &'a Network> + Clone,
) -> Option<&'a Network> {
    networks.clone().find(|network| network.masquerades()).or_else(|| networks.next_back())
}

/// Refuses what is known not to work before there is a pod.
pub(crate) fn check(network: &Network, forwards: &[Forward]) -> Result<()> {
    match &network.kind {
        Kind::Native(native) => reaches(network, forwards, |host| {
            host.is_ipv4() || (native.subnet6.is_some() && crate::host::has_ipv6())
        }),
        Kind::Cni(_) if network.forwards_ports() => {
            let loopback =
                |forward: &&Forward| forward.host_ip.is_some_and(|host| host.is_ipv6() && host.is_loopback());
            match forwards.iter().find(loopback) {
                Some(forward) => refused(format!(
                    "{} of ::1: the plugin of network {:?} that forwards ports does not do it from there",
                    forward.protocol.port(forward.host_port),
                    network.name
                )),
                None => Ok(()),
            }
        }
        Kind::Cni(_) => Ok(()),
    }
}

/// Refuses forwards that lead nowhere, where the pod has got these addresses.
pub(crate) fn check_addresses(network: &Network, forwards: &[Forward], addresses: &[IpAddr]) -> Result<()> {
    reaches(network, forwards, |host| addresses.iter().any(|pod| pod.is_ipv4() == host.is_ipv4()))
}

fn reaches(network: &Network, forwards: &[Forward], has: impl Fn(IpAddr) -> bool) -> Result<()> {
    for forward in forwards {
        if let Some(host) = forward.host_ip
            && !has(host)
        {
            return refused(format!(
                "{} of {host}: network {:?} gives the pod no {} address",
                forward.protocol.port(forward.host_port),
                network.name,
                if host.is_ipv4() { "IPv4" } else { "IPv6" }
            ));
        }
    }
    Ok(())
}
