//! The direct launcher: apps are children of stage1, each started into its own cgroup.

use std::{
    ffi::CString,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use anyhow::{Context, Result, anyhow};
use rkt_pod::stage1::RuntimeState;
use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus},
};

use super::{Event, Launch, Launcher};
use crate::{
    cgroup::PodCgroup,
    init::{self, Init},
    network::Network,
    pod::PodApp,
    resources::{self, Controller, Limits, enforced},
    sys::{self, CloneSpec, DeviceRule, Namespaces},
};

/// The pod's apps as our children.
#[derive(Debug)]
pub(crate) struct Direct {
    program: OwnedFd,
    cgroup: Option<PodCgroup>,
    running: Vec<Child>,
    /// Controllers that are not to be had.
    missing: Vec<Controller>,
    /// The numbers of the block devices, where limits need them.
    devices: Vec<String>,
    /// Whether cgroups keep apps to the devices that they are given.
    restricts: bool,
}

#[derive(Debug)]
struct Child {
    app: usize,
    stop_signal: Signal,
    pidfd: OwnedFd,
    cgroup: Option<OwnedFd>,
}

impl Direct {
    /// Makes this process's further children members of the pod's PID namespace.
    pub(crate) fn new(init: &Init, cgroup: Option<PodCgroup>) -> Result<Direct> {
        let program = init::sealed_program(&init::helper("app-exec")?)?;
        rustix::thread::move_into_link_name_space(
            namespace(init)?.as_fd(),
            Some(rustix::thread::LinkNameSpaceType::ProcessID),
        )
        .context("enter the pod's PID namespace")?;
        Ok(Direct {
            program,
            cgroup,
            running: Vec::new(),
            missing: Vec::new(),
            devices: Vec::new(),
            restricts: false,
        })
    }

    /// Limits an app's cgroup.
    fn bound(&self, cgroup: &OwnedFd, limits: &Limits) -> Result<(), String> {
        let limits = limits.without(&self.missing);
        resources::cgroup::limit(cgroup, &limits, &self.devices)?;
        // An app is killed as a whole: what is left of one after a part of it was killed is of no use.
        match resources::cgroup::write(cgroup, "memory.oom.group", "1") {
            Err(errno) if limits.memory.is_some() => Err(format!("write memory.oom.group: {errno}")),
            // Without the controller nothing is limited, and the kernel decides.
            _ => Ok(()),
        }
    }

    /// Keeps an app's cgroup to the devices that every app has and to those that it is given.
    fn keep_to(&self, cgroup: &OwnedFd, devices: &[DeviceRule]) -> Result<(), Errno> {
        if !self.restricts || devices.is_empty() {
            return Ok(());
        }
        let rules: Vec<DeviceRule> = usual_devices().chain(devices.iter().copied()).collect();
        sys::restrict_devices(cgroup, &rules)
    }

    fn child(&self, app: usize) -> Option<&Child> {
        self.running.iter().find(|child| child.app == app)
    }
}

/// The devices that every app has: null, zero, full, random, urandom, tty, console, ptmx, net/tun and terminals.
fn usual_devices() -> impl Iterator<Item = DeviceRule> {
    let memory = [3, 5, 7, 8, 9].map(|minor| (1, Some(minor)));
    let terminals = [0, 1, 2].map(|minor| (5, Some(minor)));
    let pseudo_terminals = (136..=143).map(|major| (major, None));
    let all = memory.into_iter().chain(terminals).chain([(10, Some(200))]).chain(pseudo_terminals);
    all.map(|(major, minor)| DeviceRule {
        block: false,
        major,
        minor,
        access: sys::MAKE | sys::READ | sys::WRITE,
    })
}

/// The PID namespace of init, for its future children.
fn namespace(init: &Init) -> Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let path = format!("/proc/{}/ns/pid", init.pid.as_raw_nonzero());
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .context("open the pod's PID namespace")
}

impl Launcher for Direct {
    fn limit(&mut self, pod: &Limits, controllers: &[Controller]) -> Result<Vec<(Controller, String)>> {
        let Some(cgroup) = &mut self.cgroup else {
            let reason = |controller: &Controller| (*controller, "the pod has no cgroup".to_owned());
            return Ok(controllers.iter().map(reason).collect());
        };
        let mut missing = cgroup.enable(controllers);
        if controllers.contains(&Controller::Io) {
            self.devices = enforced::block_devices().into_iter().map(|(_, number)| number).collect();
            if self.devices.is_empty() {
                missing.push((Controller::Io, enforced::NO_BLOCK_DEVICE.to_owned()));
            }
        }
        self.missing = missing.iter().map(|(controller, _)| *controller).collect();
        cgroup
            .limit(&pod.without(&self.missing), &self.devices)
            .map_err(|reason| anyhow!("limit the pod: {reason}"))?;
        Ok(missing)
    }

    fn restrict_devices(&mut self) -> Result<(), String> {
        let cgroup = self.cgroup.as_ref().ok_or("the pod has no cgroup")?;
        // The pod's own gets a program that allows all; where that works, it does for each app's.
        cgroup.allow_devices().map_err(|errno| format!("the kernel takes no filter of devices: {errno}"))?;
        self.restricts = true;
        Ok(())
    }

    fn open(&mut self) -> Result<()> {
        Ok(())
    }

    fn announce(&mut self, app: &PodApp) -> Result<()> {
        // Into a cgroup that was killed once no process is born alive: one that is started again gets a new one.
        let Some(cgroup) = &self.cgroup else { return Ok(()) };
        cgroup
            .remove_child(&format!("{}.service", app.name()))
            .with_context(|| format!("app {:?}: remove its old cgroup", app.name()))
    }

    fn launch(&mut self, launch: Launch<'_>) -> Result<Option<Pid>> {
        let cgroup = match &self.cgroup {
            Some(pod) => {
                Some(pod.child(&format!("{}.service", launch.name)).context("make the app's cgroup")?)
            }
            None => None,
        };
        if let Some(cgroup) = &cgroup {
            self.bound(cgroup, launch.limits)
                .map_err(|reason| anyhow!("app {:?}: limit it: {reason}", launch.name))?;
        }
        if let Some(cgroup) = &cgroup {
            self.keep_to(cgroup, launch.devices)
                .with_context(|| format!("app {:?}: restrict its devices", launch.name))?;
        }
        let null = init::open_null()?;
        let (pid, pidfd) = sys::spawn(&CloneSpec {
            program: self.program.as_fd(),
            argv: &[c"app-exec".to_owned(), CString::new(launch.spec)?],
            environment: &[],
            descriptors: &[launch.control.as_fd(), null.as_fd(), null.as_fd()],
            namespaces: Namespaces::default(),
            cgroup: cgroup.as_ref().map(AsFd::as_fd),
            map_users: None,
        })
        .with_context(|| format!("app {:?}: start app-exec", launch.name))?;
        self.running.push(Child { app: launch.app, stop_signal: launch.stop_signal, pidfd, cgroup });
        Ok(Some(pid))
    }

    fn settle(&mut self, _init: &Init, _network: &Network, state: &mut RuntimeState) {
        state.machine_reason = Some("the direct launcher registers no machine".to_owned());
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.running.iter().map(|child| child.pidfd.as_fd()).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        self.running.retain(|child| {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            match rustix::process::waitid(WaitId::PidFd(child.pidfd.as_fd()), options) {
                Ok(None) | Err(Errno::INTR) => true,
                Ok(Some(status)) => {
                    let out_of_memory = child.cgroup.as_ref().is_some_and(killed_for_memory);
                    kill_cgroup(child);
                    let status = status_of(&status);
                    events.push(Event::Ended { app: child.app, status, stopped: false, out_of_memory });
                    false
                }
                Err(errno) => {
                    events
                        .push(Event::NotStarted { app: child.app, reason: format!("wait for it: {errno}") });
                    false
                }
            }
        });
        events
    }

    fn terminate(&mut self, app: usize) {
        if let Some(child) = self.child(app)
            && rustix::process::pidfd_send_signal(&child.pidfd, child.stop_signal).is_err()
        {
            // It has just ended; its event follows.
        }
    }

    fn signal(&mut self, app: usize, signal: Signal) {
        if let Some(child) = self.child(app)
            && rustix::process::pidfd_send_signal(&child.pidfd, signal).is_err()
        {
            // As above.
        }
    }

    fn kill(&mut self, app: usize) {
        if let Some(child) = self.child(app) {
            kill_cgroup(child);
            if rustix::process::pidfd_send_signal(&child.pidfd, Signal::KILL).is_err() {
                // As above.
            }
        }
    }

    fn reap(&mut self) {
        for child in self.running.drain(..) {
            let waited = rustix::io::retry_on_intr(|| {
                rustix::process::waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED)
            });
            if waited.is_err() {
                // It was waited for already.
            }
        }
    }

    fn close(&mut self) -> Vec<anyhow::Error> {
        // Files close by themselves.
        Vec::new()
    }

    fn finish(&mut self, _orderly: bool) -> Vec<anyhow::Error> {
        let removed = self.cgroup.as_ref().map(|cgroup| cgroup.remove().context("remove the pod's cgroup"));
        removed.into_iter().filter_map(Result::err).collect()
    }
}

/// Kills what an app has started and left running, as systemd does for a unit. Before Linux 5.14 there is no
/// `cgroup.kill`; then it ends with the pod.
fn kill_cgroup(child: &Child) {
    use rustix::fs::{Mode, OFlags};
    let Some(cgroup) = &child.cgroup else { return };
    let file = rustix::fs::openat(cgroup, "cgroup.kill", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    if let Ok(file) = file
        && rustix::io::write(file, b"1").is_err()
    {
        // As above.
    }
}

/// Whether the kernel has killed something in this cgroup because a limit of memory was reached.
fn killed_for_memory(cgroup: &OwnedFd) -> bool {
    use rustix::fs::{Mode, OFlags};
    let events = rustix::fs::openat(cgroup, "memory.events", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(std::io::Error::from)
        .and_then(|file| std::io::read_to_string(std::fs::File::from(file)));
    let kills = events.unwrap_or_default();
    kills.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|count| count != "0")
}

/// An exit status as the shell has it.
pub(crate) fn status_of(status: &WaitIdStatus) -> u8 {
    let number = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => i32::from(rkt_pod::stage1::EXIT_FAILURE),
    };
    u8::try_from(number & 0xff).unwrap_or(rkt_pod::stage1::EXIT_FAILURE)
}
