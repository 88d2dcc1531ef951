//! The direct launcher: apps are children of stage1, each started into its own cgroup.

use std::{
    ffi::CString,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use anyhow::{Context, Result};
use rkt_pod::stage1::RuntimeState;
use rustix::{
    io::Errno,
    process::{Signal, WaitId, WaitIdOptions, WaitIdStatus},
};

use super::{Event, Launch, Launcher};
use crate::{
    cgroup::PodCgroup,
    init::{self, Init},
    sys::{self, CloneSpec, Namespaces},
};

/// The pod's apps as our children.
#[derive(Debug)]
pub(crate) struct Direct {
    program: OwnedFd,
    cgroup: Option<PodCgroup>,
    running: Vec<Child>,
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
        Ok(Direct { program, cgroup, running: Vec::new() })
    }

    fn child(&self, app: usize) -> Option<&Child> {
        self.running.iter().find(|child| child.app == app)
    }
}

/// The PID namespace of init, for its future children.
fn namespace(init: &Init) -> Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let path = format!("/proc/{}/ns/pid", init.pid.as_raw_nonzero());
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .context("open the pod's PID namespace")
}

impl Launcher for Direct {
    fn launch(&mut self, launch: Launch<'_>) -> Result<()> {
        let cgroup = match &self.cgroup {
            Some(pod) => {
                Some(pod.child(&format!("{}.service", launch.name)).context("make the app's cgroup")?)
            }
            None => None,
        };
        let null = init::open_null()?;
        let (_pid, pidfd) = sys::spawn(&CloneSpec {
            program: self.program.as_fd(),
            argv: &[c"app-exec".to_owned(), CString::new(launch.spec)?],
            environment: &[],
            descriptors: &[launch.control.as_fd(), null.as_fd(), null.as_fd()],
            namespaces: Namespaces::default(),
            cgroup: cgroup.as_ref().map(AsFd::as_fd),
        })
        .with_context(|| format!("app {:?}: start app-exec", launch.name))?;
        self.running.push(Child { app: launch.app, stop_signal: launch.stop_signal, pidfd, cgroup });
        Ok(())
    }

    fn settle(&mut self, _init: &Init, state: &mut RuntimeState) {
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
                    kill_cgroup(child);
                    events.push(Event::Ended { app: child.app, status: status_of(&status), stopped: false });
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

/// An exit status as the shell has it.
fn status_of(status: &WaitIdStatus) -> u8 {
    let number = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => i32::from(rkt_pod::stage1::EXIT_FAILURE),
    };
    u8::try_from(number & 0xff).unwrap_or(rkt_pod::stage1::EXIT_FAILURE)
}
