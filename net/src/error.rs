//! The one error type of this crate: what failed, on which network or object, and why.

use std::io;

/// What can go wrong with a pod's network.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call or a request to the kernel failed.
    #[error("{operation} {object}: {reason}")]
    Io {
        /// What was tried, as a verb: "open", "add address".
        operation: &'static str,
        /// What it was tried on.
        object: String,
        /// What the kernel said.
        reason: io::Error,
    },
    /// What the user or a configuration asks for cannot be had.
    #[error("{0}")]
    Refused(String),
    /// What failed was about one network.
    #[error("network {network:?}: {reason}")]
    Network {
        /// The network's name.
        network: String,
        /// What failed.
        reason: Box<Error>,
    },
    /// The pod directory cannot be worked with.
    #[error(transparent)]
    Pod(#[from] rkt_pod::Error),
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Names the network that this is about.
    pub(crate) fn of(self, network: &str) -> Error {
        Error::Network { network: network.to_owned(), reason: Box::new(self) }
    }

    /// The kernel's error number, where it was the kernel who refused.
    pub(crate) fn errno(&self) -> Option<rustix::io::Errno> {
        match self {
            Error::Io { reason, .. } => rustix::io::Errno::from_io_error(reason),
            Error::Network { reason, .. } => reason.errno(),
            _ => None,
        }
    }
}

/// Makes an [`Error::Io`] out of what went wrong with `object`.
pub(crate) fn failed<E: Into<io::Error>>(
    operation: &'static str,
    object: impl ToString,
) -> impl FnOnce(E) -> Error {
    move |reason| Error::Io { operation, object: object.to_string(), reason: reason.into() }
}

/// An [`Error::Refused`].
pub(crate) fn refused<T>(reason: impl Into<String>) -> Result<T> {
    Err(Error::Refused(reason.into()))
}
