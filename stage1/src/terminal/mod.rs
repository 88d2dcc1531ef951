//! The terminal of an interactive pod: a pseudo-terminal of the app's own, connected to the user's.

mod raw;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use rustix::{
    event::PollFlags,
    io::Errno,
    pty::OpenptFlags,
    stdio::{stdin, stdout},
};

use crate::flow::{Flow, Sink};
pub(crate) use raw::Raw;

/// How much is moved at once, in bytes.
const CHUNK: usize = 16 * 1024;

/// The two ends that are pumped.
const FROM_USER: usize = 0;
const FROM_APP: usize = 1;

/// The user's terminal in raw mode, and the app's pseudo-terminal. Dropping it restores the user's, and so does our death.
#[derive(Debug)]
pub(crate) struct Terminal {
    main: OwnedFd,
    _raw: Raw,
    /// What the user types, on its way to the app.
    keyboard: Flow,
    /// The app's output, on its way to the user.
    screen: Flow,
}

/// Whether this process belongs to a session with a terminal, which may be lost.
pub(crate) fn is_controlled() -> bool {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open("/dev/tty", OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).is_ok()
}

/// A new pseudo-terminal: the end that is not an app's.
pub(crate) fn pair() -> Result<OwnedFd, Errno> {
    let main = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::pty::grantpt(&main)?;
    rustix::pty::unlockpt(&main)?;
    Ok(main)
}

/// The app's side of a pseudo-terminal.
pub(crate) fn side(main: &OwnedFd) -> Result<OwnedFd, Errno> {
    rustix::pty::ioctl_tiocgptpeer(main, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
}

impl Terminal {
    /// Takes over the user's terminal; `None` where stdin is none.
    pub(crate) fn open() -> Result<Option<Terminal>> {
        if !rustix::termios::isatty(stdin()) {
            return Ok(None);
        }
        let main = pair().context("make a pseudo-terminal")?;
        let typed = Sink::own(main.try_clone().context("duplicate the pseudo-terminal")?)?;
        let (keyboard, screen) = (Flow::new(typed, CHUNK), Flow::new(Sink::standard(stdout()), CHUNK));
        let raw = Raw::enter(stdin()).context("set the terminal to raw mode")?;
        let terminal = Terminal { main, _raw: raw, keyboard, screen };
        terminal.resize();
        Ok(Some(terminal))
    }

    /// The app's side of the pseudo-terminal, three times.
    pub(crate) fn app_side(&self) -> Result<[OwnedFd; 3]> {
        let side = || side(&self.main).context("open the app's side of the pseudo-terminal");
        Ok([side()?, side()?, side()?])
    }

    /// Has the app's output go to another terminal than our standard output.
    pub(crate) fn show_on(&mut self, screen: BorrowedFd<'static>) {
        self.screen = Flow::new(Sink::standard(screen), CHUNK);
    }

    /// Gives the app's terminal the size of the user's.
    pub(crate) fn resize(&self) {
        if let Ok(size) = rustix::termios::tcgetwinsize(stdin())
            && rustix::termios::tcsetwinsize(&self.main, size).is_err()
        {
            // The app keeps the size it had.
        }
    }

    /// What to wait for, each with the index that [`Terminal::pump`] takes.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>, PollFlags)> {
        let user = self.keyboard.waits(stdin()).map(|(fd, flags)| (FROM_USER, fd, flags));
        let app = self.screen.waits(self.main.as_fd()).map(|(fd, flags)| (FROM_APP, fd, flags));
        user.into_iter().chain(app)
    }

    /// Goes on with one direction, after what it was waiting for.
    pub(crate) fn pump(&mut self, end: usize) {
        if end == FROM_USER {
            self.keyboard.advance(stdin());
        } else {
            self.screen.advance(self.main.as_fd());
        }
    }

    /// Moves on what the app wrote before it ended, as far as the user's terminal takes it.
    pub(crate) fn drain(&mut self) {
        self.screen.drain(self.main.as_fd());
    }

    /// The user's terminal, where it has not taken all.
    pub(crate) fn blocked(&self) -> Option<BorrowedFd<'_>> {
        self.screen.is_blocked().then(|| self.screen.sink())
    }

    /// Shows nothing any more.
    pub(crate) fn give_up(&mut self) {
        self.screen.give_up();
    }
}
