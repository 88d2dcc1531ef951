//! What goes wrong with requests, and whether it may pass.

use std::io;

use rkt_pod::message::plain;

/// A request that failed.
#[derive(Debug, thiserror::Error)]
#[error("get {url}: {reason}")]
pub(crate) struct HttpError {
    url: String,
    reason: String,
    /// Whether another try may fare better.
    passes: bool,
    /// Whether a server has answered at all.
    answered: bool,
}

impl HttpError {
    /// One that stays.
    pub(super) fn new(url: &str, reason: impl Into<String>) -> HttpError {
        HttpError { url: plain(url), reason: plain(&reason.into()), passes: false, answered: false }
    }

    /// What a server's status says that is no success.
    pub(super) fn status(url: &str, status: u16) -> HttpError {
        let passes = matches!(status, 429 | 500..);
        HttpError { passes, answered: true, ..HttpError::new(url, format!("bad HTTP status code: {status}")) }
    }

    /// A request that got no answer.
    pub(super) fn failed(url: &str, error: &ureq::Error) -> HttpError {
        use ureq::Error as E;
        let passes = match error {
            E::Timeout(_) => true,
            // Names that are not known, and ports where nobody listens, stay so.
            E::Io(error) => matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::TimedOut
            ),
            _ => false,
        };
        HttpError { passes, ..HttpError::new(url, error.to_string()) }
    }

    /// Whether another try may fare better.
    pub(super) fn passes(&self) -> bool {
        self.passes
    }

    /// Whether a server has answered, if not with what it was asked for.
    pub(crate) fn answered(&self) -> bool {
        self.answered
    }
}
