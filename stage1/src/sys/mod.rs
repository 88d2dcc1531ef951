//! System calls that rustix does not wrap, each made safe to call.

mod clone;
mod descriptor;
mod device_filter;
mod directory;
mod limits;
mod mount;
mod signals;

pub(crate) use clone::{CloneSpec, Namespaces, spawn};
pub(crate) use descriptor::inherited;
pub(crate) use device_filter::{DeviceRule, MAKE, READ, WRITE, allow_devices, restrict_devices};
pub(crate) use directory::own_mounts;
pub(crate) use limits::{Limit, set_limits};
pub(crate) use mount::{make_private, make_slave, map_owners, seal};
pub(crate) use signals::{SignalFd, Signals};
