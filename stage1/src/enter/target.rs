//! The app that is entered: its main process, made sure of, and what the command gets from it.

use std::{
    fs,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Component, Path},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rkt_pod::{Place, PodDir, State, layout, stage1::Supervisor};
use rustix::{
    fs::{Mode, OFlags},
    process::Pid,
};

use crate::{
    cgroup, launcher,
    process::{Process, own_namespace},
    sys,
};

/// How often we look for an app that is about to start.
const INTERVAL: Duration = Duration::from_millis(20);

/// A running app.
#[derive(Debug)]
pub(super) struct Target {
    process: Process,
    pid_namespace: OwnedFd,
    cgroup: Option<OwnedFd>,
    own_users: bool,
}

impl Target {
    /// Finds the app in the pod whose directory is the working directory, and whose init has this PID. Waits for an app
    /// that is about to start.
    pub(super) fn find(init: Pid, app: &str) -> Result<Target> {
        let pod = this_pod()?;
        let uuid = pod.uuid().to_owned();
        // Pinned first: while the pod runs after that, its init was what the PID named.
        let init = Process::open(init)?.filter(|init| Some(init.pid()) == noted_init());
        let (Some(init), State::Running) = (init, pod.state()?) else {
            bail!("pod {uuid:?} is not running");
        };
        let process = loop {
            if let Some(process) = Process::noted(app)? {
                break process;
            }
            if fs::symlink_metadata(layout::app_status(app)).is_ok() {
                bail!("app {app:?} of pod {uuid:?} has ended");
            }
            if !init.runs() || pod.state()? != State::Running {
                bail!("pod {uuid:?} has ended");
            }
            sleep(INTERVAL);
        };
        let is_built = process.namespace("mnt")? != init.namespace("mnt")?;
        if process.namespace("pid")? != init.namespace("pid")? || !is_built {
            bail!("process {} is not app {app:?} of pod {uuid:?}", process.pid().as_raw_nonzero());
        }
        let own_users = process.namespace("user")? != own_namespace("user")?;
        let path = format!("/proc/{}/ns/pid", init.pid().as_raw_nonzero());
        let pid_namespace = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .context("open the pod's PID namespace")?;
        let cgroup = cgroup_of(&process, &pod, app)?;
        if !process.runs() || !init.runs() {
            bail!("app {app:?} of pod {uuid:?} has ended");
        }
        Ok(Target { process, pid_namespace, cgroup, own_users })
    }

    /// A pidfd of the app's main process, by which its namespaces are joined.
    pub(super) fn process(&self) -> BorrowedFd<'_> {
        self.process.pidfd()
    }

    /// The pod's PID namespace.
    pub(super) fn pid_namespace(&self) -> BorrowedFd<'_> {
        self.pid_namespace.as_fd()
    }

    /// The app's cgroup, where it has one.
    pub(super) fn cgroup(&self) -> Option<BorrowedFd<'_>> {
        self.cgroup.as_ref().map(AsFd::as_fd)
    }

    /// Whether the app is in another user namespace than we are.
    pub(super) fn has_own_users(&self) -> bool {
        self.own_users
    }

    /// Gives our child `pid` the app's resource limits and out-of-memory score.
    pub(super) fn give_limits(&self, pid: Pid) -> Result<()> {
        let score = self.process.read("oom_score_adj")?;
        let path = format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero());
        fs::write(&path, score).with_context(|| format!("write {path}"))?;
        sys::copy_limits(self.process.pid(), pid).context("copy the app's resource limits")?;
        if !self.process.runs() {
            bail!("the app has ended");
        }
        Ok(())
    }
}

/// The pod whose directory is the working directory.
fn this_pod() -> Result<PodDir> {
    let path = std::env::current_dir().context("find the pod's directory")?;
    let uuid = path.file_name().and_then(|name| name.to_str()).filter(|name| rkt_pod::lookup::is_uuid(name));
    match (uuid, path.ancestors().nth(3)) {
        (Some(uuid), Some(data)) => Ok(PodDir::new(data, Place::Run, uuid)),
        _ => bail!("{} is not the directory of a pod", path.display()),
    }
}

fn noted_init() -> Option<Pid> {
    Pid::from_raw(fs::read_to_string(layout::PID).ok()?.trim().parse().ok()?)
}

/// The cgroup of the app's process, which must be one that this app may be in: its own, or one below that it has made.
fn cgroup_of(process: &Process, pod: &PodDir, app: &str) -> Result<Option<OwnedFd>> {
    let own = match pod.runtime_state()?.supervisor {
        Supervisor::Systemd => launcher::app_unit(pod.uuid(), app),
        // A pod without a cgroup of its own has none for its apps.
        _ if !Path::new(layout::SUBCGROUP).exists() => return Ok(None),
        _ => format!("{app}.service"),
    };
    let Some(mount) = cgroup::mount_point() else { return Ok(None) };
    let table = process.read("cgroup")?;
    let Some(path) = table.lines().find_map(|line| line.strip_prefix("0::/")) else { return Ok(None) };
    let mut parts = Path::new(path).components();
    let is_confined = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if !is_confined || !parts.any(|part| part.as_os_str() == own.as_str()) {
        bail!("process {} is in cgroup /{path}, which is not below {own}", process.pid().as_raw_nonzero());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let cgroup = rustix::fs::open(mount.join(path), flags, Mode::empty())
        .with_context(|| format!("open cgroup /{path}"))?;
    Ok(Some(cgroup))
}
