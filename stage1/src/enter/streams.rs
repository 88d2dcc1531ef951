//! The command's standard streams. No terminal of the host gets into the app: who holds one can read what is typed there,
//! and change how it works. A user on a terminal gets a pseudo-terminal in between, as with `run --interactive`; an output
//! that is a terminal, where the input is none, a pipe.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
    pipe::PipeFlags,
    stdio::{stderr, stdin, stdout},
    termios::isatty,
};

use crate::{
    flow::{Flow, Sink},
    sys::SignalFd,
    terminal::Terminal,
};

/// How much is moved at once, in bytes.
const CHUNK: usize = 16 * 1024;

/// What is between the user's streams and the command's.
#[derive(Debug)]
pub(super) struct Streams {
    terminal: Option<Terminal>,
    pipes: Vec<Pipe>,
}

/// An output that we pass on.
#[derive(Debug)]
struct Pipe {
    from: OwnedFd,
    flow: Flow,
}

/// An end to pump.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Terminal(usize),
    Pipe(usize),
}

impl Streams {
    /// Takes over the terminal, where there is one.
    pub(super) fn open() -> Result<Streams> {
        let mut terminal = Terminal::open()?;
        if let Some(terminal) = terminal.as_mut() {
            // Where an output goes elsewhere, what is for the terminal does not follow it.
            let screen = [stdout(), stderr()].into_iter().find(|fd| isatty(fd));
            terminal.show_on(screen.unwrap_or(stdin()));
        }
        Ok(Streams { terminal, pipes: Vec::new() })
    }

    /// Whether the command gets a terminal.
    pub(super) fn is_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// The command's side of the three streams.
    pub(super) fn command_side(&mut self) -> Result<[OwnedFd; 3]> {
        let own = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().context("duplicate a standard stream");
        if let Some(terminal) = &self.terminal {
            let [input, output, error] = terminal.app_side()?;
            let side = |fd: BorrowedFd<'_>, side| if isatty(fd) { Ok(side) } else { own(fd) };
            return Ok([input, side(stdout(), output)?, side(stderr(), error)?]);
        }
        let input = own(stdin())?;
        Ok([input, self.output(stdout())?, self.output(stderr())?])
    }

    /// The stream itself, or a pipe to it where it is a terminal.
    fn output(&mut self, to: BorrowedFd<'static>) -> Result<OwnedFd> {
        if !isatty(to) {
            return to.try_clone_to_owned().context("duplicate a standard stream");
        }
        let (from, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).context("make a pipe")?;
        rustix::io::ioctl_fionbio(&from, true).context("make a pipe non-blocking")?;
        self.pipes.push(Pipe { from, flow: Flow::new(Sink::standard(to), CHUNK) });
        Ok(theirs)
    }

    /// What to wait for.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = (End, BorrowedFd<'_>, PollFlags)> {
        let terminal = self.terminal.iter().flat_map(Terminal::descriptors);
        let pipes = self.pipes.iter().enumerate();
        let pipes = pipes.filter_map(|(index, pipe)| Some((index, pipe.flow.waits(pipe.from.as_fd())?)));
        terminal
            .map(|(end, fd, flags)| (End::Terminal(end), fd, flags))
            .chain(pipes.map(|(index, (fd, flags))| (End::Pipe(index), fd, flags)))
    }

    /// Goes on with one end, after what it was waiting for.
    pub(super) fn pump(&mut self, end: End) {
        match end {
            End::Terminal(end) => {
                if let Some(terminal) = self.terminal.as_mut() {
                    terminal.pump(end);
                }
            }
            End::Pipe(index) => {
                let pipe = &mut self.pipes[index];
                pipe.flow.advance(pipe.from.as_fd());
            }
        }
    }

    /// Gives the command's terminal the size of the user's.
    pub(super) fn resize(&self) {
        if let Some(terminal) = &self.terminal {
            terminal.resize();
        }
    }

    /// Moves on what the command wrote before it ended, for as long as that is taken, or until somebody signals us to end.
    /// Others that it has left do not keep us.
    pub(super) fn finish(&mut self, signals: &SignalFd) {
        loop {
            for pipe in &mut self.pipes {
                pipe.flow.drain(pipe.from.as_fd());
            }
            self.terminal.iter_mut().for_each(Terminal::drain);
            let pipes = self.pipes.iter().filter(|pipe| pipe.flow.is_blocked()).map(|pipe| pipe.flow.sink());
            let blocked = pipes.chain(self.terminal.iter().filter_map(Terminal::blocked));
            let mut fds: Vec<PollFd<'_>> =
                blocked.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT)).collect();
            if fds.is_empty() {
                return;
            }
            fds.push(PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN));
            match rustix::event::poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return,
            }
            while let Ok(Some((signal, _))) = signals.next() {
                if matches!(signal, libc::SIGTERM | libc::SIGINT | libc::SIGQUIT | libc::SIGHUP) {
                    return;
                }
            }
        }
    }
}
