//! What this machine has of our networks, for `rkt net`.

use std::{collections::BTreeMap, net::Ipv4Addr, path::Path};

use rkt_pod::{Place, PodDir, State as PodState, lookup};
use serde_json::Value;

use crate::{
    Directories, Network,
    cni::Chain,
    config::Kind,
    error::{Error, Result},
    lease, link,
    names::neighbours,
    netlink::{Family, Socket},
    nft::{self, Entry},
    record::State,
};

/// The leases of a network: the pods, by their addresses.
///
/// # Errors
/// Where the directory cannot be read.
pub fn leases(data: &Path, network: &str) -> Result<BTreeMap<Ipv4Addr, String>> {
    lease::of_network(data, network)
}

/// What was put right.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// What was removed, one line each.
    pub removed: Vec<String>,
}

/// Removes what dead pods left: all that their directories say, leases of pods that are gone, and what is in the packet
/// filter for pods that have neither a directory nor an interface.
///
/// # Errors
/// Where something cannot be looked at or removed.
pub fn collect(data: &Path) -> Result<Collected> {
    let mut collected = Collected::default();
    for pod in lookup::all(data, &[Place::Run, Place::ExitedGarbage, Place::Garbage])? {
        if State::of_pod(&pod.path()).is_ok_and(|state| state.is_some())
            && let Ok(Some(_lock)) = pod.try_lock()
        {
            let place = crate::Place { data, pod: &pod.path(), uuid: pod.uuid() };
            if let Some(problem) = crate::detach::collect(place).into_iter().next() {
                return Err(problem);
            }
            collected.removed.push(format!("what was left of pod {}", pod.uuid()));
        }
    }
    for pod in neighbours::forget_unknown(data)? {
        collected.removed.push(format!("the names of pod {pod}"));
    }
    for network in lease::networks(data)? {
        let leases = lease::Leases::lock(data, &network)?;
        for (address, pod) in leases.all()? {
            if lookup::by_uuid(data, &pod).is_none() {
                leases.remove(address)?;
                collected.removed.push(format!("the lease of {address} in network {network}"));
            }
        }
    }
    unknown(data, &mut collected)?;
    Ok(collected)
}

/// Has plugins remove what they have for pods that are no more in their networks, where they can be asked that. Returns what
/// they say to be wrong. Call it after [`collect`]: what that could not remove stays.
///
/// # Errors
/// Where records cannot be read.
pub fn collect_by_plugins(
    data: &Path,
    networks: &[Network],
    directories: &Directories,
) -> Result<Vec<Error>> {
    let mut valid: Vec<(String, (String, String))> = Vec::new();
    for pod in lookup::all(data, &[Place::Run, Place::ExitedGarbage, Place::Garbage])? {
        for network in State::of_pod(&pod.path())?.unwrap_or_default().cni {
            valid.push((network.network, (pod.uuid().to_owned(), network.interface)));
        }
    }
    let mut problems = Vec::new();
    for network in networks {
        let Kind::Cni(cni) = &network.kind else { continue };
        let pods = valid.iter().filter(|(name, _)| *name == network.name);
        let pods: Vec<(String, String)> = pods.map(|(_, pod)| pod.clone()).collect();
        let chain = Chain {
            network: &network.name,
            cni,
            runtime: &Value::Null,
            uuid: "",
            namespace: "",
            interface: "",
            args: "",
            directories,
        };
        problems.extend(chain.collect(&pods).into_iter().map(|error| error.of(&network.name)));
    }
    Ok(problems)
}

/// Entries in the packet filter whose pods are gone without a trace.
fn unknown(data: &Path, collected: &mut Collected) -> Result<()> {
    // A kernel without nftables has nothing of ours in it.
    let Ok(mut filter) = Socket::open(Family::Netfilter) else { return Ok(()) };
    if nft::available(&mut filter).is_err() {
        return Ok(());
    }
    let listed = nft::listed(&mut filter)?;
    if listed.is_empty() {
        return Ok(());
    }
    let mut route = Socket::open(Family::Route)?;
    let interfaces = link::names(&mut route)?;
    let mut stale: Vec<Entry> = Vec::new();
    for (entry, pod) in listed {
        // A pod of another data directory has its interface, or packets to it have a way other than out; one of ours has its
        // directory.
        let lives = lookup::by_uuid(data, &pod).is_some()
            || interfaces.iter().any(|interface| crate::native::is_of(interface, &pod))
            || link::way_to(&mut route, entry.address())?.is_some_and(|way| way.prefix > 0);
        if !lives {
            stale.push(entry);
        }
    }
    nft::remove(&mut filter, &stale)?;
    collected.removed.extend(stale.iter().map(|entry| format!("{} in nftables", entry.shown())));
    Ok(())
}

/// Makes the packet filter's table anew, in one step, with all that running pods have in it: those of this data directory by
/// their records, others as far as the table still has them. Returns how many entries there are.
///
/// # Errors
/// Where records or the table cannot be read, or not be made.
pub fn reload(data: &Path) -> Result<usize> {
    let mut entries: Vec<(Entry, String)> = Vec::new();
    for pod in lookup::all(data, &[Place::Run])? {
        if runs(&pod)
            && let Some(state) = State::of_pod(&pod.path())?
        {
            entries.extend(state.entries.into_iter().map(|entry| (entry, pod.uuid().to_owned())));
        }
    }
    let mut socket = Socket::open(Family::Netfilter)?;
    for (entry, comment) in nft::listed(&mut socket)? {
        let ours = lookup::by_uuid(data, &comment).is_some();
        if !ours && !entries.iter().any(|(other, _)| *other == entry) {
            entries.push((entry, comment));
        }
    }
    nft::rebuild(&mut socket, &entries)?;
    Ok(entries.len())
}

/// Looks whether all running pods still have what they were given. Returns what they lack, one line each.
///
/// # Errors
/// Where records or the kernel's tables cannot be read.
pub fn check(data: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let interfaces = link::names(&mut Socket::open(Family::Route)?)?;
    let mut filter = Socket::open(Family::Netfilter)?;
    let has_table = nft::is_there(&mut filter)?;
    let listed = nft::listed(&mut filter)?;
    for pod in lookup::all(data, &[Place::Run])?.into_iter().filter(runs) {
        let Some(state) = State::of_pod(&pod.path())? else { continue };
        let uuid = pod.uuid();
        let made = state.interfaces.iter().chain(&state.limits);
        for name in made.filter(|name| !interfaces.contains(name)) {
            problems.push(format!("pod {uuid}: interface {name} is gone"));
        }
        if !state.interfaces.is_empty() && !has_table {
            problems.push(format!(
                "pod {uuid}: our rules are not in nftables any more (`rkt net reload` puts them back)"
            ));
        }
        let missing = |entry: &&Entry| !listed.iter().any(|(other, _)| other == *entry);
        if let Some(entry) = state.entries.iter().find(missing) {
            let shown = entry.shown();
            problems.push(format!(
                "pod {uuid}: {shown} is not in nftables any more (`rkt net reload` puts it back)"
            ));
        }
        for network in &state.cni {
            let place = crate::Place { data, pod: &pod.path(), uuid };
            let checked = crate::detach::with_chain(place, network, &network.namespace, |chain| {
                network.result.as_ref().map_or(Ok(()), |result| chain.check(result))
            });
            if let Err(error) = checked.and_then(|checked| checked) {
                problems.push(format!("pod {uuid}: network {:?}: {error}", network.network));
            }
        }
    }
    Ok(problems)
}

fn runs(pod: &PodDir) -> bool {
    pod.state().is_ok_and(|state| state == PodState::Running)
}
