//! Trees of files: copied and removed by descriptors, never following a link.

mod copy;
mod exchange;
mod remove;

pub use copy::{
    OPAQUE, copy_directory, copy_file_to, copy_layer, copy_metadata, copy_tree, is_deletion, is_opaque,
};
pub use exchange::{Exchange, Owners, place_in_root};
pub use remove::remove_tree;

use std::{fmt, io, path::Path};

/// A step on a file that failed.
#[derive(Debug, thiserror::Error)]
#[error("{step} {object}: {source}")]
pub struct FileError {
    step: &'static str,
    object: String,
    source: io::Error,
}

/// Adds to an error which step it was, and on what.
pub trait Step<T> {
    /// See [`Step`].
    fn step(self, step: &'static str, object: impl AsRef<Path>) -> Result<T, FileError>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, step: &'static str, object: impl AsRef<Path>) -> Result<T, FileError> {
        self.map_err(|error| FileError {
            step,
            object: object.as_ref().display().to_string(),
            source: words(error.into()),
        })
    }
}

/// The error with the system's words and without its number.
fn words(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(_) => {
            let text = error.to_string();
            let plain = text.split(" (os error").next().unwrap_or(&text).to_owned();
            io::Error::new(error.kind(), Plain(plain))
        }
        None => error,
    }
}

#[derive(Debug)]
struct Plain(String);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Plain {}
