//! Somewhere to write without ever waiting, whoever else has it open.

use std::{
    io::Write,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{FileType, Mode, OFlags, fstat},
    io::Errno,
    net::SendFlags,
    pipe::PIPE_BUF,
};

/// The number of `/dev/ptmx`: opening that again makes another terminal.
const PTMX: (u32, u32) = (5, 2);

/// A descriptor to write to.
#[derive(Debug)]
pub(crate) enum Sink {
    /// Nobody else's, and non-blocking.
    Own(OwnedFd),
    /// A socket that others have, too.
    Socket(BorrowedFd<'static>),
    /// A file or a device that does not make anybody wait.
    Ready(BorrowedFd<'static>),
    /// One that others have, too, and that cannot be opened again: we write no more than is sure to fit.
    Shared(BorrowedFd<'static>),
}

impl Sink {
    /// One of our standard streams. Whoever started us has it as well, so it is not made non-blocking: a pipe or a terminal is
    /// opened again.
    pub(crate) fn standard(fd: BorrowedFd<'static>) -> Sink {
        let Ok(stat) = fstat(fd) else { return Sink::Shared(fd) };
        let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Socket => return Sink::Socket(fd),
            FileType::Fifo => {}
            FileType::CharacterDevice if device == PTMX => return Sink::Shared(fd),
            FileType::CharacterDevice if rustix::termios::isatty(fd) => {}
            _ => return Sink::Ready(fd),
        }
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match rustix::fs::open(format!("/proc/self/fd/{}", fd.as_raw_fd()), flags, Mode::empty()) {
            Ok(own) => Sink::Own(own),
            Err(_) => Sink::Shared(fd),
        }
    }

    /// A descriptor that nobody else has.
    pub(crate) fn own(fd: OwnedFd) -> Result<Sink, Errno> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Sink::Own(fd))
    }

    /// Writes as much as is taken at once, which may be nothing.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let mut written = 0;
        while written < bytes.len() {
            let rest = &bytes[written..];
            let result = match self {
                Sink::Own(fd) => rustix::io::write(fd, rest),
                Sink::Ready(fd) => rustix::io::write(fd, rest),
                Sink::Socket(fd) => rustix::net::send(fd, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
                Sink::Shared(fd) if !takes(*fd, 0) => Err(Errno::AGAIN),
                Sink::Shared(fd) => rustix::io::write(fd, &rest[..rest.len().min(PIPE_BUF)]),
            };
            match result {
                Ok(length) => written += length,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(written)
    }
}

impl AsFd for Sink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Sink::Own(fd) => fd.as_fd(),
            Sink::Socket(fd) | Sink::Ready(fd) | Sink::Shared(fd) => *fd,
        }
    }
}

/// Whether something can be written within this time, or never will.
fn takes(fd: BorrowedFd<'_>, milliseconds: i64) -> bool {
    let timeout = Timespec { tv_sec: 0, tv_nsec: milliseconds * 1_000_000 };
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    rustix::event::poll(&mut fds, Some(&timeout)).is_ok_and(|ready| ready > 0)
}

/// Writes a message to stderr, where that is taken soon. Nobody who does not read keeps us from our work.
pub(crate) fn tell(message: &str) {
    for part in message.as_bytes().chunks(PIPE_BUF) {
        if !takes(rustix::stdio::stderr(), 100) || std::io::stderr().write_all(part).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::pipe::PipeFlags;

    use super::*;

    #[test]
    fn a_full_pipe_takes_nothing_and_keeps_nobody() {
        let (theirs, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
        let sink = Sink::own(ours).unwrap();
        let written = sink.write(&[7; 1 << 20]).unwrap();
        assert!((1..1 << 20).contains(&written), "{written}");
        assert_eq!(sink.write(b"more"), Ok(0));
        drop(theirs);
        assert_eq!(sink.write(b"more"), Err(Errno::PIPE));
    }

    #[test]
    fn a_pipe_of_others_stays_as_it_is() {
        let (_theirs, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
        let fd: &'static OwnedFd = Box::leak(Box::new(ours));
        let sink = Sink::standard(fd.as_fd());
        assert!(matches!(sink, Sink::Own(_)), "{sink:?}");
        assert!(sink.write(&[7; 1 << 20]).unwrap() < 1 << 20);
        assert!(!rustix::fs::fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK));
        // Without a second opening it is written to as long as something is sure to fit.
        assert_eq!(Sink::Shared(fd.as_fd()).write(b"more"), Ok(0));
    }

    #[test]
    fn a_file_takes_all() {
        let file = tempfile::tempfile().unwrap();
        let fd: &'static OwnedFd = Box::leak(Box::new(OwnedFd::from(file)));
        assert_eq!(Sink::standard(fd.as_fd()).write(&[7; 1 << 20]), Ok(1 << 20));
    }
}
