//! Requests that change interfaces, addresses and routes.

use std::net::{IpAddr, Ipv6Addr};

use netlink_bindings::{
    rt_addr::{self, IfaFlags, Ifaddrmsg},
    rt_link::{self, IfinfoFlags, Ifinfomsg, PushLinkAttrs},
    rt_route::{self, Rtmsg},
    utils::{finalize_nested_header, push_header, push_nested_header},
};

use crate::netlink::Batch;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

// linux/if_link.h and linux/veth.h: the kernel's descriptions do not have this kind of interface.
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;

// linux/rtnetlink.h
const RT_TABLE_MAIN: u8 = 254;
const RT_TABLE_LOCAL: u8 = 255;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;

/// How much worse than the kernel's own route to the loopback address another one is.
const WORSE: u32 = 1024;

pub(super) fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}

/// How many bits an address has.
pub(super) fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Two interfaces that are each other's other end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Veth<'a> {
    /// The name on the host.
    pub(crate) host: &'a str,
    /// The name in the pod.
    pub(crate) pod: &'a str,
    /// A process of the pod; without one both ends are where they are made.
    pub(crate) pid: Option<u32>,
    /// The largest packet.
    pub(crate) mtu: u32,
}

/// Makes a pair, with the host's end up.
pub(crate) fn veth(batch: &mut Batch, veth: Veth<'_>) {
    let mut header = Ifinfomsg::new();
    header.ifi_flags = IfinfoFlags::Up as u32;
    header.ifi_change = IfinfoFlags::Up as u32;
    let mut request = rt_link::Request::new().set_create().set_excl().op_newlink_do(&header);
    let mut info = Vec::new();
    info_kind(&mut info, b"veth");
    let data = push_nested_header(&mut info, IFLA_INFO_DATA);
    let peer = push_nested_header(&mut info, VETH_INFO_PEER);
    // The kernel does not bring an end up that has no other end yet.
    info.extend(Ifinfomsg::new().as_slice());
    let mut attributes =
        PushLinkAttrs::new(&mut info).push_ifname_bytes(veth.pod.as_bytes()).push_mtu(veth.mtu);
    if let Some(pid) = veth.pid {
        attributes = attributes.push_net_ns_pid(pid);
    }
    drop(attributes);
    finalize_nested_header(&mut info, peer);
    finalize_nested_header(&mut info, data);
    with_info(request.encode().push_ifname_bytes(veth.host.as_bytes()).push_mtu(veth.mtu), &info);
    batch.add("make interface", veth.host, &request);
}

/// Makes an interface, and brings it up, that gives back what is led through it.
pub(crate) fn ifb(batch: &mut Batch, name: &str, mtu: u32) {
    let mut header = Ifinfomsg::new();
    header.ifi_flags = IfinfoFlags::Up as u32;
    header.ifi_change = IfinfoFlags::Up as u32;
    let mut request = rt_link::Request::new().set_create().set_excl().op_newlink_do(&header);
    let mut info = Vec::new();
    info_kind(&mut info, b"ifb");
    with_info(request.encode().push_ifname_bytes(name.as_bytes()).push_mtu(mtu), &info);
    batch.add("make interface", name, &request);
}

fn info_kind(info: &mut Vec<u8>, kind: &[u8]) {
    push_header(info, IFLA_INFO_KIND, u16::try_from(kind.len() + 1).unwrap_or(1));
    info.extend(kind);
    info.push(0);
}

fn with_info(mut attributes: PushLinkAttrs<&mut Vec<u8>>, info: &[u8]) {
    use netlink_bindings::traits::Pusher;
    let buffer = attributes.as_vec_mut();
    let at = push_nested_header(buffer, IFLA_LINKINFO);
    buffer.extend(info);
    finalize_nested_header(buffer, at);
}

/// Brings an interface up.
pub(crate) fn up(batch: &mut Batch, index: u32, name: &str) {
    let mut header = Ifinfomsg::new();
    header.ifi_index = i32::try_from(index).unwrap_or(0);
    header.ifi_flags = IfinfoFlags::Up as u32;
    header.ifi_change = IfinfoFlags::Up as u32;
    batch.add("bring up interface", name, &rt_link::Request::new().op_setlink_do(&header));
}

/// An address of an interface.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address {
    /// The address.
    pub(crate) address: IpAddr,
    /// How much of it is the network's.
    pub(crate) prefix: u8,
}

/// Gives an interface an address. No route comes with it, and it counts at once: it is ours, so that nobody needs to be
/// asked whether he has it.
pub(crate) fn address(batch: &mut Batch, index: u32, given: Address) {
    let mut header = Ifaddrmsg::new();
    header.ifa_family = family(given.address);
    header.ifa_prefixlen = given.prefix;
    header.ifa_index = index;
    let mut request = rt_addr::Request::new().set_create().set_excl().op_newaddr_do(&header);
    let mut flags = IfaFlags::Noprefixroute as u32;
    if given.address.is_ipv6() {
        flags |= IfaFlags::Nodad as u32;
    }
    request.encode().push_local(given.address).push_address(given.address).push_flags(flags);
    batch.add("add address", format!("{}/{}", given.address, given.prefix), &request);
}

/// A route.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    /// Where to.
    pub(crate) to: IpAddr,
    /// How much of that counts: 0 for a default route.
    pub(crate) prefix: u8,
    /// The interface.
    pub(crate) index: u32,
    /// Who takes the packets on from there.
    pub(crate) gateway: Option<IpAddr>,
    /// The sender's address, where he does not say.
    pub(crate) source: Option<IpAddr>,
}

/// Adds a route, which must not be there yet.
pub(crate) fn route(batch: &mut Batch, route: Route) {
    let mut header = Rtmsg::new();
    header.rtm_family = family(route.to);
    header.rtm_dst_len = route.prefix;
    header.rtm_table = RT_TABLE_MAIN;
    header.rtm_protocol = RTPROT_BOOT;
    header.rtm_type = RTN_UNICAST;
    let through_gateway = route.gateway.is_some() || route.to.is_ipv6();
    header.rtm_scope = if through_gateway { RT_SCOPE_UNIVERSE } else { RT_SCOPE_LINK };
    let mut request = rt_route::Request::new().set_create().set_excl().op_newroute_do(&header);
    let mut attributes = request.encode();
    if route.prefix > 0 {
        attributes = attributes.push_dst(route.to);
    }
    if let Some(gateway) = route.gateway {
        attributes = attributes.push_gateway(gateway);
    }
    if let Some(source) = route.source {
        attributes = attributes.push_prefsrc(source);
    }
    drop(attributes.push_oif(route.index));
    batch.add("add route to", format!("{}/{}", route.to, route.prefix), &request);
}

/// Has the kernel take what comes in by an interface to the IPv6 loopback address, where that is what the packet filter has
/// made of an answer: the kernel looks for a route to that address among those through the interface alone. Packets that have
/// this address when they come in are dropped before. Its own way there stays what it was: the one through `lo` is better.
pub(crate) fn loopback_answers(batch: &mut Batch, index: u32, name: &str) {
    let mut header = Rtmsg::new();
    header.rtm_family = AF_INET6;
    header.rtm_dst_len = 128;
    header.rtm_table = RT_TABLE_LOCAL;
    header.rtm_protocol = RTPROT_BOOT;
    header.rtm_type = RTN_LOCAL;
    header.rtm_scope = RT_SCOPE_UNIVERSE;
    let mut request = rt_route::Request::new().set_create().set_excl().op_newroute_do(&header);
    // Different from interface to interface, as two routes that are as good as each other would be one to the kernel.
    let priority = WORSE.saturating_add(index);
    request.encode().push_dst(Ipv6Addr::LOCALHOST.into()).push_oif(index).push_priority(priority);
    batch.add("add a route to ::1 by interface", name, &request);
}
