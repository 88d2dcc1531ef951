//! Reading no further than an archive's manifest.

use std::{
    io::{self, Read},
    path::Path,
};

use super::{AciError, Limits, ReadError, read};

/// Why reading stops at the manifest.
enum Stop {
    Found(Vec<u8>),
    Failed(io::Error),
}

/// The manifest of an archive as it stands there, valid or not. What comes before it is checked as [`read`] checks it,
/// what comes after is not looked at.
///
/// # Errors
/// Where the archive cannot be read so far, or has no manifest.
pub fn read_manifest(input: impl Read + Send, limits: &Limits) -> Result<Vec<u8>, ReadError<io::Error>> {
    let all = read(input, limits, &mut |entry, content| {
        if entry.path != Path::new("manifest") {
            return Ok(());
        }
        let mut text = Vec::new();
        match content.read_to_end(&mut text) {
            Ok(_) => Err(Stop::Found(text)),
            Err(error) => Err(Stop::Failed(error)),
        }
    });
    match all {
        Err(ReadError::Visit(Stop::Found(text))) => Ok(text),
        Err(ReadError::Visit(Stop::Failed(error)) | ReadError::Io(error)) => Err(ReadError::Io(error)),
        Err(ReadError::Invalid(error)) => Err(ReadError::Invalid(error)),
        Ok(_) => Err(AciError::Archive("missing manifest".to_owned()).into()),
    }
}
