//! One of our own output streams, to which what apps write is passed on.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use crate::flow::{Pending, Sink};

/// The stream, and what it has not taken yet: at most a chunk, since nothing is read for it as long as something is left.
#[derive(Debug)]
pub(super) struct Passing {
    sink: Sink,
    pending: Pending,
}

impl Passing {
    /// To one of our standard streams.
    pub(super) fn to(fd: BorrowedFd<'static>) -> Passing {
        Passing { sink: Sink::standard(fd), pending: Pending::default() }
    }

    /// The stream, where it has not taken all.
    pub(super) fn blocked(&self) -> Option<BorrowedFd<'_>> {
        (!self.pending.is_empty()).then(|| self.sink.as_fd())
    }

    /// Goes on with what it has not taken.
    pub(super) fn flush(&mut self) -> Result<(), Errno> {
        if self.pending.is_empty() { Ok(()) } else { self.pending.flush(&self.sink) }
    }
}

/// Passes bytes to a target, unless it has gone.
pub(super) fn pass(target: &mut Option<Passing>, bytes: &[u8]) {
    if target.as_mut().is_some_and(|to| to.pending.write(&to.sink, bytes).is_err()) {
        *target = None;
    }
}
