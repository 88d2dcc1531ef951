//! Our table of the kernel's packet filter, `inet rkt`.
//!
//! Its rules are the same for all pods and are made once: what a pod may do is in the name of its interface. What is
//! different from pod to pod are its ports, elements of sets and maps: one transaction adds those of a pod, another one takes
//! them away. Each has a comment that says whose it is. A pod without ports needs none, and its end does not wait for the
//! kernel's, which lets nobody close a socket before all processors have let go of what was removed.

mod elements;
mod entry;
mod rule;
mod table;

pub(crate) use elements::{add, available, ensure, is_there, listed, rebuild, remove};
pub(crate) use entry::Entry;

use netlink_bindings::nftables::Nfgenmsg;

use crate::netlink::Batch;

/// The table's name.
const TABLE: &[u8] = b"rkt";
const NFPROTO_INET: u8 = 1;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;

/// The header of requests about our table.
fn header() -> Nfgenmsg {
    let mut header = Nfgenmsg::new();
    header.nfgen_family = NFPROTO_INET;
    header
}

/// A batch of which all or nothing is done.
fn transaction(fill: impl FnOnce(&mut Batch)) -> Batch {
    let mut mark = Nfgenmsg::new();
    mark.set_res_id(NFNL_SUBSYS_NFTABLES);
    let mut batch = Batch::default();
    batch.add_mark(NFNL_MSG_BATCH_BEGIN, mark.as_slice());
    fill(&mut batch);
    batch.add_mark(NFNL_MSG_BATCH_END, mark.as_slice());
    batch
}
