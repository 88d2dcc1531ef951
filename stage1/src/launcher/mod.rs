//! Starting and watching apps: by systemd as transient units, or directly.

mod bus;
mod control;
mod direct;
mod machine;
mod slots;
mod surroundings;
mod systemd;
mod unit;
mod watch;

use std::os::fd::{BorrowedFd, OwnedFd};

use anyhow::Result;
use rkt_pod::stage1::{LogSink, RuntimeState, Supervisor};
use rustix::process::{Pid, Signal};

use crate::{
    init::Init,
    network::Network,
    pod::{Pod, PodApp},
    resources::{Controller, Limits},
    sys::DeviceRule,
};

pub(crate) use bus::Connecting;
pub(crate) use control::Control;
pub(crate) use direct::status_of;
pub(crate) use machine::slice_pattern;
pub(crate) use unit::app_unit;

/// What `app-exec` needs besides its spec.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    /// The app's index in the pod.
    pub(crate) app: usize,
    /// Its name.
    pub(crate) name: &'a str,
    /// Path of its spec.
    pub(crate) spec: &'a str,
    /// `app-exec`'s end of the control socket; becomes its stdin.
    pub(crate) control: OwnedFd,
    /// What asks it to end.
    pub(crate) stop_signal: Signal,
    /// What it may take of the machine.
    pub(crate) limits: &'a Limits,
    /// The devices of the host that it gets, and what may be done with each.
    pub(crate) devices: &'a [DeviceRule],
}

/// What a launcher has noticed.
#[derive(Debug)]
pub(crate) enum Event {
    /// An app's process has ended.
    Ended {
        /// Its index.
        app: usize,
        /// Its exit status, or 128 + signal.
        status: u8,
        /// Whether somebody stopped this app on purpose (`systemctl stop`), which is no failure of it.
        stopped: bool,
        /// Whether the kernel killed it for lack of memory.
        out_of_memory: bool,
    },
    /// An app could not be started.
    NotStarted {
        /// Its index.
        app: usize,
        /// Why.
        reason: String,
    },
}

/// A way to start and watch apps. Set-up and teardown are beside each other: `finish` undoes what `launch` and the
/// launcher's making left, all of it, and reports what it could not.
pub(crate) trait Launcher {
    /// Bounds the pod as a whole, and prepares for limits of apps that need `controllers`. Returns those that are not to be
    /// had, and why. Comes once, before any app is launched.
    fn limit(&mut self, pod: &Limits, controllers: &[Controller]) -> Result<Vec<(Controller, String)>>;
    /// Prepares for apps that get devices of the host. The error is why nothing keeps them to what is allowed.
    fn restrict_devices(&mut self) -> Result<(), String>;
    /// Makes what apps have in common for a pod whose apps come later. Comes before `settle`, where it comes.
    fn open(&mut self) -> Result<()>;
    /// Takes note of another app, whose index is the next one. None of its name runs.
    fn announce(&mut self, app: &PodApp) -> Result<()>;
    /// Starts `app-exec` for an app, and returns the PID of what will be the app, where that is known by now. That it runs,
    /// and how it ends, comes as an [`Event`] or over its control socket.
    fn launch(&mut self, launch: Launch<'_>) -> Result<Option<Pid>>;
    /// Waits until the pod is known to the system, where it is to be, and notes in `state` as what. Comes once, after
    /// all apps were launched.
    fn settle(&mut self, init: &Init, network: &Network, state: &mut RuntimeState);
    /// Readable when there are events.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>>;
    /// The events since the last call.
    fn events(&mut self) -> Vec<Event>;
    /// Asks an app to end, by its stop signal. A launcher whose own deadline follows kills it then.
    fn terminate(&mut self, app: usize);
    /// Sends a signal to the main process of an app.
    fn signal(&mut self, app: usize, signal: Signal);
    /// Kills an app and all its processes.
    fn kill(&mut self, app: usize);
    /// Waits for the processes that are our children, after init was killed and they with it.
    fn reap(&mut self);
    /// Removes what is left of the pod outside its directory, after its init is gone. `orderly`: its init ended after
    /// its apps did.
    fn finish(&mut self, orderly: bool) -> Vec<anyhow::Error>;
    /// Lets go of where the output is kept, after its last line. Comes last.
    fn close(&mut self) -> Vec<anyhow::Error>;
}

/// Ends the pod: its processes, and what it has left outside its directory. Returns what could not be removed.
pub(crate) fn end(launcher: &mut dyn Launcher, init: &Init, orderly: bool) -> Result<Vec<anyhow::Error>> {
    init.kill()?;
    launcher.reap();
    init.wait()?;
    Ok(launcher.finish(orderly))
}

/// The system service that we were started in.
pub(crate) fn own_service() -> Option<String> {
    surroundings::Surroundings::own().service
}

/// Makes the launcher that was asked for, or the better one that this machine has, and notes in `state` which.
pub(crate) fn choose(
    wanted: Supervisor,
    connecting: Option<Connecting>,
    pod: &Pod,
    init: &Init,
    cgroup: Option<crate::cgroup::PodCgroup>,
    state: &mut RuntimeState,
) -> Result<Box<dyn Launcher>> {
    let own_journal = state.log == LogSink::PodJournal;
    let connection = match connecting {
        None => None,
        Some(connecting) => match connecting.wait() {
            Ok(bus) => Some(bus),
            Err(error) if wanted == Supervisor::Systemd || own_journal => return Err(error),
            Err(error) => {
                state.supervisor_reason = Some(format!("{error:#}"));
                None
            }
        },
    };
    match connection {
        Some(bus) => {
            state.supervisor = Supervisor::Systemd;
            Ok(Box::new(systemd::Systemd::new(pod, init, bus, own_journal)?))
        }
        None => {
            state.supervisor = Supervisor::Direct;
            Ok(Box::new(direct::Direct::new(init, cgroup)?))
        }
    }
}
