//! After the pod's processes are gone: what they wrote goes where it is to go, as long as somebody takes it.

use std::{os::fd::AsFd, time::Duration};

use anyhow::{Context, Result};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
};

use super::supervise::Supervisor;
use crate::{sys::SignalFd, terminal::Terminal};

/// How long a reader may take nothing before we end without it, where somebody has asked for the end.
const PATIENCE: Duration = Duration::from_secs(1);

impl Supervisor<'_> {
    /// Moves on all that is left. Readers are waited for as a program waits that writes to them; who asks for the end is
    /// heard all the same.
    pub(super) fn last_words(&mut self, signals: &SignalFd) -> Result<()> {
        let mut hurried = self.was_asked();
        loop {
            self.output.drain();
            self.attach.drain(&mut self.buffer);
            if let Some(terminal) = self.terminal.as_mut() {
                terminal.drain();
            }
            let output = self.output.blocked().map(|(_, fd)| fd);
            let output = output.chain(self.attach.blocked().map(|(_, fd)| fd));
            let blocked: Vec<_> = output.chain(self.terminal.iter().filter_map(Terminal::blocked)).collect();
            if blocked.is_empty() {
                return Ok(());
            }
            let mut fds = vec![PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
            fds.extend(blocked.into_iter().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT)));
            let patience = Timespec {
                tv_sec: PATIENCE.as_secs().cast_signed(),
                tv_nsec: PATIENCE.subsec_nanos().into(),
            };
            match rustix::event::poll(&mut fds, hurried.then_some(&patience)) {
                Ok(0) => {
                    drop(fds);
                    // The log has it. Without a terminal to hand back nothing is owed any more.
                    self.output.give_up();
                    self.attach.give_up();
                    self.terminal.iter_mut().for_each(Terminal::give_up);
                }
                Ok(_) | Err(Errno::INTR) => {
                    drop(fds);
                    while let Some((signal, _)) = signals.next().context("read a signal")? {
                        hurried |= self.is_request_to_end(signal);
                    }
                }
                Err(errno) => return Err(errno).context("wait for a reader"),
            }
        }
    }
}
