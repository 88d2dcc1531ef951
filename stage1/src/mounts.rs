//! What stage1 opens on the host for an app: its root and its volumes, as detached mounts.
//!
//! A detached mount belongs to no mount namespace: the host never sees it, and it vanishes with its descriptor.

use std::{
    ffi::OsStr,
    os::fd::{AsFd, OwnedFd},
    path::{Component, Path},
};

use anyhow::{Context, Result, bail};
use appc::schema::{Volume, VolumeKind};
use rkt_net::names::neighbours;
use rkt_pod::{
    extras::{Owners, Tmpfs},
    files::copy_directory,
    layout,
    users::Range,
};
use rustix::{
    fs::{AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Uid},
    io::Errno,
    mount::{MountAttrFlags, OpenTreeFlags},
};

use crate::{
    overlay,
    pod::Pod,
    run::volumes::{Mount, Source},
    sys, users,
};

/// Paths in the pod's directory are ours; still nothing in it may lead out of it.
const CONFINED: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Opens a directory below `parent` without following any link.
pub(crate) fn open_beneath(parent: impl AsFd, path: impl AsRef<Path>) -> Result<OwnedFd> {
    let path = path.as_ref();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat2(parent, path, flags, Mode::empty(), CONFINED)
        .with_context(|| format!("open {}", path.display()))
}

/// The root of the pod itself, which its init has.
pub(crate) fn pod_root(pod: &Pod) -> Result<OwnedFd> {
    let root = open_beneath(&pod.directory, layout::STAGE1_ROOTFS)?;
    detach(&root, false).context("detach the pod's root")
}

/// Makes a directory in the pod's root, where it is missing: init, which may have a user namespace, could not.
pub(crate) fn make_in_pod_root(pod: &Pod, path: &str) -> Result<()> {
    let mut directory = open_beneath(&pod.directory, layout::STAGE1_ROOTFS)?;
    for name in path.split('/') {
        match rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => directory = open_beneath(&directory, name)?,
            Err(errno) => return Err(errno).with_context(|| format!("make {path} in the pod's root")),
        }
    }
    Ok(())
}

/// The file that the names of other pods come in, where the pod has one.
pub(crate) fn hosts(pod: &Pod) -> Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    match rustix::fs::openat2(&pod.directory, neighbours::FILE, flags, Mode::empty(), CONFINED) {
        Ok(file) => detach(&file, false).context("detach the pod's file of hosts").map(Some),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).context("open the pod's file of hosts"),
    }
}

/// The app's root: an overlay over its image's tree, or its own copy of it.
pub(crate) fn root(pod: &Pod, app: &str, users: Option<&OwnedFd>) -> Result<OwnedFd> {
    if Path::new(layout::OVERLAY_PREPARED).exists() {
        return overlay(pod, app, users).with_context(|| format!("app {app:?}: overlay of its root"));
    }
    let tree = open_beneath(&pod.directory, layout::app_rootfs(app))?;
    let root = detach(&tree, false).with_context(|| format!("app {app:?}: detach its root"))?;
    mapped(root, users).with_context(|| format!("app {app:?}: its root"))
}

/// A detached mount with owners as the pod's user namespace has them, where it has one.
fn mapped(mount: OwnedFd, users: Option<&OwnedFd>) -> Result<OwnedFd> {
    if let Some(users) = users {
        users::map_owners(&mount, users)?;
    }
    Ok(mount)
}

fn overlay(pod: &Pod, app: &str, users: Option<&OwnedFd>) -> Result<OwnedFd> {
    let tree_file = Path::new(layout::APPS_INFO).join(app).join(layout::APP_TREE_ID);
    let trees =
        std::fs::read_to_string(&tree_file).with_context(|| format!("read {}", tree_file.display()))?;
    let data = rustix::fs::open(&pod.data, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .with_context(|| format!("open {}", pod.data.display()))?;
    // A store of an older rkt has it when the next pod is prepared.
    let mut lower: Vec<OwnedFd> = open_beneath(&data, layout::MOUNT_POINTS).into_iter().collect();
    for tree in trees.lines() {
        let path = Path::new(layout::STORE).join("tree").join(tree).join("rootfs");
        lower.push(open_beneath(&data, path)?);
    }
    let (upper, work) = layout::app_overlay(app);
    if let (Some(users), Some(base)) = (users, upper.parent()) {
        let base = open_beneath(&pod.directory, base)?;
        let name = |path: &Path| path.file_name().unwrap_or_default().to_owned();
        return overlay::mount_mapped(&lower, &base, (&name(&upper), &name(&work)), users);
    }
    let upper = open_beneath(&pod.directory, upper)?;
    let work = open_beneath(&pod.directory, work)?;
    Ok(rkt_pod::overlay::mount(&lower, Some((&upper, &work)))?)
}

/// A detached copy of the mount at `place`, with what is mounted below it where `recursive`.
fn detach(place: &OwnedFd, recursive: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let mount = rustix::mount::open_tree(place, "", flags)?;
    sys::make_slave(&mount)?;
    Ok(mount)
}

/// What is mounted in an app, detached, with owners as `users` maps them. A device keeps its owner, who is none of the pod's.
pub(crate) fn source(
    pod: &Pod,
    mount: &Mount,
    seed: Option<(&OwnedFd, &str)>,
    users: Option<&OwnedFd>,
) -> Result<OwnedFd> {
    let detached = match &mount.source {
        Source::Volume(source) => match mount.owners {
            None => volume(pod, source, seed, users)?,
            Some(Owners::Host) => volume(pod, source, seed, None)?,
            Some(Owners::Root { uid, gid }) => {
                let users = users::with_root(Range::of_pod(Path::new("."))?, uid, gid)?;
                volume(pod, source, seed, Some(&users))?
            }
        },
        Source::Memory(tmpfs) => memory(tmpfs)
            .and_then(|mount| mapped(mount, users))
            .with_context(|| format!("tmpfs at {:?}", tmpfs.target))?,
        Source::Device(wanted) => {
            device(&wanted.source).with_context(|| format!("device {:?}", wanted.source))?
        }
        Source::Socket(path) => {
            let place = rustix::fs::openat2(
                &pod.directory,
                path,
                OFlags::PATH | OFlags::CLOEXEC,
                Mode::empty(),
                CONFINED,
            )
            .with_context(|| format!("open {path}"))?;
            mapped(detach(&place, false)?, users)?
        }
    };
    if mount.private {
        sys::make_private(&detached)?;
    }
    Ok(detached)
}

/// A file system in memory.
fn memory(tmpfs: &Tmpfs) -> Result<OwnedFd> {
    let (mode, size) = (format!("{:04o}", tmpfs.mode), tmpfs.size.map(|size| size.to_string()));
    let mut options = vec![("mode", mode.as_str())];
    options.extend(size.as_deref().map(|size| ("size", size)));
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(stage2::mounts::filesystem("tmpfs", &options, attributes)?)
}

/// A device of the host, which must be one, and the very one that was looked at.
fn device(path: &str) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_MAGICLINKS;
    let place = rustix::fs::openat2(CWD, path, flags, Mode::empty(), resolve)?;
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode);
    if !matches!(kind, rustix::fs::FileType::CharacterDevice | rustix::fs::FileType::BlockDevice) {
        bail!("it is no device");
    }
    Ok(detach(&place, false)?)
}

/// A volume as a detached mount. One with a `seed`, a root and a path in it, starts as a copy of what is there.
fn volume(
    pod: &Pod,
    volume: &Volume,
    seed: Option<(&OwnedFd, &str)>,
    users: Option<&OwnedFd>,
) -> Result<OwnedFd> {
    let name = volume.name.as_str();
    match &volume.kind {
        VolumeKind::Host { source, recursive } => {
            host_volume(Path::new(source.as_str()), recursive.unwrap_or(true))
                .and_then(|mount| mapped(mount, users))
                .with_context(|| format!("volume {name:?}: source {source:?}"))
        }
        VolumeKind::Empty { mode, uid, gid } => {
            let made = match seed.and_then(|(root, path)| directory_in(root, path)) {
                // What is copied out of a root with mapped owners belongs to the host's users already.
                Some(from) => seeded_volume(pod, name, &from),
                None => empty_volume(pod, name, *mode, *uid, *gid).and_then(|mount| mapped(mount, users)),
            };
            made.with_context(|| format!("volume {name:?}"))
        }
    }
}

/// Opens a volume's source as what the user named, not as what a link on the way makes of it (appc spec, volumes),
/// and mounts what was opened.
fn host_volume(source: &Path, recursive: bool) -> Result<OwnedFd> {
    if source.components().any(|part| part == Component::ParentDir) {
        bail!("\"..\" is not allowed in a source");
    }
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let place = match rustix::fs::openat2(CWD, source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
    {
        Ok(place) => place,
        Err(Errno::LOOP) => match std::fs::canonicalize(source) {
            Ok(real) => {
                bail!("a part of the path is a symbolic link; give the real path, {}", real.display())
            }
            Err(_) => bail!("a part of the path is a symbolic link"),
        },
        Err(errno) => return Err(errno.into()),
    };
    Ok(detach(&place, recursive)?)
}

/// The directory that a root has at a path. Where it has none, there is nothing to start with.
fn directory_in(root: &OwnedFd, path: &str) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags, Mode::empty(), resolve).ok()
}

/// A volume with the content, owner and mode of a directory of an image, which it gets once.
fn seeded_volume(pod: &Pod, name: &str, from: &OwnedFd) -> Result<OwnedFd> {
    let volumes = make_directory(&pod.directory, OsStr::new(layout::SHARED_VOLUMES), 0o755)?;
    let exists = rustix::fs::statat(&volumes, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    let place = make_directory(&volumes, OsStr::new(name), 0o755)?;
    if !exists {
        let path = Path::new(layout::SHARED_VOLUMES).join(name);
        copy_directory(from, &path).context("copy what the image has there")?;
    }
    Ok(detach(&place, false)?)
}

fn empty_volume(pod: &Pod, name: &str, mode: u32, uid: u32, gid: u32) -> Result<OwnedFd> {
    let volumes = make_directory(&pod.directory, OsStr::new(layout::SHARED_VOLUMES), 0o755)?;
    let place = make_directory(&volumes, OsStr::new(name), 0o755)?;
    rustix::fs::chownat(&place, "", Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH)
        .context("set its owner")?;
    rustix::fs::chmodat(&volumes, name, Mode::from_raw_mode(mode), AtFlags::empty())
        .context("set its mode")?;
    Ok(detach(&place, false)?)
}

fn make_directory(parent: &OwnedFd, name: &OsStr, mode: u32) -> Result<OwnedFd> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(mode)) {
        Ok(()) | Err(Errno::EXIST) => open_beneath(parent, Path::new(name)),
        Err(errno) => Err(errno).with_context(|| format!("make directory {}", name.display())),
    }
}
