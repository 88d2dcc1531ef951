//! Ports of the host that are forwarded to a pod.

mod option;
mod reserve;
mod resolve;
mod target;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use option::PortOption;
pub use reserve::{Reservation, reserve};
pub use resolve::{expose, resolve};
pub(crate) use target::{check, check_addresses, target};

use crate::nft::Entry;

/// What a port is a port of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The protocol of this name.
    pub fn from_name(name: &str) -> Option<Protocol> {
        [Protocol::Tcp, Protocol::Udp].into_iter().find(|protocol| protocol.name() == name)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }

    pub(crate) const fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Protocol> {
        [Protocol::Tcp, Protocol::Udp].into_iter().find(|protocol| protocol.number() == number)
    }

    /// A port, for people.
    pub(crate) fn port(self, port: u16) -> String {
        format!("port {port}/{}", self.name())
    }
}

/// One port that is forwarded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The address of the host; all of them where absent.
    pub host_ip: Option<IpAddr>,
    /// The port of the host.
    pub host_port: u16,
    /// The port of the pod.
    pub pod_port: u16,
}

impl Forward {
    /// Whether programs of the host reach it by a loopback address, where the pod's address is this.
    pub(crate) fn is_by_loopback(&self, pod: IpAddr) -> bool {
        match self.host_ip {
            None => true,
            Some(host) => host.is_ipv4() == pod.is_ipv4() && (host.is_unspecified() || host.is_loopback()),
        }
    }
}

/// What forwards have in the packet filter, for a pod with these addresses. Each goes to the address of its own kind.
pub(crate) fn entries(forwards: &[Forward], addresses: &[IpAddr]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for &address in addresses {
        let ours = forwards
            .iter()
            .filter(|forward| forward.host_ip.is_none_or(|host| host.is_ipv4() == address.is_ipv4()));
        let before = entries.len();
        entries.extend(ours.map(|forward| Entry::Port {
            protocol: forward.protocol,
            host_ip: forward.host_ip.filter(|ip| !ip.is_unspecified()),
            host_port: forward.host_port,
            address,
            port: forward.pod_port,
        }));
        if entries.len() > before {
            entries.push(Entry::Target { address });
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forward_goes_to_the_address_of_its_kind() {
        let forward = |host_ip: Option<&str>| Forward {
            protocol: Protocol::Tcp,
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            host_port: 8080,
            pod_port: 80,
        };
        let pod: [IpAddr; 2] = ["172.16.28.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        let count = |host_ip| {
            let entries = entries(&[forward(host_ip)], &pod);
            let to = |v4| {
                let ports = entries
                    .iter()
                    .filter(|entry| matches!(entry, Entry::Port { address, .. } if address.is_ipv4() == v4));
                ports.count()
            };
            (to(true), to(false), entries.len())
        };
        assert_eq!(count(None), (1, 1, 4), "and each address is a target");
        assert_eq!(count(Some("127.0.0.1")), (1, 0, 2));
        assert_eq!(count(Some("::1")), (0, 1, 2));
        assert!(entries(&[], &pod).is_empty());
    }
}
