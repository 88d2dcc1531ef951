//! Mounting with descriptors: what is mounted is made detached, where it goes is opened without following links.

use std::{os::fd::OwnedFd, path::Path};

use rustix::{
    fd::AsFd,
    fs::{Mode, OFlags, ResolveFlags},
    io::{Errno, Result},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
        fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
        unmount,
    },
};

/// Nothing in an image leads out of it, and no link of procfs leads anywhere.
const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// How often a path is looked up anew. Each time something else on the machine was mounted or renamed meanwhile.
const MAX_LOOKUPS: u32 = 10_000;

/// Opens a path in `root`, which leads nowhere out of it; `resolve` may forbid more.
///
/// A `..` on the way makes the kernel give up (`EAGAIN`) whenever anything is mounted or renamed at the same moment,
/// anywhere: it could not be sure that the path stays inside. Then it is looked up again.
///
/// # Errors
/// What openat2(2) says.
pub fn open_in_root(
    root: impl AsFd,
    path: impl AsRef<Path>,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd> {
    let (root, path, flags) = (root.as_fd(), path.as_ref(), flags | OFlags::CLOEXEC);
    let look = || rustix::fs::openat2(root, path, flags, Mode::empty(), IN_ROOT | resolve);
    for _ in 1..MAX_LOOKUPS {
        match look() {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    look()
}

/// A new file system, mounted nowhere yet. Options without a value are flags.
///
/// # Errors
/// What the kernel says.
pub fn filesystem(kind: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in options {
        if value.is_empty() {
            fsconfig_set_flag(&context, *name)?;
        } else {
            fsconfig_set_string(&context, *name, *value)?;
        }
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// A detached copy of what is mounted at `path`.
///
/// # Errors
/// What the kernel says.
pub fn copy(directory: impl AsFd, path: impl AsRef<Path>) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    open_tree(directory, path.as_ref(), flags)
}

/// Mounts what is detached onto an open place.
///
/// # Errors
/// What the kernel says.
pub fn attach(mount: impl AsFd, place: impl AsFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", place, "", flags)
}

/// Opens a place in `root` to mount on, following nothing: neither it nor a directory above may be a link.
///
/// # Errors
/// `ELOOP` where one is.
pub fn place(root: impl AsFd, path: impl AsRef<Path>) -> Result<OwnedFd> {
    open_in_root(root, path, OFlags::PATH, ResolveFlags::NO_SYMLINKS)
}

/// Opens a directory in `root` to mount on; it is made (mode 0755) where it is missing.
///
/// # Errors
/// `ELOOP` where it is a link, `ENOTDIR` where it is no directory.
pub fn directory(root: impl AsFd, path: impl AsRef<Path>) -> Result<OwnedFd> {
    let (root, path) = (root.as_fd(), path.as_ref());
    let open = || open_in_root(root, path, OFlags::PATH | OFlags::DIRECTORY, ResolveFlags::NO_SYMLINKS);
    match open() {
        Err(Errno::NOENT) => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let name = path.file_name().ok_or(Errno::INVAL)?;
            let made = match parent {
                Some(parent) => {
                    rustix::fs::mkdirat(directory(root, parent)?, name, Mode::from_raw_mode(0o755))
                }
                None => rustix::fs::mkdirat(root, name, Mode::from_raw_mode(0o755)),
            };
            match made {
                Ok(()) | Err(Errno::EXIST) => open(),
                Err(errno) => Err(errno),
            }
        }
        other => other,
    }
}

/// Makes the mount `root` the root directory, and detaches the old one with everything below it.
///
/// # Errors
/// What the kernel says.
pub fn change_root(root: impl AsFd) -> Result<()> {
    rustix::process::fchdir(root)?;
    // The new root is put below itself; what is then on top at "." is the old root.
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}

/// The root of the pod, whose namespaces this process has joined.
///
/// # Errors
/// What the kernel says.
pub fn pod_root() -> Result<OwnedFd> {
    rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}
