//! What is too slow, or takes too long.

use std::{
    io::{self, Read},
    time::{Duration, Instant},
};

use appc::aci::Limits;

/// Redirects that are followed.
pub(super) const REDIRECTS: usize = 10;

/// How long connecting may take.
pub(super) const CONNECT: Duration = Duration::from_secs(20);

/// How long a download may take altogether.
pub(super) const DOWNLOAD: Duration = Duration::from_secs(12 * 3600);

/// How long a server may take for its headers, and for each piece of the body; how long a download may be slower than
/// [`SLOWEST`].
const PATIENCE: Duration = Duration::from_secs(60);

/// Slowest average of a download, in bytes a second. It ends servers that send a byte now and then.
const SLOWEST: u64 = 1024;

/// Most that the headers of an answer may have, in bytes.
pub(super) const MAX_HEADERS: usize = 64 << 10;

/// Tries of a request or a download, where trying again may help.
pub(super) const TRIES: usize = 3;

/// See [`PATIENCE`].
pub(super) fn patience() -> Duration {
    tested("RKT_DEBUG_PATIENCE").map_or(PATIENCE, Duration::from_millis)
}

/// Most bytes that an image may have as it comes: what it may have unpacked.
pub(super) fn largest() -> u64 {
    tested("RKT_DEBUG_LARGEST").unwrap_or(Limits::default().bytes)
}

/// What a test wants instead, of a build that is no release: milliseconds or bytes.
fn tested(name: &str) -> Option<u64> {
    if cfg!(debug_assertions) { std::env::var(name).ok()?.parse().ok() } else { None }
}

/// How long everything about a document may take.
pub(super) fn document() -> Duration {
    patience() * 2
}

/// How fast a server sends.
pub(super) struct Rate {
    started: Instant,
    received: u64,
}

impl Rate {
    pub(super) fn new() -> Rate {
        Rate { started: Instant::now(), received: 0 }
    }

    /// Counts `bytes` more.
    ///
    /// # Errors
    /// Where it has been too slow for too long.
    pub(super) fn count(&mut self, bytes: usize) -> io::Result<()> {
        self.received += bytes as u64;
        check_rate(self.received, self.started.elapsed(), patience())
    }
}

fn check_rate(received: u64, elapsed: Duration, patience: Duration) -> io::Result<()> {
    let least = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).saturating_mul(SLOWEST) / 1000;
    if elapsed > patience && received < least {
        let message = format!("the server is too slow ({received} bytes in {} s)", elapsed.as_secs());
        return Err(io::Error::new(io::ErrorKind::TimedOut, message));
    }
    Ok(())
}

/// Names the URL in errors of reading, and gives up on a server that is too slow.
pub(crate) struct Named<R> {
    reader: R,
    url: String,
    rate: Rate,
}

impl<R> Named<R> {
    /// `reader` has the body of the answer from `url`.
    pub(crate) fn new(reader: R, url: &str) -> Named<R> {
        Named { reader, url: rkt_pod::message::plain(url), rate: Rate::new() }
    }
}

impl<R: Read> Read for Named<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer).and_then(|length| self.rate.count(length).map(|()| length));
        read.map_err(|error| io::Error::new(error.kind(), format!("download {}: {error}", self.url)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_dribbles_is_left() {
        for (received, seconds, fine) in
            [(0, 59, true), (60, 60, true), (61, 61, false), (61 * 1024, 61, true), (1 << 30, 9000, true)]
        {
            let checked = check_rate(received, Duration::from_secs(seconds), PATIENCE);
            assert_eq!(checked.is_ok(), fine, "{received} {seconds}");
        }
    }
}
