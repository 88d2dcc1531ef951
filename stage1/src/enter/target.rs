//! The app that is entered: its main process, made sure of, and what the command gets from it.

use std::{
    fs,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Component, Path},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rkt_pod::{Place, PodDir, State, layout, process::Process, stage1::Supervisor};
use rustix::{
    fs::{Mode, OFlags},
    process::Pid,
};

use crate::{
    cgroup, launcher,
    sys::{self, Limit},
};

/// How often we look for an app that is about to start.
const INTERVAL: Duration = Duration::from_millis(20);

/// A running app.
#[derive(Debug)]
pub(super) struct Target {
    process: Process,
    pid_namespace: OwnedFd,
    cgroup: Option<OwnedFd>,
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
            if let Some(process) = Process::noted(Path::new("."), app)? {
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
        let path = format!("/proc/{}/ns/pid", init.pid().as_raw_nonzero());
        let pid_namespace = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .context("open the pod's PID namespace")?;
        let cgroup = cgroup_of(&process, &pod, app)?;
        if !process.runs() || !init.runs() {
            bail!("app {app:?} of pod {uuid:?} has ended");
        }
        Ok(Target { process, pid_namespace, cgroup })
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

    /// Gives our child `pid` the app's resource limits and out-of-memory score.
    pub(super) fn give_limits(&self, pid: Pid) -> Result<()> {
        let score = self.process.read("oom_score_adj")?;
        let path = format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero());
        fs::write(&path, score).with_context(|| format!("write {path}"))?;
        let limits = resource_limits(&self.process.read("limits")?)
            .context("the limits of the app's process are not as expected")?;
        sys::set_limits(pid, &limits).context("set the app's resource limits")?;
        if !self.process.runs() {
            bail!("the app has ended");
        }
        Ok(())
    }
}

/// The limits in the content of `/proc/<pid>/limits`, which has them in the order of their numbers, below a headline.
fn resource_limits(text: &str) -> Option<Vec<Limit>> {
    /// The width of the column of names, which have spaces.
    const NAMES: usize = 25;
    let number = |word: &str| if word == "unlimited" { Some(u64::MAX) } else { word.parse().ok() };
    let limits = text.lines().skip(1).map(|line| {
        let mut words = line.get(NAMES..)?.split_whitespace();
        Some((number(words.next()?)?, number(words.next()?)?))
    });
    limits.collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_prints_them() {
        let own = resource_limits(&fs::read_to_string("/proc/self/limits").unwrap()).unwrap();
        assert_eq!(own.len(), 16);
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        assert_eq!(own[7], (files.current.unwrap(), files.maximum.unwrap()));
        assert_eq!(resource_limits("Limit\nMax cpu time"), None);
    }
}
