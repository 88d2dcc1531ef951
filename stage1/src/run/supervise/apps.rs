//! What becomes of the apps: what their `app-exec` and the launcher say of them.

use std::path::Path;

use anyhow::{Context, Result};
use rkt_pod::{failpoint, layout, process};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
    process::Pid,
};
use stage2::control::Report;

use super::{KILLED, Stop, Supervisor};
use crate::{launcher::Event, output, pod::Pod, run::mutable::Waits};

impl Supervisor<'_> {
    /// Reads what an `app-exec` reports.
    pub(super) fn control(&mut self, index: usize) {
        let app = &mut self.apps[index];
        let Some(control) = &app.control else { return };
        match control.next() {
            Ok(Some(Report::Failed(failure))) => {
                output::say(&format!("app {:?}: {failure}", app.name));
                app.reason = Some(format!("app {:?}: {failure}", app.name));
                app.failure = Some(failure.status);
            }
            Ok(Some(Report::Warning { message })) => {
                output::say(&format!("warning: app {:?}: {message}", app.name));
            }
            Ok(Some(Report::Exited { status })) => app.reported = u8::try_from(status & 0xff).ok(),
            Ok(Some(Report::Started { pid })) => app.pid = i32::try_from(pid).ok().and_then(Pid::from_raw),
            Ok(Some(Report::Built)) => self.runs(index),
            Ok(None) => {}
            Err(_) => app.control = None,
        }
    }

    /// Notes the process of an app whose sandbox is built, so that it can be entered.
    fn runs(&mut self, index: usize) {
        self.say_how_it_is(|notify| notify.built(index));
        if let Some(mutable) = &mut self.mutable {
            mutable.done(Waits::Start(index), None);
        }
        let app = &self.apps[index];
        if let Some(pid) = app.pid
            && let Err(error) = process::note(&self.pod.directory, &app.name, pid)
        {
            output::say(&format!("app {:?}: {error:#}", app.name));
        }
    }

    /// Takes in what the launcher has noticed.
    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Ended { app, status, stopped, out_of_memory } => {
                // What it had to say before it ended, why it failed among that, waits on the socket.
                while self.apps[app].control.is_some() && self.has_report(app) {
                    self.control(app);
                }
                let mut status = self.apps[app].failure.or(self.apps[app].reported).unwrap_or(status);
                // systemd stops what has lost a process for lack of memory: nobody has asked for that, and it has not ended well.
                let is_consequence = stopped && out_of_memory && self.stop.is_none();
                if is_consequence && matches!(status, 0 | 143) {
                    status = KILLED;
                }
                let stopped = stopped && !is_consequence;
                if out_of_memory && self.apps[app].status.is_none() {
                    self.out_of_memory(app);
                }
                self.ended(app, status, stopped);
            }
            Event::NotStarted { app, reason } => {
                output::say(&format!("app {:?}: {reason}", self.apps[app].name));
                self.apps[app].reason = Some(reason);
                self.ended(app, rkt_pod::stage1::EXIT_FAILURE, false);
            }
        }
    }

    /// Says, and notes beside its exit status, that an app was killed for lack of memory.
    fn out_of_memory(&self, app: usize) {
        let name = &self.apps[app].name;
        output::say(&format!("app {name:?}: out of memory: its processes were killed"));
        if let Err(error) = note(self.pod, &layout::app_out_of_memory(name), b"") {
            output::say(&format!("app {name:?}: note that it was out of memory: {error:#}"));
        }
    }

    fn has_report(&self, app: usize) -> bool {
        use std::os::fd::AsFd;
        let Some(control) = &self.apps[app].control else { return false };
        let mut fds = [PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
    }

    /// An app has ended: keeps its status, and stops the others where it failed.
    pub(super) fn ended(&mut self, index: usize, status: u8, stopped: bool) {
        let app = &mut self.apps[index];
        if app.status.is_some() {
            return;
        }
        failpoint!("pod-app-ended");
        app.status = Some(status);
        app.control = None;
        self.attach.ended(index);
        if status == 0 {
            self.say_how_it_is(|notify| notify.ended(index));
        }
        let app = &mut self.apps[index];
        if let Some(mutable) = &mut self.mutable {
            let reason = app.reason.as_deref().unwrap_or("it has ended before it ran");
            mutable.done(Waits::Start(index), Some(reason));
        }
        if let Err(error) = note(self.pod, &layout::app_status(&app.name), status.to_string().as_bytes()) {
            output::say(&format!("app {:?}: keep its exit status: {error:#}", app.name));
        }
        failpoint!("pod-app-noted");
        if let Some(mutable) = &mut self.mutable {
            mutable.done(Waits::Stop(index), None);
            // Others may come.
            return self.stop_next();
        }
        // Who dies of the signal that was meant to stop it did not fail; who says something else did.
        let meant = self.stop.is_some() || (stopped && self.init_gone.is_none());
        let excused = meant && matches!(status, 137 | 143);
        if status != 0 && !excused {
            self.exit.get_or_insert(status);
            self.stop.get_or_insert(Stop { current: None });
        }
        self.stop_next();
    }
}

/// Removes what was kept of an earlier run of an app.
pub(super) fn forget(pod: &Pod, file: &Path) -> Result<()> {
    let directory = crate::mounts::open_beneath(&pod.directory, file.parent().unwrap_or(Path::new(".")))?;
    let name = file.file_name().unwrap_or_default();
    match rustix::fs::unlinkat(directory, name, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).context("forget how it has ended before"),
    }
}

/// Keeps how an app has ended in the pod's directory.
pub(super) fn note(pod: &Pod, file: &Path, text: &[u8]) -> Result<()> {
    let directory = crate::mounts::open_beneath(&pod.directory, file.parent().unwrap_or(Path::new(".")))?;
    let name = file.file_name().unwrap_or_default();
    rkt_pod::directory::write_atomically(directory, Path::new(name), text, 0o640).context("write it")
}
