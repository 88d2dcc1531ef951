//! Talking to the kernel: sockets, and batches of requests that go to it in one call.
//!
//! Messages come from the crate `netlink-bindings`, which is made from the kernel's own descriptions. The kernel answers
//! a request before the call that sends it returns, so nothing here ever waits.

mod batch;
mod message;
mod socket;

pub(crate) use batch::Batch;
pub(crate) use socket::{Family, Socket};
