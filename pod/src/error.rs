//! The one error type of this crate: an operation on an object that failed.

use std::{io, path::Path};

/// What can go wrong with a pod's directory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call on a file failed.
    #[error("{operation} {object}: {source}")]
    Io {
        /// What was tried, as a verb: "open", "rename".
        operation: &'static str,
        /// The path it was tried on.
        object: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// No pod has this UUID or prefix.
    #[error("no matches found for {0:?}")]
    NoMatch(String),
    /// Several pods have this UUID prefix, or name.
    #[error("ambiguous uuid {prefix:?}, {} matches: {}", .matches.len(), some_of(.matches))]
    Ambiguous {
        /// What the user gave.
        prefix: String,
        /// The UUIDs of the pods that match.
        matches: Vec<String>,
    },
    /// A name that a pod cannot have.
    #[error("--pod-name: {0}")]
    Name(String),
    /// The UUID given is the empty string.
    #[error("UUID cannot be empty")]
    EmptyUuid,
    /// The pod moved or was removed while we looked at it.
    #[error("pod {0:?} is not present any more: another rkt is working on it")]
    Gone(String),
    /// Somebody else holds the pod's lock.
    #[error("pod {0:?} is locked by another process")]
    Locked(String),
    /// A range of users that a pod cannot have.
    #[error("--private-users: {0}")]
    Users(String),
    /// A file in the pod's directory holds something else than it should.
    #[error("{object}: {problem}")]
    Corrupt {
        /// The file.
        object: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// The first few of a list.
fn some_of(list: &[String]) -> String {
    let more = if list.len() > 4 { ", …" } else { "" };
    format!("{}{more}", list.iter().take(4).map(String::as_str).collect::<Vec<_>>().join(", "))
}

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Makes an [`Error::Io`] out of what the kernel said about `object`.
pub fn io_error(operation: &'static str, object: &Path) -> impl FnOnce(rustix::io::Errno) -> Error {
    move |errno| Error::Io { operation, object: object.display().to_string(), source: errno.into() }
}

/// As [`io_error`], for the standard library's errors.
pub fn std_error(operation: &'static str, object: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { operation, object: object.display().to_string(), source }
}
