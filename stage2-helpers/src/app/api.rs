//! File systems and device nodes that every app finds (appc spec, OS features for Linux).

use std::os::fd::OwnedFd;

use rustix::{
    fs::{FileType, Mode, makedev},
    io::Errno,
    mount::MountAttrFlags,
};

use crate::{
    control::exit,
    failure::{At, Result, failure},
    mounts,
    spec::AppSpec,
    sys,
};

const STATUS: u8 = exit::NAMESPACE;

/// Character devices: name, mode, major, minor. A console that nobody watches swallows what is written to it.
const DEVICES: [(&str, u32, u32, u32); 7] = [
    ("null", 0o666, 1, 3),
    ("zero", 0o666, 1, 5),
    ("full", 0o666, 1, 7),
    ("random", 0o666, 1, 8),
    ("urandom", 0o666, 1, 9),
    ("tty", 0o666, 5, 0),
    ("console", 0o620, 1, 3),
];

const LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

const MAGIC_PROC: i64 = 0x9fa0;
const MAGIC_SYSFS: i64 = 0x6265_6572;
const MAGIC_TMPFS: i64 = 0x0102_1994;

/// The terminal at `stdin` as something to mount. Made on the host, where it is.
pub(super) fn copy_of_terminal(stdin: &OwnedFd) -> Result<OwnedFd> {
    mounts::copy(stdin, "").at("open", "the terminal", exit::STDIN)
}

/// The mounted file systems of the kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    /// `/proc`.
    pub(super) proc: OwnedFd,
    /// `/sys`.
    pub(super) sys: OwnedFd,
    /// `/dev`.
    pub(super) dev: OwnedFd,
}

/// Mounts all of them into `root`.
pub(super) fn mount_all(
    spec: &AppSpec,
    root: &OwnedFd,
    pod: &OwnedFd,
    console: Option<OwnedFd>,
) -> Result<Kernel> {
    let quiet = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let hidden = quiet | MountAttrFlags::MOUNT_ATTR_NODEV;
    let proc = mount(root, "proc", "proc", &[], hidden, MAGIC_PROC)?;
    let sys_flags = if spec.unprotected_paths { hidden } else { hidden | MountAttrFlags::MOUNT_ATTR_RDONLY };
    let sys = mount(root, "sys", "sysfs", &[], sys_flags, MAGIC_SYSFS)?;
    own_cgroups(spec, &sys, hidden)?;
    let dev = mount(root, "dev", "tmpfs", &[("mode", "0755"), ("size", "64k")], quiet, MAGIC_TMPFS)?;
    devices(&dev)?;
    if let Some(console) = console {
        let place = mounts::place(&dev, "console").at("open", "/dev/console", STATUS)?;
        mounts::attach(console, place).at("mount", "/dev/console", STATUS)?;
    }
    let pts = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
    let pts = mounts::filesystem("devpts", &pts, quiet).at("make file system", "devpts", STATUS)?;
    put(&dev, "pts", pts)?;
    // Shared by all apps of the pod.
    for name in ["shm", "mqueue"] {
        let path = format!("dev/{name}");
        put(&dev, name, mounts::copy(pod, &path).at("open", format!("the pod's /{path}"), STATUS)?)?;
    }
    temporary_directory(root)?;
    Ok(Kernel { proc, sys, dev })
}

/// Has nothing made in `/dev` any more, so that no device gets in that was not given.
pub(super) fn close_devices(kernel: &Kernel) -> Result<()> {
    sys::set_attributes(&kernel.dev, sys::Attributes::READ_ONLY, false).at("make read-only", "/dev", STATUS)
}

/// Mounts a new file system onto a directory of the image, which must be one, and checks that it is there.
fn mount(
    root: &OwnedFd,
    path: &str,
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
    magic: i64,
) -> Result<OwnedFd> {
    let place = directory(root, path)?;
    let mount = mounts::filesystem(kind, options, attributes).at("make file system", kind, STATUS)?;
    mounts::attach(&mount, place).at("mount", format!("/{path}"), STATUS)?;
    let opened = mounts::directory(root, path).at("open", format!("/{path}"), STATUS)?;
    let found = rustix::fs::fstatfs(&opened).at("check", format!("/{path}"), STATUS)?;
    if found.f_type != magic {
        return Err(failure("mount", format!("/{path}"), "something else is there", STATUS));
    }
    Ok(mount)
}

fn directory(root: &OwnedFd, path: &str) -> Result<OwnedFd> {
    match mounts::directory(root, path) {
        Err(Errno::LOOP) => {
            Err(failure("mount", format!("/{path}"), "the image has a symbolic link in its place", STATUS))
        }
        other => other.at("mount", format!("/{path}"), STATUS),
    }
}

fn put(root: &OwnedFd, name: &str, mount: OwnedFd) -> Result<()> {
    let place = mounts::directory(root, name).at("make directory", format!("/dev/{name}"), STATUS)?;
    mounts::attach(mount, place).at("mount", format!("/dev/{name}"), STATUS)
}

/// The app's own cgroups, to look at, and nothing else of `/sys/fs`. A kernel without cgroup2 has none to show.
fn own_cgroups(spec: &AppSpec, sys: &OwnedFd, attributes: MountAttrFlags) -> Result<()> {
    if !spec.unprotected_paths {
        let cover = mounts::filesystem("tmpfs", &[("mode", "0755"), ("size", "4k")], attributes).at(
            "make file system",
            "tmpfs",
            STATUS,
        )?;
        rustix::fs::mkdirat(&cover, "cgroup", Mode::from_raw_mode(0o755)).at(
            "make directory",
            "/sys/fs/cgroup",
            STATUS,
        )?;
        let place = mounts::place(sys, "fs").at("open", "/sys/fs", STATUS)?;
        mounts::attach(&cover, place).at("mount", "/sys/fs", STATUS)?;
        sys::set_attributes(&cover, sys::Attributes::READ_ONLY, false).at(
            "make read-only",
            "/sys/fs",
            STATUS,
        )?;
    }
    if !spec.own_cgroup {
        return Ok(());
    }
    let place = match mounts::place(sys, "fs/cgroup") {
        Ok(place) => place,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno).at("open", "/sys/fs/cgroup", STATUS),
    };
    let attributes = attributes | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let mount = mounts::filesystem("cgroup2", &[], attributes).at("make file system", "cgroup2", STATUS)?;
    mounts::attach(mount, place).at("mount", "/sys/fs/cgroup", STATUS)
}

fn devices(dev: &OwnedFd) -> Result<()> {
    for (name, mode, major, minor) in DEVICES {
        node(dev, name, mode, major, minor)?;
    }
    rustix::fs::mkdirat(dev, "net", Mode::from_raw_mode(0o755)).at("make directory", "/dev/net", STATUS)?;
    node(dev, "net/tun", 0o666, 10, 200)?;
    for (name, target) in LINKS {
        rustix::fs::symlinkat(target, dev, name).at("make link", format!("/dev/{name}"), STATUS)?;
    }
    Ok(())
}

fn node(dev: &OwnedFd, name: &str, mode: u32, major: u32, minor: u32) -> Result<()> {
    let mode = Mode::from_raw_mode(mode);
    let object = || format!("/dev/{name}");
    rustix::fs::mknodat(dev, name, FileType::CharacterDevice, mode, makedev(major, minor)).at(
        "make device",
        object(),
        STATUS,
    )?;
    // The umask took its part.
    rustix::fs::chmodat(dev, name, mode, rustix::fs::AtFlags::empty()).at("set mode", object(), STATUS)
}

/// `/tmp`, where the image has none.
fn temporary_directory(root: &OwnedFd) -> Result<()> {
    match rustix::fs::mkdirat(root, "tmp", Mode::from_raw_mode(0o1777)) {
        Ok(()) => rustix::fs::chmodat(root, "tmp", Mode::from_raw_mode(0o1777), rustix::fs::AtFlags::empty())
            .at("set mode", "/tmp", STATUS),
        Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).at("make directory", "/tmp", STATUS),
    }
}
