//! Interfaces, their addresses, and routes.

mod namespace;
mod requests;
mod shape;

pub(crate) use namespace::{Namespace, fresh};
use requests::loopback_answers;
pub(crate) use requests::{Address, Route, Veth, address, ifb, route, up, veth};
pub(crate) use shape::{Rate, lead_arriving, leaving};

use std::net::IpAddr;

use netlink_bindings::{
    rt_link::{self, Ifinfomsg},
    rt_route::{self, Rtmsg},
};
use rustix::io::Errno;

use crate::{
    error::{Result, failed},
    netlink::{Batch, Socket},
};

/// An interface as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its number.
    pub(crate) index: u32,
    /// Its name.
    pub(crate) name: String,
    /// The largest packet that it takes.
    pub(crate) mtu: u32,
}

/// The interface of this name, where there is one.
pub(crate) fn by_name(socket: &mut Socket, name: &str) -> Result<Option<Link>> {
    let mut request = rt_link::Request::new().op_getlink_do(&Ifinfomsg::new());
    request.encode().push_ifname_bytes(name.as_bytes());
    ask(socket, &request, name)
}

/// The interface of this number, where there is one.
pub(crate) fn by_index(socket: &mut Socket, index: u32) -> Result<Option<Link>> {
    let mut header = Ifinfomsg::new();
    header.ifi_index = i32::try_from(index).unwrap_or(0);
    ask(socket, &rt_link::Request::new().op_getlink_do(&header), &format!("number {index}"))
}

fn ask(socket: &mut Socket, request: &rt_link::OpGetlinkDo<'_>, what: &str) -> Result<Option<Link>> {
    let mut found = None;
    let asked = socket.ask(request, |(header, attributes)| {
        found = Some(Link {
            index: u32::try_from(header.ifi_index).unwrap_or(0),
            name: attributes.get_ifname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            mtu: attributes.get_mtu().unwrap_or(0),
        });
    });
    match asked {
        Ok(()) => Ok(found),
        Err(Errno::NODEV | Errno::NXIO) => Ok(None),
        Err(errno) => Err(failed("look for interface", what)(errno)),
    }
}

/// Names of all interfaces.
pub(crate) fn names(socket: &mut Socket) -> Result<Vec<String>> {
    let mut found = Vec::new();
    socket
        .ask(&rt_link::Request::new().op_getlink_dump(&Ifinfomsg::new()), |(_, attributes)| {
            found.extend(attributes.get_ifname().map(|name| name.to_string_lossy().into_owned()));
        })
        .map_err(failed("list", "interfaces"))?;
    Ok(found)
}

/// Removes an interface, and with it its peer. One that is not there is fine.
pub(crate) fn remove(socket: &mut Socket, name: &str) -> Result<()> {
    let mut request = rt_link::Request::new().op_dellink_do(&Ifinfomsg::new());
    request.encode().push_ifname_bytes(name.as_bytes());
    let mut batch = Batch::default();
    batch.add("remove interface", name, &request);
    match socket.execute(&batch) {
        Err(error) if matches!(error.errno(), Some(Errno::NODEV | Errno::NXIO)) => Ok(()),
        other => other,
    }
}

/// Lets programs of this machine that speak from `::1` hear answers that come in by an interface.
pub(crate) fn let_loopback_hear(socket: &mut Socket, link: &Link) -> Result<()> {
    let mut batch = Batch::default();
    loopback_answers(&mut batch, link.index, &link.name);
    match socket.execute(&batch) {
        Err(error) if error.errno() == Some(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// Where a packet to an address would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    /// How much of the address the route is about: 0 for a default route.
    pub(crate) prefix: u8,
    /// The interface.
    pub(crate) index: u32,
}

/// The route that counts for an address, where there is one.
pub(crate) fn way_to(socket: &mut Socket, address: IpAddr) -> Result<Option<Way>> {
    let mut header = Rtmsg::new();
    header.rtm_family = requests::family(address);
    header.rtm_dst_len = requests::bits(address);
    header.rtm_flags = rt_route::RtmFlag::FibMatch as u32;
    let mut request = rt_route::Request::new().op_getroute_do(&header);
    request.encode().push_dst(address);
    let mut found = None;
    let asked = socket.ask(&request, |(header, attributes)| {
        let index = attributes.get_oif().unwrap_or(0);
        found = Some(Way { prefix: header.rtm_dst_len, index });
    });
    match asked {
        Ok(()) => Ok(found),
        Err(Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::ACCESS | Errno::INVAL | Errno::AFNOSUPPORT) => {
            Ok(None)
        }
        Err(errno) => Err(failed("look for a route to", address)(errno)),
    }
}
