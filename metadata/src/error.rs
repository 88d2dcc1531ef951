//! What can go wrong.

use std::io;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What has failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens where pods are made known.
    #[error(
        "the metadata service does not run: nobody listens at {socket} (start `rkt metadata-service`, or leave out \
         --mds-register)"
    )]
    NotRunning {
        /// The socket.
        socket: String,
    },
    /// The service refuses something.
    #[error("the metadata service refuses {what}: {status}")]
    Refused {
        /// What.
        what: String,
        /// Its status line.
        status: String,
    },
    /// A step on an object has failed.
    #[error("{step} {object}: {source}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// On what.
        object: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The connection to the service broke.
    #[error("ask the metadata service: {0}")]
    Http(#[from] hyper::Error),
    /// The service took too long.
    #[error("the metadata service does not answer within {0} s")]
    Slow(u64),
}

impl Error {
    /// For `map_err`.
    pub(crate) fn io(step: &'static str, object: impl ToString) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { step, object: object.to_string(), source }
    }
}
