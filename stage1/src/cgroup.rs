//! The cgroups of a pod under the direct launcher: `<own cgroup>/rkt-<uuid>/{init.scope,<app>.service}`.
//!
//! Names with a dot cannot meet an app's name, which has none.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rkt_pod::layout;
use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
};

use crate::{
    resources::{self, Controller, Limits},
    sys,
};

/// How long the processes of an app that was killed may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pod's cgroup directory and what was made below it.
#[derive(Debug)]
pub(crate) struct PodCgroup {
    directory: OwnedFd,
    path: PathBuf,
    /// Where we are ourselves, once we had to leave the cgroup above.
    retreat: Option<PathBuf>,
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
        Ok(PodCgroup { directory, path, retreat: None })
    }

    /// Makes controllers available to the pod's cgroup and those below it. Returns the ones that are not to be had, and why.
    pub(crate) fn enable(&mut self, controllers: &[Controller]) -> Vec<(Controller, String)> {
        let mut missing = Vec::new();
        for controller in controllers {
            if let Err(reason) = self.enable_one(*controller) {
                missing.push((*controller, reason));
            }
        }
        missing
    }

    fn enable_one(&mut self, controller: Controller) -> Result<(), String> {
        let above = self.path.parent().ok_or("the pod's cgroup has none above it")?.to_owned();
        let given = fs::read_to_string(above.join("cgroup.controllers")).unwrap_or_default();
        if !given.split_whitespace().any(|name| name == controller.name()) {
            return Err(format!("cgroup {} has no controller {controller}", above.display()));
        }
        let failed =
            |error: io::Error| format!("enable controller {controller} in {}: {error}", above.display());
        match delegate(&above, controller) {
            // Who passes controllers on must not have processes itself. We can leave; others we leave alone.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && self.retreat.is_none() => {
                self.leave().map_err(failed)?;
                delegate(&above, controller).map_err(|_| {
                    format!(
                        "cgroup {} has processes besides rkt; start rkt in a cgroup of its own (systemd-run --scope)",
                        above.display()
                    )
                })?;
            }
            result => result.map_err(failed)?,
        }
        delegate(&self.path, controller).map_err(failed)
    }

    /// Moves this process to a cgroup beside the pod's.
    fn leave(&mut self) -> io::Result<()> {
        let retreat = retreat(&self.path);
        match fs::create_dir(&retreat) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        fs::write(retreat.join("cgroup.procs"), "0")?;
        self.retreat = Some(retreat);
        Ok(())
    }

    /// Moves this process back to where it came from.
    fn come_back(&self, retreat: &Path) -> io::Result<()> {
        let Some(above) = self.path.parent() else { return Ok(()) };
        for controller in Controller::ALL {
            if fs::write(above.join("cgroup.subtree_control"), format!("-{controller}")).is_err() {
                // It was not passed on, or others below want it.
            }
        }
        fs::write(above.join("cgroup.procs"), "0")?;
        remove_tree(retreat)
    }

    /// Limits the pod as a whole. The error says what could not be written.
    pub(crate) fn limit(&self, limits: &Limits, devices: &[String]) -> Result<(), String> {
        resources::cgroup::limit(&self.directory, limits, devices)
    }

    /// Keeps the pod from no device. Whether this works tells whether apps can be kept to theirs.
    pub(crate) fn allow_devices(&self) -> Result<(), Errno> {
        sys::allow_devices(&self.directory)
    }

    /// Makes a cgroup below the pod's.
    pub(crate) fn child(&self, name: &str) -> Result<OwnedFd, Errno> {
        make(&self.directory, Path::new(name))
    }

    /// Removes one below the pod's, whose processes are about to be gone. A missing one is fine.
    pub(crate) fn remove_child(&self, name: &str) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match remove_tree(&self.path.join(name)) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                other => return other,
            }
        }
    }

    /// Removes the pod's cgroups. Their processes are gone.
    pub(crate) fn remove(&self) -> io::Result<()> {
        remove_tree(&self.path)?;
        match &self.retreat {
            Some(retreat) => self.come_back(retreat),
            None => Ok(()),
        }
    }
}

/// Where the supervisor of a pod goes that had to leave the cgroup above the pod's.
pub(crate) fn retreat(pod: &Path) -> PathBuf {
    let mut name = pod.as_os_str().to_owned();
    name.push(".supervisor");
    PathBuf::from(name)
}

/// Passes a controller on to the cgroups below one.
fn delegate(cgroup: &Path, controller: Controller) -> io::Result<()> {
    fs::write(cgroup.join("cgroup.subtree_control"), format!("+{controller}"))
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
