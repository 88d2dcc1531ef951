//! Input that may be armoured, and whose own errors are told from those of what it holds.

use std::{
    io::{self, BufRead, BufReader, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use pgp::armor::{Dearmor, DearmorOptions};

use super::OpenPgpError;

/// Size of buffers, in bytes.
const BUFFER: usize = 64 * 1024;

/// Longest header of an armour, in bytes.
const MAX_HEADER: usize = 16 * 1024;

/// Notes that reading failed.
#[derive(Debug)]
pub(super) struct Watch<R> {
    pub(super) inner: R,
    failed: Arc<AtomicBool>,
}

/// Whether reading failed.
#[derive(Debug, Clone)]
pub(super) struct Failed(Arc<AtomicBool>);

impl Failed {
    pub(super) fn has(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<R> Watch<R> {
    pub(super) fn new(inner: R) -> (Watch<R>, Failed) {
        let failed = Arc::new(AtomicBool::new(false));
        (Watch { inner, failed: Arc::clone(&failed) }, Failed(failed))
    }

    fn note<T>(failed: &AtomicBool, result: io::Result<T>) -> io::Result<T> {
        let broken = result.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        if broken {
            failed.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl<R: Read> Read for Watch<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Self::note(&self.failed, self.inner.read(buffer))
    }
}

impl<R: BufRead> BufRead for Watch<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Self::note(&self.failed, self.inner.fill_buf())
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
    }
}

/// The bytes of a message, without their armour.
pub(super) fn bytes<'a>(input: impl Read + Send + 'a) -> io::Result<(Box<dyn BufRead + Send + 'a>, Failed)> {
    let (watch, failed) = Watch::new(input);
    let mut input = BufReader::with_capacity(BUFFER, watch);
    // No packet starts so: the highest bit of its first byte is set.
    if !input.fill_buf()?.starts_with(b"-") {
        return Ok((Box::new(input), failed));
    }
    let inner = Some(Dearmor::with_options(input, DearmorOptions::new().set_limit(MAX_HEADER)));
    let armour = Armour { inner, failed: failed.clone() };
    Ok((Box::new(BufReader::with_capacity(BUFFER, armour)), failed))
}

/// Armoured input. A broken armour is a broken message.
struct Armour<R: BufRead> {
    /// Until it is broken.
    inner: Option<Dearmor<R>>,
    failed: Failed,
}

impl<R: BufRead> Read for Armour<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let broken = || OpenPgpError::Malformed("its armour is broken; get it anew".to_owned());
        let Some(inner) = &mut self.inner else { return Err(broken().into()) };
        inner.read(buffer).map_err(|error| {
            // It is in no state to be read further.
            self.inner = None;
            if self.failed.has() { error } else { broken().into() }
        })
    }
}
