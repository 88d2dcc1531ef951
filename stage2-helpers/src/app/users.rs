//! The pod's user namespace, seen from `app-exec`.
//!
//! The sandbox is built with the host's privileges, by which there are device nodes that work and file systems of the kernel
//! whatever the host has covered of its own, but as the pod's root to the file systems: what is made belongs to it. Then
//! this process joins the namespace and gets a copy of the mounts that the namespace owns: in it the kernel keeps together
//! what was built outside, so that no privilege of the app takes a cover or a read-only flag away.

use std::os::fd::OwnedFd;

use rustix::{
    fs::{AtFlags, Gid, Uid},
    thread::{ThreadNameSpaceType, UnshareFlags},
};

use crate::{
    control::exit,
    failure::{At, Result, failure, words},
    spec::AppSpec,
    sys,
};

const STATUS: u8 = exit::NAMESPACE;

/// The user of the host that a user of the pod is. `None` where the pod has no such user.
pub(super) fn on_host(spec: &AppSpec, id: u32) -> Option<u32> {
    match spec.users {
        None => Some(id),
        Some(users) if id < users.count => users.base.checked_add(id),
        Some(_) => None,
    }
}

/// The user of the pod that a user of the host is.
pub(super) fn in_pod(spec: &AppSpec, id: u32) -> Option<u32> {
    match spec.users {
        None => Some(id),
        Some(users) => id.checked_sub(users.base).filter(|id| *id < users.count),
    }
}

/// Refuses who is not among the pod's users.
pub(super) fn check(spec: &AppSpec, step: &str, id: u32, status: u8) -> Result<()> {
    match (on_host(spec, id), spec.users) {
        (None, Some(users)) => {
            let reason = format!("the pod's user namespace ends with {}", users.count.saturating_sub(1));
            Err(failure(step, id, reason, status))
        }
        _ => Ok(()),
    }
}

/// Has everything that this process makes from here on belong to the pod's root.
pub(super) fn make_as_root(spec: &AppSpec) -> Result<()> {
    let Some(users) = spec.users else { return Ok(()) };
    let capabilities = rustix::thread::capabilities(None).at("read", "capabilities", exit::CAPABILITIES)?;
    sys::set_file_identity(users.base);
    // Who is not root to file systems loses what is root's there.
    rustix::thread::set_capabilities(None, capabilities).at("set", "capabilities", exit::CAPABILITIES)
}

/// Gives files of a file system, which the kernel gave to the host's root, to the pod's. An empty name is the root directory.
pub(super) fn give_to_root(spec: &AppSpec, mount: &OwnedFd, names: &[&str]) -> rustix::io::Result<()> {
    let Some(users) = spec.users else { return Ok(()) };
    let (uid, gid) = (Uid::from_raw(users.base), Gid::from_raw(users.base));
    names.iter().try_for_each(|name| {
        rustix::fs::chownat(
            mount,
            *name,
            Some(uid),
            Some(gid),
            AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW,
        )
    })
}

/// Joins the user namespace as its root.
pub(super) fn enter(spec: &AppSpec, init: &OwnedFd) -> Result<()> {
    if spec.users.is_none() {
        return Ok(());
    }
    rustix::thread::move_into_thread_name_spaces(rustix::fd::AsFd::as_fd(init), ThreadNameSpaceType::USER)
        .at("join", "the pod's user namespace", STATUS)?;
    sys::set_identity(0, 0, &[])
        .map_err(|(step, errno)| failure(step, "the pod's root", words(errno), STATUS))
}

/// Makes a copy of the mounts that the user namespace owns.
pub(super) fn lock_mounts(spec: &AppSpec) -> Result<()> {
    match spec.users {
        None => Ok(()),
        Some(_) => sys::unshare(UnshareFlags::NEWNS).at("lock", "the app's mounts", STATUS),
    }
}
