//! Overlays whose lower layers show owners as a user namespace maps them.

use std::{ffi::OsStr, os::fd::OwnedFd, thread};

use anyhow::{Context, Result, anyhow};
use rkt_pod::overlay;
use rustix::{
    fs::CWD,
    mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount, open_tree},
};

use crate::{mounts, sys, users};

/// Mounts an overlay over `lower`, whose lowest layer comes first, with owners as the user namespace maps them. The upper layer's
/// are those of the host. `upper`
/// and `work` are names in `base`. Must not be called once this process's children are born in another PID namespace.
pub(crate) fn mount_mapped(
    lower: &[OwnedFd],
    base: &OwnedFd,
    (upper, work): (&OsStr, &OsStr),
    user_namespace: &OwnedFd,
) -> Result<OwnedFd> {
    let detach = |place: &OwnedFd| {
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        let mount = open_tree(place, "", flags)?;
        // A copy of a shared mount is its peer: what is mounted over the one would be seen in the other, the host's.
        sys::make_private(&mount)?;
        rustix::io::Result::Ok(mount)
    };
    let base = detach(base).context("detach the upper layer")?;
    let mut layers = Vec::with_capacity(lower.len());
    for layer in lower {
        let layer = detach(layer).context("detach a layer")?;
        users::map_owners(&layer, user_namespace)?;
        layers.push(layer);
    }
    let mount = || {
        // Kernels before 6.15 take as layers only what is mounted, where who mounts can see it.
        sys::own_mounts().context("split off the mounts of a thread")?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .context("make a thread's mounts private")?;
        for mount in layers.iter().chain([&base]) {
            // One over the other, over a directory that every machine has and this thread has no need of.
            move_mount(mount, "", CWD, "/dev", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
                .context("attach a layer")?;
        }
        let upper = mounts::open_beneath(&base, upper)?;
        let work = mounts::open_beneath(&base, work)?;
        Ok(overlay::mount(&layers, Some((&upper, &work)))?)
    };
    thread::scope(|scope| scope.spawn(mount).join())
        .map_err(|_| anyhow!("the thread that mounts has failed"))?
}
