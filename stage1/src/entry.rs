//! The entry points that act on the pod of another process: `stop` and `gc`.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rkt_pod::{Place, PodDir, State, layout, stage1::Supervisor};
use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal},
};

use crate::{cgroup, journal, launcher, network};

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// `stop [--force] UUID`: asks the pod's supervisor to end the pod, or kills it.
pub(crate) fn stop() -> Result<u8> {
    let (flags, uuid) = arguments(&["--force"])?;
    let force = !flags.is_empty();
    let pod = this_pod(&uuid)?;
    let supervisor = read_pid(layout::PPID)?;
    let init = if force { read_pid(layout::PID).ok() } else { None };
    // A PID may have been given to somebody else, unless the pod runs: its supervisor holds the lock while it lives.
    // So the processes are pinned first, and the lock is looked at then.
    let supervisor = pin(supervisor)?;
    let init = init.map(pin).transpose()?.flatten();
    if pod.state()? != State::Running {
        bail!("pod {uuid:?} is not running");
    }
    let signal = if force { Signal::KILL } else { Signal::TERM };
    for pidfd in init.iter().chain(supervisor.iter()) {
        match rustix::process::pidfd_send_signal(pidfd, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => {
                return Err(errno).with_context(|| format!("signal the supervisor of pod {uuid:?}"));
            }
        }
    }
    Ok(0)
}

/// `gc [--debug] UUID`: removes what a pod that has ended left outside its directory.
pub(crate) fn gc() -> Result<u8> {
    let (_, uuid) = arguments(&["--debug"])?;
    if let Ok(relative) = fs::read_to_string(layout::SUBCGROUP) {
        remove_cgroup(relative.trim(), &uuid)?;
    }
    let pod = this_pod(&uuid)?;
    let path = pod.path();
    let data = path.ancestors().nth(3).unwrap_or(Path::new("/"));
    network::collect(data, &path, &uuid)?;
    let status = match pod.runtime_state() {
        Ok(state) if state.supervisor != Supervisor::Systemd => 0,
        // Also where it died before it could say how it runs.
        _ => stop_slice(&uuid)?,
    };
    journal::remove(&uuid)?;
    Ok(status)
}

fn arguments(known: &[&str]) -> Result<(Vec<String>, String)> {
    let mut flags = Vec::new();
    let mut uuid = None;
    for argument in std::env::args().skip(1) {
        if known.contains(&argument.as_str()) {
            flags.push(argument);
        } else if rkt_pod::lookup::is_uuid(&argument) && uuid.is_none() {
            uuid = Some(argument);
        } else {
            bail!("unexpected argument {argument:?}");
        }
    }
    Ok((flags, uuid.context("the pod's UUID is missing")?))
}

/// The pod whose directory is the working directory.
fn this_pod(uuid: &str) -> Result<PodDir> {
    let path = std::env::current_dir().context("find the pod's directory")?;
    let place = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let place = Place::ALL.into_iter().find(|known| Some(known.directory()) == place);
    match (place, path.ancestors().nth(3)) {
        (Some(place), Some(data)) if path.file_name().is_some_and(|name| name == uuid) => {
            Ok(PodDir::new(data, place, uuid))
        }
        _ => bail!("{} is not the directory of pod {uuid}", path.display()),
    }
}

fn read_pid(file: &str) -> Result<Pid> {
    let text = fs::read_to_string(file).with_context(|| format!("read {file} of the pod"))?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    pid.with_context(|| format!("{file} of the pod does not hold a PID"))
}

/// A descriptor of the process, or `None` where it is gone.
fn pin(pid: Pid) -> Result<Option<std::os::fd::OwnedFd>> {
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Some(pidfd)),
        Err(Errno::SRCH) => Ok(None),
        Err(errno) => Err(errno).with_context(|| format!("open process {}", pid.as_raw_nonzero())),
    }
}

/// Removes the pod's cgroup, which must be one that we could have made.
fn remove_cgroup(relative: &str, uuid: &str) -> Result<()> {
    let path = Path::new(relative);
    let is_ours = path.file_name().is_some_and(|name| name == format!("rkt-{uuid}").as_str())
        && path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if !is_ours {
        bail!("{}: {relative:?} is not a cgroup of this pod", layout::SUBCGROUP);
    }
    match cgroup::mount_point() {
        Some(mount) => {
            let path = mount.join(path);
            [cgroup::retreat(&path), path].iter().try_for_each(|path| {
                empty_cgroup(path).with_context(|| format!("remove cgroup {}", path.display()))
            })
        }
        None => Ok(()),
    }
}

/// Kills what a pod whose supervisor was killed may still be losing, and removes its cgroup when all of it is gone.
fn empty_cgroup(path: &Path) -> std::io::Result<()> {
    if fs::write(path.join("cgroup.kill"), "1").is_err() {
        // It is gone already, or the kernel is older than this file: then its processes die with the pod's init.
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        match cgroup::remove_tree(path) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            other => return other,
        }
    }
}

/// Stops the units of a pod whose supervisor was killed: all are in its slice. Normally systemd has done it by itself.
fn stop_slice(uuid: &str) -> Result<u8> {
    if launcher::Connecting::start().is_err() {
        return Ok(0);
    }
    let status = Command::new("/usr/bin/systemctl")
        .args(["stop", "--quiet", "--no-ask-password", "--", &launcher::slice_pattern(uuid)])
        .stderr(std::process::Stdio::null())
        .status()
        .context("run systemctl stop")?;
    // 5: not loaded, which is how it should be.
    Ok(if status.success() || status.code() == Some(5) { 0 } else { 1 })
}
