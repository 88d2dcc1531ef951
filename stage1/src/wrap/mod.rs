//! What surrounds a pod that a service manager has started: readiness, watchdog, reloading, and sockets.
//!
//! It is spoken to as sd_notify(3) and sd_listen_fds(3) have it. What apps say of themselves is taken in at a socket of
//! each app's own ([`notify`]), and what follows from it for the pod as a whole ([`merged`]) is passed on.

mod merged;
mod notify;
mod sockets;

pub(crate) use notify::{Notify, SOCKET, Taking};
pub(crate) use sockets::Sockets;
