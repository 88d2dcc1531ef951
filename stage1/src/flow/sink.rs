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
pub(crate) struct Sink {
    fd: Descriptor,
    way: Way,
}

#[derive(Debug)]
enum Descriptor {
    Own(OwnedFd),
    Standard(BorrowedFd<'static>),
}

/// How it is written to without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It is non-blocking, and nobody else has it.
    NonBlocking,
    /// A socket that others have, too.
    Socket,
    /// A file or a device that does not make anybody wait.
    Ready,
    /// Others have it, too, and it cannot be opened again: we write no more than is sure to fit.
    Shared,
}

impl Sink {
    /// One of our standard streams. Whoever started us has it as well, so it is not made non-blocking: a pipe or a terminal is
    /// opened again.
    pub(crate) fn standard(fd: BorrowedFd<'static>) -> Sink {
        let (way, again) = way(fd);
        Sink { fd: again.map_or(Descriptor::Standard(fd), Descriptor::Own), way }
    }

    /// What somebody has given us and has as well, in the same way.
    pub(crate) fn given(fd: OwnedFd) -> Sink {
        let (way, again) = way(fd.as_fd());
        Sink { fd: Descriptor::Own(again.unwrap_or(fd)), way }
    }

    /// A descriptor that nobody else has.
    pub(crate) fn own(fd: OwnedFd) -> Result<Sink, Errno> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Sink { fd: Descriptor::Own(fd), way: Way::NonBlocking })
    }

    /// Writes as much as is taken at once, which may be nothing.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let fd = self.as_fd();
        let mut written = 0;
        while written < bytes.len() {
            let rest = &bytes[written..];
            let result = match self.way {
                Way::NonBlocking | Way::Ready => rustix::io::write(fd, rest),
                Way::Socket => rustix::net::send(fd, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
                Way::Shared if !takes(fd, 0) => Err(Errno::AGAIN),
                Way::Shared => rustix::io::write(fd, &rest[..rest.len().min(PIPE_BUF)]),
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
        match &self.fd {
            Descriptor::Own(fd) => fd.as_fd(),
            Descriptor::Standard(fd) => *fd,
        }
    }
}

/// How to write to what others have as well, and the same opened again, where that is the way.
fn way(fd: BorrowedFd<'_>) -> (Way, Option<OwnedFd>) {
    let Ok(stat) = fstat(fd) else { return (Way::Shared, None) };
    let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Socket => return (Way::Socket, None),
        FileType::Fifo => {}
        FileType::CharacterDevice if device == PTMX => return (Way::Shared, None),
        FileType::CharacterDevice if rustix::termios::isatty(fd) => {}
        _ => return (Way::Ready, None),
    }
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match rustix::fs::open(format!("/proc/self/fd/{}", fd.as_raw_fd()), flags, Mode::empty()) {
        Ok(own) => (Way::NonBlocking, Some(own)),
        Err(_) => (Way::Shared, None),
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
        assert_eq!(sink.way, Way::NonBlocking);
        assert!(sink.write(&[7; 1 << 20]).unwrap() < 1 << 20);
        assert!(!rustix::fs::fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK));
        // Without a second opening it is written to as long as something is sure to fit.
        assert_eq!(Sink { fd: Descriptor::Standard(fd.as_fd()), way: Way::Shared }.write(b"more"), Ok(0));
    }

    #[test]
    fn a_file_takes_all() {
        let file = tempfile::tempfile().unwrap();
        let fd: &'static OwnedFd = Box::leak(Box::new(OwnedFd::from(file)));
        assert_eq!(Sink::standard(fd.as_fd()).write(&[7; 1 << 20]), Ok(1 << 20));
    }
}
