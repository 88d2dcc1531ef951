//! Taking from a pod what it has of its networks.

use crate::{
    Attached, Place,
    error::{Error, Result},
    failpoint::failpoint,
    lease, link,
    netlink::{Family, Socket},
    nft,
    record::State,
};

impl Attached {
    /// Takes from a pod that has just ended what it still has. Its processes are gone, so that the kernel removes its
    /// interfaces by itself. Returns what could not be done.
    pub fn detach(self, place: Place<'_>) -> Vec<Error> {
        undo(place, true)
    }
}

/// Takes from a pod whose supervisor died what it still has. Can be done again, wherever it was cut short. The caller holds
/// the pod's lock. Returns what could not be done.
pub fn collect(place: Place<'_>) -> Vec<Error> {
    undo(place, false)
}

fn undo(place: Place<'_>, orderly: bool) -> Vec<Error> {
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
    if !orderly {
        problems.extend(unlink(&state).err());
    }
    failpoint!("net-unlinked");
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

fn unlink(state: &State) -> Result<()> {
    if state.interfaces.is_empty() {
        return Ok(());
    }
    let mut socket = Socket::open(Family::Route)?;
    state.interfaces.iter().try_for_each(|name| link::remove(&mut socket, name))
}
