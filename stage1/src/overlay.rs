//! Overlays: an app's own layer over those of its image, as a detached mount.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    os::fd::{AsRawFd, OwnedFd},
    thread,
};

use anyhow::{Context, Result, anyhow, bail};
use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
        fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount,
        open_tree,
    },
};

use crate::{mounts, sys, users};

/// Bytes of one option's value (fsconfig(2)).
const VALUE: usize = 255;

/// How the kernel is told the lower layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lower {
    /// Each in an option of its own (Linux 6.8).
    Each,
    /// All in one, by the numbers of their descriptors: with longer names most would not fit.
    Numbers,
}

/// Mounts an overlay over `lower`, whose lowest layer comes first.
pub(crate) fn mount(lower: &[OwnedFd], upper: &OwnedFd, work: &OwnedFd) -> Result<OwnedFd> {
    match with(lower, upper, work, Lower::Each) {
        // Before Linux 6.8 the layers are in one option; before 6.5 one that there is not is noticed last.
        Err(Errno::INVAL) if lower.len() > 1 => {
            if number_list(lower).len() > VALUE {
                bail!("{} layers are more than this kernel stacks; use --no-overlay", lower.len());
            }
            among_descriptors(lower, upper, work)
        }
        other => Ok(other?),
    }
}

/// The same with owners of the lower layers as a user namespace maps them. The upper layer's are those of the host. `upper`
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
        self::mount(&layers, &upper, &work)
    };
    thread::scope(|scope| scope.spawn(mount).join())
        .map_err(|_| anyhow!("the thread that mounts has failed"))?
}

/// Mounts from the directory whose files have the shortest names: the numbers of our descriptors. No thread is made for it: a
/// process whose children are born in another PID namespace cannot have one, and none that we have uses relative paths.
fn among_descriptors(lower: &[OwnedFd], upper: &OwnedFd, work: &OwnedFd) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let own = rustix::fs::open(".", flags, Mode::empty()).context("open the pod's directory")?;
    rustix::process::chdir("/proc/self/fd").context("open /proc/self/fd")?;
    let mounted = with(lower, upper, work, Lower::Numbers);
    rustix::process::fchdir(own).context("go back to the pod's directory")?;
    Ok(mounted?)
}

fn with(lower: &[OwnedFd], upper: &OwnedFd, work: &OwnedFd, how: Lower) -> rustix::io::Result<OwnedFd> {
    // A volatile overlay is not synced when it is unmounted: a pod's changes are of no use after a power cut, and
    // the sync would make each pod's end wait for the disk.
    match build(lower, upper, work, how, true) {
        Err(Errno::INVAL) => build(lower, upper, work, how, false),
        result => result,
    }
}

fn build(
    lower: &[OwnedFd],
    upper: &OwnedFd,
    work: &OwnedFd,
    how: Lower,
    volatile: bool,
) -> rustix::io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", "rkt")?;
    // Through our descriptors the kernel takes what was checked, and no character of a path needs escaping.
    let path = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    match (lower, how) {
        ([only], _) => fsconfig_set_string(&context, "lowerdir", path(only))?,
        (_, Lower::Each) => {
            for layer in lower.iter().rev() {
                fsconfig_set_string(&context, "lowerdir+", path(layer))?;
            }
        }
        (_, Lower::Numbers) => fsconfig_set_string(&context, "lowerdir", number_list(lower))?,
    }
    for (key, fd) in [("upperdir", upper), ("workdir", work)] {
        fsconfig_set_string(&context, key, path(fd))?;
    }
    if volatile {
        fsconfig_set_flag(&context, "volatile")?;
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// The numbers of the layers' descriptors, the highest layer first.
fn number_list(lower: &[OwnedFd]) -> String {
    let mut list = String::new();
    for layer in lower.iter().rev() {
        let colon = if list.is_empty() { "" } else { ":" };
        if write!(list, "{colon}{}", layer.as_raw_fd()).is_err() {
            // Writing to a string does not fail.
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn layers_are_stacked_either_way() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let base = tempfile::tempdir_in("/var/tmp").unwrap();
        let open = |path: &Path| {
            fs::create_dir_all(path).unwrap();
            rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap()
        };
        let read = |mount: &OwnedFd, name: &str| {
            let fd = rustix::fs::openat(mount, name, OFlags::RDONLY, Mode::empty()).unwrap();
            std::io::read_to_string(fs::File::from(fd)).unwrap()
        };
        let lower: Vec<OwnedFd> = (0..40).map(|n| open(&base.path().join(format!("lower,:{n}")))).collect();
        for n in 0..40 {
            let layer = base.path().join(format!("lower,:{n}"));
            fs::write(layer.join("top"), n.to_string()).unwrap();
            fs::write(layer.join(format!("own-{n}")), n.to_string()).unwrap();
        }
        let (upper, work) = (open(&base.path().join("upper")), open(&base.path().join("work")));
        {
            let mount = mount(&lower, &upper, &work).unwrap();
            assert_eq!((read(&mount, "top").as_str(), read(&mount, "own-7").as_str()), ("39", "7"));
        }
        // A volatile overlay can be mounted once.
        let (upper, work) = (open(&base.path().join("upper-2")), open(&base.path().join("work-2")));
        let before = std::env::current_dir().unwrap();
        let mount = among_descriptors(&lower, &upper, &work).unwrap();
        assert_eq!((read(&mount, "top").as_str(), read(&mount, "own-7").as_str()), ("39", "7"));
        assert_eq!(std::env::current_dir().unwrap(), before);
    }
}
