//! System calls that rustix does not wrap, each made safe to call.

mod clone;
mod mount;
mod signals;

pub(crate) use clone::{CloneSpec, Namespaces, spawn};
pub(crate) use mount::{make_slave, seal};
pub(crate) use signals::{SignalFd, Signals};
