//! The terminal of an interactive pod: a pseudo-terminal of the app's own, connected to the user's.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::{
    io::Errno,
    pty::OpenptFlags,
    stdio::{stdin, stdout},
    termios::{OptionalActions, Termios},
};

/// The two ends that are pumped.
const FROM_USER: usize = 0;
const FROM_APP: usize = 1;

/// The user's terminal in raw mode, and the app's pseudo-terminal. Dropping it restores the user's.
#[derive(Debug)]
pub(crate) struct Terminal {
    main: OwnedFd,
    /// Where the app's output goes.
    screen: BorrowedFd<'static>,
    before: Termios,
    user_open: bool,
    app_open: bool,
}

/// Whether this process belongs to a session with a terminal, which may be lost.
pub(crate) fn is_controlled() -> bool {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open("/dev/tty", OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).is_ok()
}

impl Terminal {
    /// Takes over the user's terminal; `None` where stdin is none.
    pub(crate) fn open() -> Result<Option<Terminal>> {
        if !rustix::termios::isatty(stdin()) {
            return Ok(None);
        }
        let main = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .context("make a pseudo-terminal")?;
        rustix::pty::grantpt(&main).context("make a pseudo-terminal")?;
        rustix::pty::unlockpt(&main).context("unlock the pseudo-terminal")?;
        let before = rustix::termios::tcgetattr(stdin()).context("read the terminal's settings")?;
        let terminal = Terminal { main, screen: stdout(), before, user_open: true, app_open: true };
        terminal.resize();
        let mut raw = terminal.before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(stdin(), OptionalActions::Now, &raw)
            .context("set the terminal to raw mode")?;
        Ok(Some(terminal))
    }

    /// The app's side of the pseudo-terminal, three times.
    pub(crate) fn app_side(&self) -> Result<[OwnedFd; 3]> {
        let side = || {
            rustix::pty::ioctl_tiocgptpeer(
                &self.main,
                OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
            )
            .context("open the app's side of the pseudo-terminal")
        };
        Ok([side()?, side()?, side()?])
    }

    /// Has the app's output go to another terminal than our standard output.
    pub(crate) fn show_on(&mut self, screen: BorrowedFd<'static>) {
        self.screen = screen;
    }

    /// Gives the app's terminal the size of the user's.
    pub(crate) fn resize(&self) {
        if let Ok(size) = rustix::termios::tcgetwinsize(stdin())
            && rustix::termios::tcsetwinsize(&self.main, size).is_err()
        {
            // The app keeps the size it had.
        }
    }

    /// The ends to watch, each with the index that [`Terminal::pump`] takes.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let user = self.user_open.then_some((FROM_USER, stdin()));
        let app = self.app_open.then_some((FROM_APP, self.main.as_fd()));
        user.into_iter().chain(app)
    }

    /// Moves on what one end has to say now.
    pub(crate) fn pump(&mut self, end: usize) {
        let mut buffer = [0; 16 * 1024];
        if end == FROM_USER {
            self.user_open = copy(stdin(), self.main.as_fd(), &mut buffer);
        } else {
            self.app_open = copy(self.main.as_fd(), self.screen, &mut buffer);
        }
    }

    /// Moves on what the app wrote before it ended.
    pub(crate) fn finish(&mut self) {
        if rustix::io::ioctl_fionbio(&self.main, true).is_err() {
            return;
        }
        while self.app_open {
            self.pump(FROM_APP);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        for _ in 0..3 {
            if rustix::termios::tcsetattr(stdin(), OptionalActions::Flush, &self.before) != Err(Errno::INTR) {
                return;
            }
            sleep(Duration::from_millis(1));
        }
    }
}

/// Copies what is there now; `false` at the end of either side. An app's side that nobody has open reads as `EIO`.
pub(crate) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, buffer: &mut [u8]) -> bool {
    let length = match rustix::io::read(from, &mut *buffer) {
        Ok(0) | Err(_) => return false,
        Ok(length) => length,
    };
    let mut rest = &buffer[..length];
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}
