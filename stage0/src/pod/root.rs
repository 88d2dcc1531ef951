//! The root of an app, as the host sees it.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result, bail};
use rkt_pod::{PodDir, layout, overlay, process::Process};
use rustix::fs::{Mode, OFlags, ResolveFlags};

/// Paths in the data directory are ours; still nothing in it may lead out of it.
const CONFINED: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens the root of an app that runs, as its main process sees it: a place, to look for paths in.
pub(crate) fn of_running(pod: &PodDir, app: &str) -> Result<OwnedFd> {
    let process = Process::noted(&pod.path(), app)?;
    let process = process.with_context(|| format!("app {app:?} of pod {} is not running", pod.uuid()))?;
    let root = process.root()?;
    // Of the process that was noted, unless it has ended meanwhile.
    if !process.runs() {
        bail!("app {app:?} of pod {} has ended", pod.uuid());
    }
    Ok(root)
}

/// Opens the root of an app that does not run, for reading: its image with what the app has changed.
pub(crate) fn of_exited(pod: &PodDir, app: &str) -> Result<OwnedFd> {
    let state = pod.state()?;
    if !state.is_exited() {
        bail!("pod {:?} has not exited (it is {state})", pod.uuid());
    }
    let path = pod.path();
    let data =
        path.ancestors().nth(3).with_context(|| format!("{} is not a pod's directory", path.display()))?;
    let data = rustix::fs::open(data, DIRECTORY, Mode::empty())
        .with_context(|| format!("open {}", data.display()))?;
    let pod = rustix::fs::open(&path, DIRECTORY, Mode::empty())
        .with_context(|| format!("open {}", path.display()))?;
    let open = |base: &OwnedFd, path: &std::path::Path| {
        rustix::fs::openat2(base, path, DIRECTORY, Mode::empty(), CONFINED)
            .with_context(|| format!("open {}", path.display()))
    };
    if !path.join(layout::OVERLAY_PREPARED).exists() {
        return open(&pod, &layout::app_rootfs(app));
    }
    let file = path.join(layout::APPS_INFO).join(app).join(layout::APP_TREE_ID);
    let trees = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let mut layers: Vec<OwnedFd> = open(&data, layout::MOUNT_POINTS.as_ref()).into_iter().collect();
    for tree in trees.lines() {
        layers
            .push(open(&data, &std::path::Path::new(layout::STORE).join("tree").join(tree).join("rootfs"))?);
    }
    layers.push(open(&pod, &layout::app_overlay(app).0)?);
    let mount = overlay::mount(&layers, None).with_context(|| format!("app {app:?}: stack its layers"))?;
    // What mounting gives is a place, and cannot be read.
    rustix::fs::openat(mount, ".", DIRECTORY, Mode::empty())
        .with_context(|| format!("app {app:?}: open its root"))
}
