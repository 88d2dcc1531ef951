//! What a pod has in our table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::{rule::Ip, table::names};
use crate::ports::Protocol;

/// One element of one set or map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub(crate) enum Entry {
    /// Ports are forwarded to this address.
    Target {
        /// The pod's address.
        address: IpAddr,
    },
    /// A port is forwarded.
    #[serde(rename_all = "camelCase")]
    Port {
        /// TCP or UDP.
        protocol: Protocol,
        /// The address of this machine; all of the target's kind where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host_ip: Option<IpAddr>,
        /// The port of this machine.
        host_port: u16,
        /// The pod's address.
        address: IpAddr,
        /// The pod's port.
        port: u16,
    },
}

/// An element as the kernel takes it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) set: &'static str,
    pub(super) key: Vec<u8>,
    pub(super) data: Option<Vec<u8>>,
}

impl Entry {
    pub(super) fn element(&self) -> Element {
        match self {
            Entry::Target { address } => one(names(kind(*address)).targets, octets(*address)),
            Entry::Port { protocol, host_ip, host_port, address, port } => {
                let names = names(kind(*address));
                let mut key = host_ip.map(octets).unwrap_or_default();
                key.extend([protocol.number(), 0, 0, 0]);
                push_port(&mut key, *host_port);
                let mut data = octets(*address);
                push_port(&mut data, *port);
                let set = if host_ip.is_some() { names.ports_at } else { names.ports };
                Element { set, key, data: Some(data) }
            }
        }
    }

    /// The pod's address.
    pub(crate) fn address(&self) -> IpAddr {
        match self {
            Entry::Target { address } | Entry::Port { address, .. } => *address,
        }
    }

    /// What it is, for people.
    pub(crate) fn shown(&self) -> String {
        match self {
            Entry::Target { address } => address.to_string(),
            Entry::Port { protocol, host_ip, host_port, .. } => match host_ip {
                Some(ip) => format!("{} of {ip}", protocol.port(*host_port)),
                None => protocol.port(*host_port),
            },
        }
    }

    /// Reads what the kernel has.
    pub(super) fn read(set: &str, key: &[u8], data: Option<&[u8]>) -> Option<Entry> {
        let ip = Ip::ALL.into_iter().find(|ip| {
            let names = names(*ip);
            [names.targets, names.ports, names.ports_at].contains(&set)
        })?;
        let names = names(ip);
        if set == names.targets {
            return Some(Entry::Target { address: address(key)? });
        }
        let length = usize::try_from(ip.length()).ok()?;
        let (host_ip, key) = if set == names.ports_at {
            (Some(address(key.get(..length)?)?), key.get(length..)?)
        } else {
            (None, key)
        };
        let data = data?;
        let number = |bytes: Option<&[u8]>| Some(u16::from_be_bytes(bytes?.try_into().ok()?));
        Some(Entry::Port {
            protocol: Protocol::from_number(*key.first()?)?,
            host_ip,
            host_port: number(key.get(4..6))?,
            address: address(data.get(..length)?)?,
            port: number(data.get(length..length + 2))?,
        })
    }
}

fn one(set: &'static str, key: Vec<u8>) -> Element {
    Element { set, key, data: None }
}

fn kind(address: IpAddr) -> Ip {
    if address.is_ipv4() { Ip::V4 } else { Ip::V6 }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into()),
        _ => None,
    }
}

fn push_port(key: &mut Vec<u8>, port: u16) {
    key.extend(port.to_be_bytes());
    key.extend([0, 0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let (v4, v6): (IpAddr, IpAddr) = ("172.16.28.2".parse().unwrap(), "fd00::2".parse().unwrap());
        let port = |host_ip: Option<IpAddr>, address| Entry::Port {
            protocol: Protocol::Udp,
            host_ip,
            host_port: 8053,
            address,
            port: 53,
        };
        for entry in [
            Entry::Target { address: v4 },
            Entry::Target { address: v6 },
            port(None, v4),
            port(None, v6),
            port(Some("127.0.0.1".parse().unwrap()), v4),
            port(Some("::1".parse().unwrap()), v6),
        ] {
            let element = entry.element();
            let read = Entry::read(element.set, &element.key, element.data.as_deref());
            assert_eq!(read.as_ref(), Some(&entry));
            assert_eq!(Entry::read(element.set, &element.key[..1], Some(&[])), None);
        }
    }
}
