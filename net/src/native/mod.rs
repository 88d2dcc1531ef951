//! Networks that rkt makes itself: for each pod a pair of interfaces between it and the host, which forwards.

mod address;
mod wish;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) use address::{Addresses, choose};

use crate::{
    INTERFACE_PREFIX,
    config::Native,
    error::{Error, Result},
    link::{self, Address, Link, Route, Veth},
    netlink::{Batch, Socket},
};

/// What we take for the largest packet where nothing leads out.
const USUAL_MTU: u32 = 1500;
/// An address to ask the way to: nobody's (RFC 5737).
const SOMEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A pod's part of one network, before it is made.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The interface on the host.
    pub(crate) host_interface: String,
    /// The interface in the pod.
    pub(crate) interface: String,
    /// The largest packet.
    pub(crate) mtu: u32,
    /// The addresses.
    pub(crate) addresses: Addresses,
    /// The network.
    pub(crate) native: Native,
    /// What holds the interface's bandwidth, where that is limited.
    pub(crate) limit: Option<Limit>,
}

/// A limit of what goes through a pod's interface, in each direction.
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    /// Bytes a second.
    pub(crate) rate: u64,
    /// The interface on the host that what comes from the pod waits in.
    pub(crate) interface: String,
}

/// What interfaces of pods begin with whose packets leave as if they came from this machine.
pub(crate) const HIDDEN_PREFIX: &str = "rkt-m";
/// What interfaces of pods begin with that get nowhere but to this machine and to each other.
pub(crate) const CLOSED_PREFIX: &str = "rkt-c";
/// What those of others begin with.
const OPEN_PREFIX: &str = "rkt-o";
/// What those begin with that what comes from a pod waits in.
const LIMIT_PREFIX: &str = "rkt-l";

/// The name of the interface on the host for a pod's network number `number`. The rules of the packet filter go by what it
/// begins with.
pub(crate) fn host_interface(uuid: &str, native: &Native, number: usize) -> String {
    let prefix = match native {
        Native { restricted: true, .. } => CLOSED_PREFIX,
        Native { masquerade: true, .. } => HIDDEN_PREFIX,
        Native { .. } => OPEN_PREFIX,
    };
    format!("{prefix}{}", ending(uuid, number))
}

/// A limit for a pod's network number `number`.
pub(crate) fn limit(uuid: &str, number: usize, rate: u64) -> Limit {
    Limit { rate, interface: format!("{LIMIT_PREFIX}{}", ending(uuid, number)) }
}

fn ending(uuid: &str, number: usize) -> String {
    let last = u32::try_from(number).ok().and_then(|number| char::from_digit(number, 36)).unwrap_or('z');
    format!("{}-{last}", short(uuid))
}

/// Whether an interface on the host is one of this pod.
pub(crate) fn is_of(interface: &str, uuid: &str) -> bool {
    let rest = interface.strip_prefix(INTERFACE_PREFIX).and_then(|rest| rest.get(1..));
    rest.is_some_and(|rest| rest.starts_with(short(uuid)))
}

fn short(uuid: &str) -> &str {
    uuid.get(..8).unwrap_or(uuid)
}

/// The largest packet of a network: what its configuration says, else what this machine's way out takes.
pub(crate) fn mtu(socket: &mut Socket, native: &Native) -> Result<u32> {
    if let Some(mtu) = native.mtu {
        return Ok(mtu);
    }
    let out = match link::way_to(socket, SOMEWHERE.into())? {
        Some(way) => link::by_index(socket, way.index)?,
        None => None,
    };
    Ok(out.map(|link| link.mtu).filter(|mtu| (1280..=65535).contains(mtu)).unwrap_or(USUAL_MTU))
}

impl Plan {
    /// The pod's addresses.
    pub(crate) fn all(&self) -> Vec<IpAddr> {
        let v6 = self.addresses.v6.map(IpAddr::V6);
        std::iter::once(IpAddr::V4(self.addresses.v4)).chain(v6).collect()
    }

    /// Makes the pair of interfaces.
    pub(crate) fn make_link(&self, host: &mut Socket, pid: u32) -> Result<()> {
        let mut batch = Batch::default();
        let veth = Veth { host: &self.host_interface, pod: &self.interface, pid: Some(pid), mtu: self.mtu };
        link::veth(&mut batch, veth);
        host.execute(&batch)
    }

    /// Limits what goes through the interface. All of it is done on the host's side, where the pod cannot undo it: what goes
    /// to the pod waits before the host's end. What comes from it has already passed that when the host sees it, so that
    /// it is led through one more interface to wait there.
    pub(crate) fn limit(&self, host: &mut Socket) -> Result<()> {
        let Some(limit) = &self.limit else { return Ok(()) };
        let rate = link::Rate { rate: limit.rate, mtu: self.mtu };
        let mut batch = Batch::default();
        link::ifb(&mut batch, &limit.interface, self.mtu);
        host.execute(&batch)?;
        let (end, waiting) = (find(host, &self.host_interface)?, find(host, &limit.interface)?);
        let mut batch = Batch::default();
        link::leaving(&mut batch, end.index, &end.name, rate);
        link::leaving(&mut batch, waiting.index, &waiting.name, rate);
        link::lead_arriving(&mut batch, end.index, &end.name, waiting.index);
        host.execute(&batch)
    }

    /// Gives the host its side of the addresses and routes.
    pub(crate) fn address_host(&self, host: &mut Socket) -> Result<()> {
        let made = find(host, &self.host_interface)?;
        let mut batch = Batch::default();
        for (pod, gateway, _) in self.families() {
            let bits = if pod.is_ipv4() { 32 } else { 128 };
            link::address(&mut batch, made.index, Address { address: gateway, prefix: bits });
            let route = Route { to: pod, prefix: bits, index: made.index, gateway: None, source: None };
            link::route(&mut batch, route);
        }
        host.execute(&batch)
    }

    /// Gives the pod its addresses and routes. `way_out`: whether it gets a default route.
    pub(crate) fn address_pod(&self, pod: &mut Socket, way_out: bool) -> Result<()> {
        let mut batch = Batch::default();
        let index = find(pod, &self.interface)?.index;
        link::up(&mut batch, index, &self.interface);
        for (address, gateway, (base, prefix)) in self.families() {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            link::address(&mut batch, index, Address { address, prefix });
            let source = Some(address);
            let route = |to, prefix, gateway| Route { to, prefix, index, gateway, source };
            link::route(&mut batch, route(gateway, bits, None));
            link::route(&mut batch, route(base, prefix, Some(gateway)));
            if way_out {
                let anywhere: IpAddr = if address.is_ipv4() {
                    Ipv4Addr::UNSPECIFIED.into()
                } else {
                    Ipv6Addr::UNSPECIFIED.into()
                };
                link::route(&mut batch, route(anywhere, 0, Some(gateway)));
            }
        }
        pod.execute(&batch)
    }

    /// For each kind of address: the pod's, the host's, and the network with the length of its prefix.
    fn families(&self) -> impl Iterator<Item = (IpAddr, IpAddr, (IpAddr, u8))> {
        let subnet = self.native.subnet4;
        let v4 = (
            IpAddr::from(self.addresses.v4),
            IpAddr::from(subnet.gateway()),
            (IpAddr::from(subnet.base()), subnet.prefix()),
        );
        let v6 = self.addresses.v6.zip(self.native.subnet6).map(|(address, subnet)| {
            let prefix = crate::lease::Subnet6::PREFIX;
            (IpAddr::from(address), IpAddr::from(subnet.gateway()), (IpAddr::from(subnet.base()), prefix))
        });
        std::iter::once(v4).chain(v6)
    }
}

fn find(socket: &mut Socket, name: &str) -> Result<Link> {
    let found = link::by_name(socket, name)?;
    found.ok_or_else(|| Error::Refused(format!("interface {name} vanished: who removed it?")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_interfaces_fit() {
        let uuid = "0a1b2c3d-4e5f-4000-8000-00000000000f";
        let native = |masquerade, restricted| Native {
            subnet4: "10.0.0.0/24".parse().unwrap(),
            subnet6: None,
            masquerade,
            restricted,
            mtu: None,
        };
        for (native, want) in [
            (native(true, false), "rkt-m0a1b2c3d-0"),
            (native(false, true), "rkt-c0a1b2c3d-0"),
            (native(false, false), "rkt-o0a1b2c3d-0"),
        ] {
            let name = host_interface(uuid, &native, 0);
            assert_eq!(name, want);
            assert!(is_of(&name, uuid) && !is_of(&name, "0a1b2c3e-4e5f-4000-8000-00000000000f"));
            assert!((0..36).all(|number| host_interface(uuid, &native, number).len() <= 15));
        }
    }
}
