//! Making a [`Failure`] of what a system call said.

use std::fmt::Display;

use rustix::io::Errno;

use crate::control::Failure;

/// A step that succeeds or fails.
pub type Result<T> = std::result::Result<T, Failure>;

/// Adds to an error which step it was, on what, and the exit status that stands for it.
pub trait At<T> {
    /// See [`At`].
    fn at(self, step: &str, object: impl Display, status: u8) -> Result<T>;
}

impl<T> At<T> for std::result::Result<T, Errno> {
    fn at(self, step: &str, object: impl Display, status: u8) -> Result<T> {
        self.map_err(|errno| failure(step, object, words(errno), status))
    }
}

/// A failure with a reason in words.
pub fn failure(step: &str, object: impl Display, reason: impl Display, status: u8) -> Failure {
    Failure { step: step.to_owned(), object: object.to_string(), reason: reason.to_string(), status }
}

/// What an error means, without its number.
pub fn words(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
