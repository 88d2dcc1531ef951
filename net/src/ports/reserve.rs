//! Keeping ports of the host for a pod.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType},
};

use super::{Forward, Protocol};
use crate::error::{Error, Result, failed};

/// Ports that nobody else can listen on while this lives.
#[derive(Debug, Default)]
pub struct Reservation(#[allow(dead_code, reason = "what counts is that they are open")] Vec<OwnedFd>);

/// Reserves the host's side of all forwards, by binding a socket to each: nothing listens on it.
///
/// # Errors
/// Where one is taken, or is on an address that is not this machine's.
pub fn reserve(forwards: &[Forward]) -> Result<Reservation> {
    let mut sockets = Vec::new();
    for forward in forwards {
        match forward.host_ip {
            Some(ip) => sockets.extend(bind(forward, ip, true)?),
            None => {
                sockets.extend(bind(forward, Ipv4Addr::UNSPECIFIED.into(), true)?);
                sockets.extend(bind(forward, Ipv6Addr::UNSPECIFIED.into(), false)?);
            }
        }
    }
    Ok(Reservation(sockets))
}

/// `None` where the machine does without this kind of address, and may.
fn bind(forward: &Forward, ip: IpAddr, needed: bool) -> Result<Option<OwnedFd>> {
    let address = SocketAddr::new(ip, forward.host_port);
    let shown = format!("{} of {ip}", forward.protocol.port(forward.host_port));
    let family = if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = match forward.protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let socket = match rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None) {
        Err(Errno::AFNOSUPPORT) if !needed => return Ok(None),
        other => other.map_err(failed("reserve", &shown))?,
    };
    if ip.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, true).map_err(failed("reserve", &shown))?;
    }
    match rustix::net::bind(&socket, &address) {
        Ok(()) => Ok(Some(socket)),
        Err(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT) if !needed => Ok(None),
        Err(Errno::ADDRINUSE) => Err(Error::Refused(format!(
            "{shown} is taken: another pod or a program of this machine has it (`ss -lntup` shows which)"
        ))),
        Err(errno) => Err(failed("reserve", &shown)(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_reserved_once() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let forward = |protocol, host_ip: Option<&str>| Forward {
            protocol,
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            host_port: free,
            pod_port: 80,
        };
        let tcp = forward(Protocol::Tcp, Some("127.0.0.1"));
        let held = reserve(std::slice::from_ref(&tcp)).unwrap();
        let refused = reserve(std::slice::from_ref(&tcp)).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("port {free}/tcp of 127.0.0.1 is taken")), "{refused}");
        assert!(reserve(&[forward(Protocol::Tcp, None)]).is_err(), "all addresses are that one, too");
        reserve(&[forward(Protocol::Udp, Some("127.0.0.1"))]).unwrap();
        drop(held);
        reserve(&[tcp]).unwrap();
        let foreign =
            Forward { host_ip: Some("192.0.2.77".parse().unwrap()), ..forward(Protocol::Tcp, None) };
        assert!(reserve(&[foreign]).unwrap_err().to_string().contains("192.0.2.77"));
    }
}
