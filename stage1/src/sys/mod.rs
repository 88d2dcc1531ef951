//! System calls that rustix does not wrap, each made safe to call.

mod clone;
mod descriptor;
mod directory;
mod limits;
mod mount;
mod signals;

pub(crate) use clone::{CloneSpec, Namespaces, spawn};
pub(crate) use descriptor::inherited;
pub(crate) use directory::own_directory;
pub(crate) use limits::{Limit, set_limits};
pub(crate) use mount::{make_private, make_slave, seal};
pub(crate) use signals::{SignalFd, Signals};
