//! The table: its sets, maps, chains and rules.

use std::net::Ipv6Addr;

use netlink_bindings::nftables::{self, MetaKeys, PayloadBase, SetFlags};

use super::{
    TABLE, header,
    rule::{FIRST, Ip, Rule},
};
use crate::{INTERFACE_PREFIX, native, netlink::Batch};

// Types of keys, by nft's numbers: with them `nft list table inet rkt` shows what it means.
const IPV4: u32 = 7;
const IPV6: u32 = 8;
const PROTOCOL: u32 = 12;
const PORT: u32 = 13;
/// nft joins types by putting one behind the other.
const TYPE_BITS: u32 = 6;

/// The sets and maps of one kind of address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    /// Addresses of pods that ports are forwarded to.
    pub(super) targets: &'static str,
    /// Ports of all addresses of this machine.
    pub(super) ports: &'static str,
    /// Ports of one address of it.
    pub(super) ports_at: &'static str,
}

pub(super) const fn names(ip: Ip) -> Names {
    match ip {
        Ip::V4 => Names { targets: "targets4", ports: "ports4", ports_at: "ports-at4" },
        Ip::V6 => Names { targets: "targets6", ports: "ports6", ports_at: "ports-at6" },
    }
}

/// What the first request of [`make`] does.
pub(super) const MAKE: &str = "make nftables table";

/// Makes the table. It must not be there.
pub(super) fn make(batch: &mut Batch) {
    let mut request = nftables::Request::new().set_create().set_excl().op_newtable_do(&header());
    request.encode().push_name_bytes(TABLE);
    batch.add(MAKE, "inet rkt", &request);
    sets(batch);
    for (name, kind, hook) in [
        ("guard", "filter", Some((PREROUTING, -150))),
        ("forward", "filter", Some((FORWARD, 0))),
        ("ports", "", None),
        ("prerouting", "nat", Some((PREROUTING, -100))),
        ("output", "nat", Some((OUTPUT, -100))),
        ("postrouting", "nat", Some((POSTROUTING, 100))),
    ] {
        chain(batch, name, kind, hook);
    }
    guard(batch);
    forward(batch);
    ports(batch);
    postrouting(batch);
}

const PREROUTING: u32 = 0;
const FORWARD: u32 = 2;
const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;

fn chain(batch: &mut Batch, name: &str, kind: &str, hook: Option<(u32, i32)>) {
    let mut request = nftables::Request::new().set_create().op_newchain_do(&header());
    let mut attributes = request.encode().push_table_bytes(TABLE).push_name_bytes(name.as_bytes());
    if let Some((number, priority)) = hook {
        attributes = attributes
            .nested_hook()
            .push_num(number)
            .push_priority(priority)
            .end_nested()
            .push_type_bytes(kind.as_bytes());
    }
    drop(attributes);
    batch.add("make nftables chain", name, &request);
}

fn sets(batch: &mut Batch) {
    for (number, ip) in (0..).zip(Ip::ALL) {
        let names = names(ip);
        let address = if ip == Ip::V4 { IPV4 } else { IPV6 };
        let length = ip.length();
        let port = (PROTOCOL << TYPE_BITS | PORT, 8);
        let port_at = ((address << TYPE_BITS | PROTOCOL) << TYPE_BITS | PORT, length + 8);
        let target = (address << TYPE_BITS | PORT, length + 4);
        let first = 1 + number * 3;
        set(batch, first, names.targets, (address, length), None);
        set(batch, first + 1, names.ports, port, Some(target));
        set(batch, first + 2, names.ports_at, port_at, Some(target));
    }
}

/// A set of keys of this type and length, or a map from them.
fn set(batch: &mut Batch, id: u32, name: &str, key: (u32, u32), data: Option<(u32, u32)>) {
    let mut request = nftables::Request::new().set_create().op_newset_do(&header());
    let mut attributes = request
        .encode()
        .push_table_bytes(TABLE)
        .push_name_bytes(name.as_bytes())
        .push_id(id)
        .push_key_type(key.0)
        .push_key_len(key.1)
        .push_flags(if data.is_some() { SetFlags::Map as u32 } else { 0 });
    if let Some((kind, length)) = data {
        attributes = attributes.push_data_type(kind).push_data_len(length);
    }
    drop(attributes);
    batch.add("make nftables set", name, &request);
}

/// What a pod must not send: packets in the name of others, and to what listens on this machine's loopback only. The latter
/// is nobody else's either: a plugin's interface that was told to let loopback addresses out would let them in, too. The
/// kernel itself sees to that for IPv6, whatever routes there are.
fn guard(batch: &mut Batch) {
    from(INTERFACE_PREFIX).only_strangers().drop().add(batch, "guard");
    Rule::default()
        .meta(MetaKeys::Iifname, FIRST)
        .differs(b"lo\0")
        .only(Ip::V4)
        .payload(PayloadBase::NetworkHeader, 16, 1, FIRST)
        .is(&[127])
        .drop()
        .add(batch, "guard");
}

/// Packets that came in by an interface whose name begins like this.
fn from(prefix: &str) -> Rule {
    Rule::default().meta(MetaKeys::Iifname, FIRST).is(prefix.as_bytes())
}

/// Restricted networks: what is not an answer does not leave them.
fn forward(batch: &mut Batch) {
    from(native::CLOSED_PREFIX)
        .meta(MetaKeys::Oifname, FIRST)
        .differs(native::CLOSED_PREFIX.as_bytes())
        .only_new()
        .drop()
        .add(batch, "forward");
}

fn ports(batch: &mut Batch) {
    for hook in ["prerouting", "output"] {
        Rule::default().only_to_this_machine().goto("ports").add(batch, hook);
    }
    for ip in Ip::ALL {
        let names = names(ip);
        // An address takes as many registers of four bytes as it needs, the port the one behind.
        let behind = FIRST + ip.length() / 4;
        let port = |rule: Rule, protocol: u32, port: u32| {
            rule.meta(MetaKeys::L4Proto, protocol).payload(PayloadBase::TransportHeader, 2, 2, port)
        };
        port(Rule::default().only(ip).destination(ip), behind, behind + 1)
            .map(names.ports_at)
            .forward(ip, behind)
            .add(batch, "ports");
        port(Rule::default().only(ip), FIRST, FIRST + 1)
            .map(names.ports)
            .forward(ip, behind)
            .add(batch, "ports");
    }
}

fn postrouting(batch: &mut Batch) {
    // Whoever reaches a pod through a port from where it could not answer to: this machine's loopback, a pod by way of the
    // host, a restricted network.
    for ip in Ip::ALL {
        let names = names(ip);
        let forwarded = Rule::default().only_forwarded().only(ip);
        let from_loopback = match ip {
            Ip::V4 => forwarded.payload(PayloadBase::NetworkHeader, 12, 1, FIRST).is(&[127]),
            Ip::V6 => forwarded.source(ip).is(&Ipv6Addr::LOCALHOST.octets()),
        };
        from_loopback.destination(ip).in_set(names.targets).masquerade().add(batch, "postrouting");
        Rule::default()
            .only_forwarded()
            .only(ip)
            .source(ip)
            .in_set(names.targets)
            .destination(ip)
            .in_set(names.targets)
            .masquerade()
            .add(batch, "postrouting");
    }
    from(native::HIDDEN_PREFIX)
        .meta(MetaKeys::Oifname, FIRST)
        .differs(INTERFACE_PREFIX.as_bytes())
        .masquerade()
        .add(batch, "postrouting");
    Rule::default()
        .meta(MetaKeys::Oifname, FIRST)
        .is(native::CLOSED_PREFIX.as_bytes())
        .only_forwarded()
        .masquerade()
        .add(batch, "postrouting");
}
