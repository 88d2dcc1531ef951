//! Moving bytes without ever waiting for whoever is to take them: one slow reader must not hold up anything else.

mod sink;

use std::os::fd::{AsFd, BorrowedFd};

use rustix::{event::PollFlags, io::Errno};

pub(crate) use sink::{Sink, tell};

/// Bytes on their way to a sink, which has taken the first of them.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    bytes: Vec<u8>,
    taken: usize,
}

impl Pending {
    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        *self = Pending::default();
    }

    /// Writes `bytes` after what is left, as far as the sink takes it now, and keeps the rest.
    pub(crate) fn write(&mut self, sink: &Sink, bytes: &[u8]) -> Result<(), Errno> {
        let taken = if self.is_empty() { sink.write(bytes)? } else { 0 };
        if taken < bytes.len() {
            self.bytes.extend_from_slice(&bytes[taken..]);
        }
        Ok(())
    }

    /// Writes what is left, as far as the sink takes it now.
    pub(crate) fn flush(&mut self, sink: &Sink) -> Result<(), Errno> {
        self.taken += sink.write(&self.bytes[self.taken..])?;
        if self.is_empty() {
            self.clear();
        }
        Ok(())
    }
}

/// From one descriptor to a sink, a chunk at a time. Nothing is read while the sink has not taken what was read before.
#[derive(Debug)]
pub(crate) struct Flow {
    sink: Sink,
    pending: Pending,
    buffer: Box<[u8]>,
    /// Whether the source has not ended.
    open: bool,
}

impl Flow {
    /// To this sink, `chunk` bytes at a time.
    pub(crate) fn new(sink: Sink, chunk: usize) -> Flow {
        let buffer = vec![0; chunk].into_boxed_slice();
        Flow { sink, pending: Pending::default(), buffer, open: true }
    }

    /// What has to be waited for: that the source has something, or that the sink takes more.
    pub(crate) fn waits<'a>(&'a self, source: BorrowedFd<'a>) -> Option<(BorrowedFd<'a>, PollFlags)> {
        match (self.pending.is_empty(), self.open) {
            (false, _) => Some((self.sink.as_fd(), PollFlags::OUT)),
            (true, true) => Some((source, PollFlags::IN)),
            (true, false) => None,
        }
    }

    /// Whether there is nothing more to come: at the end of either side.
    pub(crate) fn has_ended(&self) -> bool {
        self.pending.is_empty() && !self.open
    }

    /// Whether something read has not been taken yet.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Goes on after what was waited for. An app's side of a terminal that nobody has open reads as `EIO`.
    pub(crate) fn advance(&mut self, source: BorrowedFd<'_>) {
        if !self.pending.is_empty() {
            return self.flush();
        }
        if let Some(length) = self.read(source)
            && self.pending.write(&self.sink, &self.buffer[..length]).is_err()
        {
            self.give_up();
        }
    }

    /// The same; `filter` says what of the bytes that were read goes on.
    pub(crate) fn advance_through(&mut self, source: BorrowedFd<'_>, filter: impl FnOnce(&[u8]) -> Vec<u8>) {
        if !self.pending.is_empty() {
            return self.flush();
        }
        if let Some(length) = self.read(source) {
            let bytes = filter(&self.buffer[..length]);
            if self.pending.write(&self.sink, &bytes).is_err() {
                self.give_up();
            }
        }
    }

    fn flush(&mut self) {
        if self.pending.flush(&self.sink).is_err() {
            self.give_up();
        }
    }

    fn read(&mut self, source: BorrowedFd<'_>) -> Option<usize> {
        match rustix::io::read(source, &mut self.buffer[..]) {
            Ok(length) if length > 0 => return Some(length),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Ok(_) | Err(_) => self.end(),
        }
        None
    }

    /// Moves what a non-blocking source still holds, as far as the sink takes it. A source that has nothing more has ended.
    pub(crate) fn drain(&mut self, source: BorrowedFd<'_>) {
        if !self.pending.is_empty() {
            self.flush();
        }
        while self.open && self.pending.is_empty() {
            match rustix::io::read(source, &mut self.buffer[..]) {
                Ok(0) => self.end(),
                Ok(length) => {
                    if self.pending.write(&self.sink, &self.buffer[..length]).is_err() {
                        self.give_up();
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => self.end(),
            }
        }
    }

    /// Reads no more.
    pub(crate) fn end(&mut self) {
        self.open = false;
    }

    /// Forgets what the sink has not taken, and reads no more.
    pub(crate) fn give_up(&mut self) {
        self.pending.clear();
        self.open = false;
    }

    /// Where it goes.
    pub(crate) fn sink(&self) -> BorrowedFd<'_> {
        self.sink.as_fd()
    }
}
