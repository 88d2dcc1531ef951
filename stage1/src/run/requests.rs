//! What others want of the pod: signals, and what apps say of themselves.

use std::path::Path;

use rkt_pod::layout;
use rustix::process::Signal;

use super::supervise::{Stop, Supervisor};
use crate::{output, wrap::Notify};

/// The PID of the service manager.
const SERVICE_MANAGER: u32 = 1;

/// Who wants the pod to end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asker {
    /// Whoever signals us.
    Signal,
    /// Whoever signals init.
    Init,
}

impl Supervisor<'_> {
    /// Does what a signal, sent by `sender`, is for.
    pub(super) fn signal(&mut self, signal: i32, sender: u32) {
        match signal {
            // After ExecStop= comes the service manager's own request, which is no sign of impatience.
            libc::SIGTERM if sender == SERVICE_MANAGER && self.stop.is_some() => {}
            signal if self.is_request_to_end(signal) => self.request_stop(Asker::Signal),
            // Where there is no terminal to lose, somebody wants the apps to read their configuration again.
            libc::SIGHUP if !self.is_controlled => {
                self.pass_on(Signal::HUP);
                self.notify.reloaded();
            }
            libc::SIGUSR1 => self.pass_on(Signal::USR1),
            libc::SIGUSR2 => self.pass_on(Signal::USR2),
            libc::SIGWINCH => {
                if let Some(terminal) = &self.terminal {
                    terminal.resize();
                }
            }
            _ => {}
        }
    }

    /// Sends a signal to all apps.
    fn pass_on(&mut self, signal: Signal) {
        for app in 0..self.apps.len() {
            if self.apps[app].status.is_none() {
                self.launcher.signal(app, signal);
            }
        }
    }

    /// Takes news of how apps are, and notes it when all are ready.
    pub(super) fn say_how_it_is(&mut self, news: impl FnOnce(&mut Notify)) {
        let before = self.notify.is_ready();
        news(&mut self.notify);
        if !before
            && self.notify.is_ready()
            && self.notify.speaks()
            && let Err(error) = rkt_pod::directory::write_atomically(
                &self.pod.directory,
                Path::new(layout::READY),
                b"",
                0o640,
            )
        {
            output::say(&format!("note that the pod is ready: {error}"));
        }
    }

    /// Whether a signal asks for the pod's end. Losing the terminal ends a pod that has it, and no other.
    pub(super) fn is_request_to_end(&self, signal: i32) -> bool {
        matches!(signal, libc::SIGTERM | libc::SIGINT | libc::SIGQUIT)
            || (signal == libc::SIGHUP && self.terminal.is_some())
    }

    /// Somebody wants the pod to end. Who asks twice does not want to wait; a signal that was meant for all processes of a
    /// unit or a terminal reaches init as well, and is one.
    pub(super) fn request_stop(&mut self, asker: Asker) {
        let asked = &mut self.asked[asker as usize];
        *asked += 1;
        if *asked > 1 {
            self.kill_all();
        } else if self.stop.is_none() {
            self.stop = Some(Stop { current: None });
            self.notify.stopping();
            self.stop_next();
        }
    }

    fn kill_all(&mut self) {
        for app in 0..self.apps.len() {
            if self.apps[app].status.is_none() {
                self.launcher.kill(app);
            }
        }
    }

    /// Whether somebody has asked for the pod's end.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.iter().any(|asked| *asked > 0)
    }
}
