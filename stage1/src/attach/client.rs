//! The entry point `attach`: connects the user's streams to an app's, until the app's or the user is done.
//!
//! What the app writes goes from the pod's supervisor to the user's streams directly. What the user types passes through here,
//! where the keys are that detach.

use std::{
    io::IoSlice,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use anyhow::{Context, Result, bail};
use rkt_pod::{
    attach::{End, LARGEST_MESSAGE, Reply, Request},
    layout,
    stage1::AttachArgs,
};
use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
        SocketFlags, SocketType,
    },
    pipe::PipeFlags,
    stdio::{stderr, stdin, stdout},
    termios::isatty,
};

use crate::{
    flow::{Flow, Sink},
    sys::{SignalFd, Signals},
    terminal::Raw,
};

/// How much of what is typed is moved at once, in bytes.
const CHUNK: usize = 16 * 1024;

/// Those that end us, and that of the terminal's size.
const SIGNALS: [i32; 6] =
    [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGPIPE, libc::SIGWINCH];

/// Attaches, and returns the exit status: 0 where the app's streams have ended, or the user has detached.
pub(crate) fn main() -> Result<u8> {
    let args = AttachArgs::parse(std::env::args_os().skip(1)).map_err(anyhow::Error::msg)?;
    let signals =
        Signals::block(&SIGNALS).and_then(|signals| signals.descriptor()).context("block signals")?;
    let socket = connect()?;
    let typed = typed(&args)?;
    request(&socket, &args, typed.as_ref().map(|(theirs, _)| theirs.as_fd()))?;
    let mut keyboard = match typed {
        None => None,
        Some((_, ours)) => Some(Flow::new(Sink::own(ours)?, CHUNK)),
    };
    // The user's own terminal is raw only where there is one at the other end: elsewhere its editing is wanted.
    let is_terminal = isatty(stdin()) && args.ends.contains(&End::TtyIn);
    let _raw =
        is_terminal.then(|| Raw::enter(stdin())).transpose().context("set the terminal to raw mode")?;
    if args.ends.contains(&End::TtyOut) {
        resize(&socket);
    }
    let mut keys = Keys { sequence: &args.detach_keys, matched: 0 };
    let detaches = isatty(stdin());
    loop {
        let mut fds = vec![
            PollFd::new(&socket, PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        let input = keyboard.as_ref().and_then(|keyboard| keyboard.waits(stdin()));
        fds.extend(input.map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)));
        match rustix::event::poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("wait for the app"),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        if ready[0] && has_ended(&socket) {
            return Ok(0);
        }
        if ready[1]
            && let Some(status) = signalled(&signals, &socket)?
        {
            return Ok(status);
        }
        if ready.get(2).copied().unwrap_or(false)
            && let Some(flow) = &mut keyboard
        {
            let mut detached = false;
            flow.advance_through(stdin(), |bytes| {
                let (kept, done) = if detaches { keys.filter(bytes) } else { (bytes.to_vec(), false) };
                detached = done;
                kept
            });
            if detached {
                return Ok(0);
            }
            // The app's supervisor sees the end of what is typed.
            if flow.has_ended() {
                keyboard = None;
            }
        }
    }
}

/// A connection to the supervisor of the pod, whose directory is the working directory.
fn connect() -> Result<OwnedFd> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .context("make a socket")?;
    match rustix::net::connect(&socket, &SocketAddrUnix::new(Path::new(layout::ATTACH))?) {
        Ok(()) => Ok(socket),
        Err(Errno::CONNREFUSED | Errno::NOENT) => {
            bail!("the pod's supervisor does not listen: it has ended, or starts up")
        }
        Err(errno) => Err(errno).context("reach the pod's supervisor"),
    }
}

/// A pipe for what is typed, the supervisor's end first.
fn typed(args: &AttachArgs) -> Result<Option<(OwnedFd, OwnedFd)>> {
    if !args.ends.iter().any(|end| end.is_input()) {
        return Ok(None);
    }
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map(Some).context("make a pipe")
}

/// Asks to be attached, and waits for the answer.
fn request(socket: &OwnedFd, args: &AttachArgs, typed: Option<BorrowedFd<'_>>) -> Result<()> {
    let request =
        Request::Attach { app: args.app.clone(), ends: args.ends.clone(), close_stdin: args.close_stdin };
    let (stdout, stderr) = (stdout(), stderr());
    let descriptor = |end: &End| match end {
        End::Stdin | End::TtyIn => typed,
        End::Stdout | End::TtyOut => Some(stdout),
        End::Stderr => Some(stderr),
    };
    let descriptors: Vec<BorrowedFd<'_>> = args.ends.iter().filter_map(descriptor).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(5))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        bail!("too many streams");
    }
    let text = serde_json::to_vec(&request)?;
    let gone = "the pod's supervisor has ended, or has too many who are attached";
    match rustix::net::sendmsg(socket, &[IoSlice::new(&text)], &mut ancillary, SendFlags::NOSIGNAL) {
        Ok(_) => {}
        Err(Errno::PIPE | Errno::CONNRESET) => bail!(gone),
        Err(errno) => return Err(errno).context("ask the pod's supervisor"),
    }
    let mut answer = [0; LARGEST_MESSAGE];
    let (length, _) =
        rustix::io::retry_on_intr(|| rustix::net::recv(socket, &mut answer[..], RecvFlags::empty()))
            .context("hear from the pod's supervisor")?;
    if length == 0 {
        bail!(gone);
    }
    let reply: Reply = serde_json::from_slice(&answer[..length]).context("the supervisor's answer")?;
    match reply.error {
        None => Ok(()),
        Some(error) => bail!("app {:?}: {error}", args.app),
    }
}

/// Whether the supervisor has let us go. It says nothing else.
fn has_ended(socket: &OwnedFd) -> bool {
    let mut buffer = [0; 16];
    match rustix::net::recv(socket, &mut buffer[..], RecvFlags::DONTWAIT) {
        Ok((length, _)) => length == 0,
        Err(errno) => !matches!(errno, Errno::AGAIN | Errno::INTR),
    }
}

/// Reads what we were sent: the status with which to end, where that was asked for.
fn signalled(signals: &SignalFd, socket: &OwnedFd) -> Result<Option<u8>> {
    while let Some((signal, _)) = signals.next().context("read a signal")? {
        match signal {
            libc::SIGWINCH => resize(socket),
            libc::SIGPIPE => {}
            other => return Ok(Some(u8::try_from(128 + other).unwrap_or(u8::MAX))),
        }
    }
    Ok(None)
}

/// Gives the app's terminal the size of the user's.
fn resize(socket: &OwnedFd) {
    let sizes = [stdin(), stdout()].into_iter().filter_map(|fd| rustix::termios::tcgetwinsize(fd).ok());
    let Some(size) = sizes.into_iter().next() else { return };
    let request = Request::Resize { rows: size.ws_row, columns: size.ws_col };
    let text = serde_json::to_vec(&request).unwrap_or_default();
    if rustix::net::send(socket, &text, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).is_err() {
        // The app keeps the size it had.
    }
}

/// The keys that detach, and how many of them were typed.
#[derive(Debug)]
struct Keys<'a> {
    sequence: &'a [u8],
    matched: usize,
}

impl Keys<'_> {
    /// What of the bytes is for the app, and whether the whole sequence was typed. What may be its beginning is kept back.
    fn filter(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut kept = Vec::with_capacity(bytes.len());
        if self.sequence.is_empty() {
            return (bytes.to_vec(), false);
        }
        for byte in bytes {
            if *byte != self.sequence[self.matched] {
                kept.extend_from_slice(&self.sequence[..self.matched]);
                self.matched = 0;
            }
            if *byte == self.sequence[self.matched] {
                self.matched += 1;
            } else {
                kept.push(*byte);
            }
            if self.matched == self.sequence.len() {
                return (kept, true);
            }
        }
        (kept, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_that_detach_are_found_and_nothing_else_is_lost() {
        let mut keys = Keys { sequence: &[16, 17], matched: 0 };
        assert_eq!(keys.filter(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(keys.filter(b"c"), (b"\x10c".to_vec(), false));
        assert_eq!(keys.filter(b"\x10\x10\x11rest"), (b"\x10".to_vec(), true));
        let mut none = Keys { sequence: &[], matched: 0 };
        assert_eq!(none.filter(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }
}
