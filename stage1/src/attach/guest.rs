//! Somebody who is attached to an app, or about to be.

use std::{
    io::IoSliceMut,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rkt_pod::attach::{End, LARGEST_MESSAGE, Reply, Request};
use rustix::{
    event::PollFlags,
    io::Errno,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags},
};

use super::{CHUNK, ends::Ends};
use crate::flow::{Flow, Pending, Sink};

/// The ends of an app, at most.
const MAX_DESCRIPTORS: usize = 5;

/// The connection, and what came with it.
#[derive(Debug)]
pub(super) struct Guest {
    socket: OwnedFd,
    app: Option<usize>,
    input: Option<Input>,
    outputs: Vec<Output>,
    /// Whether the app's standard input is to end with this one's.
    close_stdin: bool,
    refused: bool,
}

#[derive(Debug)]
struct Input {
    source: OwnedFd,
    flow: Flow,
}

#[derive(Debug)]
struct Output {
    end: End,
    sink: Sink,
    pending: Pending,
    /// Whether the app writes nothing more.
    ended: bool,
}

impl Guest {
    /// Somebody who has just come in.
    pub(super) fn new(socket: OwnedFd) -> Guest {
        Guest { socket, app: None, input: None, outputs: Vec::new(), close_stdin: false, refused: false }
    }

    /// The connection.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Which app it is attached to.
    pub(super) fn app(&self) -> Option<usize> {
        self.app
    }

    /// What it says, and the descriptors with that. An error is its end.
    pub(super) fn next(&mut self) -> Result<Option<(Request, Vec<OwnedFd>)>, Errno> {
        let mut text = [0; LARGEST_MESSAGE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let parts = &mut [IoSliceMut::new(&mut text)];
        let received = rustix::net::recvmsg(&self.socket, parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC);
        let length = match received {
            Ok(received) if received.bytes > 0 => received.bytes,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Ok(_) => return Err(Errno::PIPE),
            Err(errno) => return Err(errno),
        };
        let descriptors = ancillary.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        let descriptors = descriptors.flatten().collect();
        match serde_json::from_slice(&text[..length]) {
            Ok(request) => Ok(Some((request, descriptors))),
            Err(error) => {
                self.answer(Err(error.to_string()));
                Ok(None)
            }
        }
    }

    /// Attaches it. The error is for the user.
    pub(super) fn attach(
        &mut self,
        app: usize,
        known: &Ends,
        ends: &[End],
        descriptors: Vec<OwnedFd>,
        close_stdin: bool,
    ) -> Result<(), String> {
        if self.app.is_some() || descriptors.len() != ends.len() || ends.is_empty() {
            return Err("to be attached takes a descriptor for each end, once".to_owned());
        }
        if ends.iter().filter(|end| end.is_input()).count() > 1 {
            return Err("what is typed goes to one end".to_owned());
        }
        if let Some(end) = ends.iter().find(|end| !known.has(**end)) {
            return Err(format!("the app has no {} to attach to, or it has ended", end.name()));
        }
        let fails = |errno: Errno| format!("a descriptor cannot be used: {errno}");
        for (end, fd) in ends.iter().zip(descriptors) {
            match known.input(*end) {
                Some(input) => {
                    let sink = Sink::own(input.try_clone_to_owned().map_err(|error| error.to_string())?);
                    let flow = Flow::new(sink.map_err(fails)?, CHUNK);
                    rustix::io::ioctl_fionbio(&fd, true).map_err(fails)?;
                    self.input = Some(Input { source: fd, flow });
                }
                None => self.outputs.push(Output {
                    end: *end,
                    sink: Sink::given(fd),
                    pending: Pending::default(),
                    ended: false,
                }),
            }
        }
        self.app = Some(app);
        self.close_stdin = close_stdin && ends.contains(&End::Stdin);
        Ok(())
    }

    /// Says how that went. Who is refused is let go.
    pub(super) fn answer(&mut self, done: Result<(), String>) {
        self.refused = done.is_err();
        let text = serde_json::to_vec(&Reply { error: done.err() }).unwrap_or_default();
        if rustix::net::send(&self.socket, &text, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).is_err() {
            self.refused = true;
        }
    }

    /// Whether there is nothing more to do for it.
    pub(super) fn is_done(&self) -> bool {
        let over = self.outputs.iter().all(|output| output.ended && output.pending.is_empty());
        // Who only types stays until all of it has gone to the app.
        let is_silent = self.input.as_ref().is_none_or(|input| input.flow.has_ended());
        let is_over = if self.outputs.is_empty() { is_silent } else { over };
        self.refused || (self.app.is_some() && is_over)
    }

    /// What has not been taken.
    pub(super) fn blocked(&self) -> impl Iterator<Item = (End, BorrowedFd<'_>)> {
        let blocked = self.outputs.iter().filter(|output| !output.pending.is_empty());
        blocked.map(|output| (output.end, output.sink.as_fd()))
    }

    /// Whether this has not been taken.
    pub(super) fn is_blocked(&self, end: End) -> bool {
        self.blocked().any(|(blocked, _)| blocked == end)
    }

    /// Passes on what the app has written. An error says that nobody is there to take it.
    pub(super) fn pass(&mut self, end: End, bytes: &[u8]) -> Result<(), Errno> {
        match self.outputs.iter_mut().find(|output| output.end == end) {
            Some(output) => output.pending.write(&output.sink, bytes),
            None => Ok(()),
        }
    }

    /// Goes on with what has not been taken.
    pub(super) fn flush(&mut self, end: End) -> Result<(), Errno> {
        match self.outputs.iter_mut().find(|output| output.end == end) {
            Some(output) => output.pending.flush(&output.sink),
            None => Ok(()),
        }
    }

    /// Notes that the app writes nothing more to this.
    pub(super) fn end(&mut self, end: End) {
        self.outputs.iter_mut().filter(|output| output.end == end).for_each(|output| output.ended = true);
    }

    /// What to wait for before the next of what it types goes on.
    pub(super) fn input(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.input.as_ref().and_then(|input| input.flow.waits(input.source.as_fd()))
    }

    /// Whether a part of what it typed has not been taken.
    pub(super) fn is_typing(&self) -> bool {
        self.input.as_ref().is_some_and(|input| input.flow.is_blocked())
    }

    /// Goes on with what it types.
    pub(super) fn type_in(&mut self) {
        if let Some(input) = &mut self.input {
            input.flow.advance(input.source.as_fd());
        }
    }

    /// Whether the app's standard input is to end now.
    pub(super) fn closes_stdin(&self) -> bool {
        self.close_stdin && self.input.as_ref().is_some_and(|input| input.flow.has_ended())
    }

    /// Passes nothing more to the app.
    pub(super) fn close_input(&mut self) {
        self.input = None;
    }
}
