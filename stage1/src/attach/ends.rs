//! Our ends of an app's streams.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rkt_pod::{
    attach::End,
    streams::{Mode, Streams},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
    pipe::PipeFlags,
    termios::Winsize,
};

use crate::terminal;

/// What we hold of an app's streams.
#[derive(Debug)]
pub(super) struct Ends {
    app: String,
    stdin: Option<OwnedFd>,
    outputs: Vec<(End, OwnedFd)>,
    terminal: Option<OwnedFd>,
}

impl Ends {
    /// Makes them, and the app's side of each: stdin, stdout, stderr.
    pub(super) fn make(app: &str, streams: Streams) -> Result<(Ends, [Option<OwnedFd>; 3]), Errno> {
        let mut ends = Ends { app: app.to_owned(), stdin: None, outputs: Vec::new(), terminal: None };
        if streams.has_terminal() {
            let main = terminal::pair()?;
            rustix::io::ioctl_fionbio(&main, true)?;
            ends.outputs.push((End::TtyOut, rustix::io::fcntl_dupfd_cloexec(&main, 3)?));
            ends.terminal = Some(main);
        }
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
        let stdin = match streams.stdin {
            Mode::Stream => {
                let (theirs, ours) = pipe()?;
                rustix::io::ioctl_fionbio(&ours, true)?;
                ends.stdin = Some(ours);
                Some(theirs)
            }
            mode => ends.side(mode)?,
        };
        let mut output = |mode, end| match mode {
            Mode::Stream => {
                let (ours, theirs) = pipe()?;
                rustix::io::ioctl_fionbio(&ours, true)?;
                ends.outputs.push((end, ours));
                Ok(Some(theirs))
            }
            mode => ends.side(mode),
        };
        let stdout = output(streams.stdout, End::Stdout)?;
        let stderr = output(streams.stderr, End::Stderr)?;
        Ok((ends, [stdin, stdout, stderr]))
    }

    /// The app's side of the terminal.
    fn side(&self, mode: Mode) -> Result<Option<OwnedFd>, Errno> {
        match &self.terminal {
            Some(main) if mode == Mode::Tty => terminal::side(main).map(Some),
            _ => Ok(None),
        }
    }

    /// Whose they are.
    pub(super) fn name(&self) -> &str {
        &self.app
    }

    /// Whether any is open.
    pub(super) fn is_open(&self) -> bool {
        self.stdin.is_some() || !self.outputs.is_empty()
    }

    /// Those that the app writes to and that have not ended.
    pub(super) fn outputs(&self) -> impl Iterator<Item = (End, BorrowedFd<'_>)> {
        self.outputs.iter().map(|(end, fd)| (*end, fd.as_fd()))
    }

    /// Whether the app has this one, and it has not ended.
    pub(super) fn has(&self, end: End) -> bool {
        if end.is_input() { self.input(end).is_some() } else { self.outputs().any(|(known, _)| known == end) }
    }

    /// Where what is typed goes.
    pub(super) fn input(&self, end: End) -> Option<BorrowedFd<'_>> {
        match end {
            End::Stdin => self.stdin.as_ref().map(AsFd::as_fd),
            End::TtyIn => self.terminal.as_ref().map(AsFd::as_fd),
            _ => None,
        }
    }

    /// Reads what the app has written. `Ok(None)` where there is nothing now; an error is its end.
    pub(super) fn read(&mut self, end: End, buffer: &mut [u8]) -> Result<Option<usize>, Errno> {
        let Some(place) = self.outputs.iter().position(|(known, _)| *known == end) else {
            return Err(Errno::PIPE);
        };
        match rustix::io::read(&self.outputs[place].1, buffer) {
            Ok(length) if length > 0 => Ok(Some(length)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            // Also the app's side of a terminal that nobody has open.
            ended => {
                self.outputs.remove(place);
                Err(ended.err().unwrap_or(Errno::PIPE))
            }
        }
    }

    /// Whether there is something to read, or the end.
    pub(super) fn has_more(&self, end: End) -> bool {
        let Some((_, fd)) = self.outputs.iter().find(|(known, _)| *known == end) else { return false };
        let mut fds = [PollFd::new(fd, PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Ends the app's standard input.
    pub(super) fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Gives the app's terminal another size.
    pub(super) fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        if let Some(main) = &self.terminal
            && rustix::termios::tcsetwinsize(main, size).is_err()
        {
            // The app keeps the size it had.
        }
    }
}
