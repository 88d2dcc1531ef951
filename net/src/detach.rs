//! Taking from a pod what it has of its networks.

use std::path::PathBuf;

use rkt_pod::failpoint;

use crate::{
    Attached, Place,
    cni::{Chain, Directories, Outcome},
    config::{Kind, Selection, Wanted, stored},
    error::{Error, Result},
    lease,
    link::{self, Address, Namespace, Veth},
    names::neighbours,
    netlink::{Batch, Family, Socket},
    nft,
    record::{CniState, State},
};

impl Attached {
    /// Whether plugins have to be started to take the pod's networks down.
    pub fn needs_plugins(&self) -> bool {
        self.namespace.is_some()
    }

    /// Takes from a pod that has just ended what it still has. Its processes are gone, so that the kernel removes our
    /// interfaces by itself. Returns what could not be done.
    pub fn detach(self, place: Place<'_>) -> Vec<Error> {
        undo(place, self.namespace.as_ref(), true)
    }
}

/// Takes from a pod whose supervisor died what it still has. Can be done again, wherever it was cut short. The caller holds
/// the pod's lock. Returns what could not be done.
pub fn collect(place: Place<'_>) -> Vec<Error> {
    undo(place, None, false)
}

pub(crate) fn undo(place: Place<'_>, namespace: Option<&Namespace>, orderly: bool) -> Vec<Error> {
    let mut problems = Vec::new();
    let state = match State::of_pod(place.pod) {
        Ok(Some(state)) => state,
        // An address may have been leased before anything was noted.
        Ok(None) => State::default(),
        Err(error) => {
            problems.push(error);
            State::default()
        }
    };
    problems.extend(unfilter(&state).err());
    failpoint!("net-unfiltered");
    for network in state.cni.iter().rev() {
        let left = remove(place, network, namespace);
        problems.extend(left.into_iter().map(|error| error.of(&network.network)));
    }
    problems.extend(unlink(&state.limits).err());
    if !orderly {
        problems.extend(unlink(&state.interfaces).err());
    }
    failpoint!("net-unlinked");
    problems.extend(neighbours::forget(place.data, place.uuid).err());
    failpoint!("net-forgotten");
    problems.extend(lease::release(place.data, place.uuid).err());
    failpoint!("net-released");
    if problems.is_empty() {
        problems.extend(State::clear(place.pod).err());
    }
    problems
}

fn unfilter(state: &State) -> Result<()> {
    if state.entries.is_empty() {
        return Ok(());
    }
    nft::remove(&mut Socket::open(Family::Netfilter)?, &state.entries)
}

fn unlink(interfaces: &[String]) -> Result<()> {
    if interfaces.is_empty() {
        return Ok(());
    }
    let mut socket = Socket::open(Family::Route)?;
    interfaces.iter().try_for_each(|name| link::remove(&mut socket, name))
}

/// Has plugins remove the pod from a network.
fn remove(place: Place<'_>, state: &CniState, namespace: Option<&Namespace>) -> Vec<Error> {
    let stand_in = match namespace {
        Some(_) => None,
        None => match stand_in(state) {
            Ok(made) => Some(made),
            Err(error) => return vec![error],
        },
    };
    let path = namespace.or(stand_in.as_ref()).map(Namespace::path).unwrap_or_default();
    with_chain(place, state, &path, |chain| chain.remove(state.result.as_ref()))
        .unwrap_or_else(|error| vec![error])
}

/// Does something with the plugins of a pod's network.
pub(crate) fn with_chain<T>(
    place: Place<'_>,
    state: &CniState,
    namespace: &str,
    work: impl FnOnce(Chain<'_>) -> T,
) -> Result<T> {
    let wanted = Wanted { name: state.network.clone(), args: state.args.clone() };
    let networks = stored(place.pod, &Selection::Networks(vec![wanted]))?;
    let cni = networks.iter().find_map(|(network, _)| match &network.kind {
        Kind::Cni(cni) => Some(cni),
        Kind::Native(_) => None,
    });
    let cni = cni.ok_or_else(|| {
        Error::Refused("its configuration in the pod's directory is none of CNI".to_owned())
    })?;
    Ok(work(Chain {
        network: &state.network,
        cni,
        runtime: &state.runtime,
        uuid: place.uuid,
        namespace,
        interface: &state.interface,
        args: &state.args,
        directories: &Directories(state.plugin_dirs.iter().map(PathBuf::from).collect()),
    }))
}

/// A namespace that looks as the dead pod's did: plugins find out by its interface's addresses what rules they have made.
fn stand_in(state: &CniState) -> Result<Namespace> {
    let namespace = link::fresh()?;
    let addresses = match &state.result {
        Some(result) => Outcome::read(result.clone())?.addresses,
        None => Vec::new(),
    };
    namespace.inside(|| {
        let mut socket = Socket::open(Family::Route)?;
        let mut batch = Batch::default();
        let pair = Veth { host: "other-end", pod: &state.interface, pid: None, mtu: 1500 };
        link::veth(&mut batch, pair);
        socket.execute(&batch)?;
        let Some(made) = link::by_name(&mut socket, &state.interface)? else { return Ok(()) };
        let mut batch = Batch::default();
        for (address, prefix) in addresses {
            link::address(&mut batch, made.index, Address { address, prefix });
        }
        socket.execute(&batch)
    })?;
    Ok(namespace)
}
