//! Images that may be encrypted, read as if they were not.

use std::io::{self, Cursor, Read};

use appc::{
    aci::{self, FileKind, HEAD, Limits},
    openpgp::{self, Decrypted, OpenPgpError},
    types::ImageName,
};

use super::{Result, StoreError};
use crate::keys::{ImageKey, ImageKeys};

/// What opens an image if it is encrypted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys<'a> {
    /// The passphrases that there are.
    pub(crate) all: &'a ImageKeys<'a>,
    /// The name that the image was asked for by.
    pub(crate) name: Option<&'a ImageName>,
}

/// An image as it is read. What was encrypted is not known to be what it was before all of it was read.
pub(super) enum Image<'a> {
    /// As it came.
    Plain(Box<dyn Read + Send + 'a>),
    /// Decrypted.
    Encrypted {
        /// What is inside.
        inside: Box<Decrypted<'a>>,
        /// How many bytes of it may still come.
        left: u64,
        /// What opened it.
        key: ImageKey,
    },
}

impl<'a> Image<'a> {
    /// Opens the image that `input` gives, which came from `shown`.
    pub(super) fn open(mut input: impl Read + Send + 'a, keys: &Keys<'_>, shown: &str) -> Result<Image<'a>> {
        let failed = |source: io::Error| StoreError::of_io(shown, source);
        let mut head = Vec::with_capacity(HEAD);
        input.by_ref().take(HEAD as u64).read_to_end(&mut head).map_err(failed)?;
        let kind = aci::sniff(&head);
        let whole = Cursor::new(head).chain(input);
        if kind != FileKind::OpenPgp {
            return Ok(Image::Plain(Box::new(whole)));
        }
        let encrypted = |source| StoreError::encrypted(shown, source);
        let mut candidates = keys.all.of(keys.name).map_err(encrypted)?;
        let passphrases: Vec<_> = candidates.iter().map(|key| key.passphrase.clone()).collect();
        let inside = openpgp::decrypt(whole, &passphrases).map_err(failed)?;
        let key = candidates.swap_remove(inside.passphrase());
        Ok(Image::Encrypted { inside: Box::new(inside), left: Limits::default().bytes, key })
    }

    /// Whether it was encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self, Image::Encrypted { .. })
    }

    /// Refuses an image that was opened with a key that is for other names.
    pub(super) fn check_name(&self, name: &str, shown: &str) -> Result<()> {
        match self {
            Image::Encrypted { key, .. } if !key.is_for(name) => Err(StoreError::Other {
                path: shown.to_owned(),
                reason: format!(
                    "it is encrypted with the key that is configured for {}, but its name is {name:?}; configure a \
                     key for that name, or use --passphrase-file",
                    key.describe()
                ),
            }),
            _ => Ok(()),
        }
    }

    /// The error behind one that reading gave: what was changed after it was encrypted makes no sense as an image either.
    pub(super) fn blame(&mut self, error: StoreError, shown: &str) -> StoreError {
        if !self.is_encrypted() {
            return error;
        }
        match io::copy(self, &mut io::sink()).as_ref().map_err(OpenPgpError::of) {
            Err(Some(source)) => StoreError::encrypted(shown, source.clone()),
            // The message is what it was, or nobody can tell.
            Ok(_) | Err(None) => error,
        }
    }
}

impl Read for Image<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Image::Plain(input) => input.read(buffer),
            Image::Encrypted { inside, left, .. } => {
                let length = inside.read(buffer)?;
                *left = left.checked_sub(length as u64).ok_or_else(|| {
                    io::Error::other(format!("it has more than {} bytes", Limits::default().bytes))
                })?;
                Ok(length)
            }
        }
    }
}
