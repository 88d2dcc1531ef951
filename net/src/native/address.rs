//! Which addresses a pod gets.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    path::Path,
    thread::sleep,
    time::Duration,
};

use rkt_pod::{Place, lookup};

use super::wish::Wish;
use crate::{
    INTERFACE_PREFIX,
    config::Native,
    detach,
    error::{Result, refused},
    lease::Leases,
    link,
    netlink::Socket,
};

/// How often we look again for an address that a pod that has just ended is about to lose.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// The addresses of a pod in one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// The leased one.
    pub(crate) v4: Ipv4Addr,
    /// That of the same number among the network's IPv6 addresses.
    pub(crate) v6: Option<Ipv6Addr>,
}

/// Leases addresses of a network for a pod: the one that `args` ask for, or any.
pub(crate) fn choose(
    data: &Path,
    network: &str,
    native: &Native,
    pod: &str,
    args: &str,
    socket: &mut Socket,
) -> Result<Addresses> {
    let subnet = native.subnet4;
    let wish = Wish::read(args)?.number(native)?;
    let leases = Leases::lock(data, network)?;
    let v4 = match wish {
        Some((number, wish)) => {
            this(data, &leases, native, (subnet.host(number), &wish), pod, socket)?;
            subnet.host(number)
        }
        None => any(data, &leases, native, pod, socket)?,
    };
    let number = subnet.number_of(v4).unwrap_or(0);
    let v6 = native.subnet6.filter(|_| crate::host::has_ipv6()).map(|subnet| subnet.host(number));
    Ok(Addresses { v4, v6 })
}

/// Leases the very address that was asked for.
fn this(
    data: &Path,
    leases: &Leases,
    native: &Native,
    (address, wish): (Ipv4Addr, &str),
    pod: &str,
    socket: &mut Socket,
) -> Result<()> {
    if leases.all()?.contains_key(&address) {
        reclaim(data, leases)?;
    }
    if let Some(other) = leases.all()?.get(&address) {
        return refused(format!("{wish} is in use: it is pod {other:?}'s"));
    }
    for _ in 0..TRIES {
        if usable(socket, native, address)? {
            return leases.take_this(address, pod);
        }
        sleep(PAUSE);
    }
    refused(format!("{wish} is in use on this machine"))
}

fn any(data: &Path, leases: &Leases, native: &Native, pod: &str, socket: &mut Socket) -> Result<Ipv4Addr> {
    let subnet = native.subnet4;
    for _ in 0..TRIES {
        if let Some(address) = leases.take(subnet, pod, |address| usable(socket, native, address))? {
            return Ok(address);
        }
        let leased = u32::try_from(leases.all()?.len()).unwrap_or(u32::MAX);
        if !reclaim(data, leases)? && leased >= subnet.hosts() {
            return refused(format!(
                "all {} addresses of {subnet} are taken: stop pods, or give the network a larger range",
                subnet.hosts()
            ));
        }
        // The kernel takes a moment to remove the interfaces of a pod that has ended.
        sleep(PAUSE);
    }
    refused(format!(
        "the addresses of {subnet} that are not leased are in use: another rkt gives out the same range"
    ))
}

/// Whether nobody has the address. Refuses a range that somebody else has.
fn usable(socket: &mut Socket, native: &Native, address: Ipv4Addr) -> Result<bool> {
    let Some(way) = link::way_to(socket, address.into())? else { return Ok(true) };
    if way.prefix == 32 {
        return Ok(false);
    }
    if way.prefix < native.subnet4.prefix() {
        return Ok(true);
    }
    let other = link::by_index(socket, way.index)?.map(|link| link.name).unwrap_or_default();
    if other.starts_with(INTERFACE_PREFIX) {
        return Ok(true);
    }
    refused(format!(
        "its range {} overlaps with a network of this machine on interface {other}: give it another one in net.d",
        native.subnet4
    ))
}

/// Takes back what dead pods still hold. Returns whether there was anything.
fn reclaim(data: &Path, leases: &Leases) -> Result<bool> {
    let mut any = false;
    for (address, uuid) in leases.all()? {
        match lookup::by_uuid(data, &uuid) {
            None => {
                leases.remove(address)?;
                any = true;
            }
            Some(pod) if matches!(pod.place(), Place::Run | Place::ExitedGarbage | Place::Garbage) => {
                // Who has the lock is at work on the pod, or is the pod.
                if let Ok(Some(_lock)) = pod.try_lock() {
                    let place = crate::Place { data, pod: &pod.path(), uuid: &uuid };
                    any |= detach::collect(place).is_empty();
                }
            }
            Some(_) => {}
        }
    }
    Ok(any)
}
