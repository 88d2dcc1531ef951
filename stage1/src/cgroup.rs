//! The cgroups of a pod under the direct launcher: `<own cgroup>/rkt-<uuid>/{init.scope,<app>.service}`.
//!
//! Names with a dot cannot meet an app's name, which has none.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rkt_pod::layout;
use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
};

/// The pod's cgroup directory and what was made below it.
#[derive(Debug)]
pub(crate) struct PodCgroup {
    directory: OwnedFd,
    path: PathBuf,
}

/// Where cgroup2 is mounted: alone, or beside version 1.
pub(crate) fn mount_point() -> Option<&'static Path> {
    const CGROUP2_MAGIC: i64 = 0x6367_7270;
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .map(Path::new)
        .into_iter()
        .find(|path| rustix::fs::statfs(*path).is_ok_and(|fs| fs.f_type == CGROUP2_MAGIC))
}

impl PodCgroup {
    /// Makes the pod's cgroup below that of this process, and notes it in the pod's directory first: whoever cleans up
    /// after us finds it whenever we die. The error is a reason to go on without.
    pub(crate) fn create(pod: impl AsFd, uuid: &str) -> Result<PodCgroup, String> {
        let mount = mount_point().ok_or("no cgroup2 file system is mounted")?;
        let own =
            fs::read_to_string("/proc/self/cgroup").map_err(|error| format!("read own cgroup: {error}"))?;
        let own =
            own.lines().find_map(|line| line.strip_prefix("0::/")).ok_or("this process has no cgroup2")?;
        let relative = if own.is_empty() { format!("rkt-{uuid}") } else { format!("{own}/rkt-{uuid}") };
        let path = mount.join(&relative);
        rkt_pod::directory::write_atomically(pod, layout::SUBCGROUP.as_ref(), relative.as_bytes(), 0o640)
            .map_err(|errno| format!("note the pod's cgroup: {errno}"))?;
        let directory =
            make(CWD, &path).map_err(|error| format!("make cgroup {}: {error}", path.display()))?;
        Ok(PodCgroup { directory, path })
    }

    /// Makes a cgroup below the pod's.
    pub(crate) fn child(&self, name: &str) -> Result<OwnedFd, Errno> {
        make(&self.directory, Path::new(name))
    }

    /// Removes the pod's cgroups. Their processes are gone.
    pub(crate) fn remove(&self) -> io::Result<()> {
        remove_tree(&self.path)
    }
}

fn make(parent: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    match rustix::fs::mkdirat(&parent, path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    rustix::fs::openat(&parent, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Removes a cgroup and all below it; a missing one is fine.
///
/// # Errors
/// Where one still has processes (`EBUSY`), or for other reasons of the kernel.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
