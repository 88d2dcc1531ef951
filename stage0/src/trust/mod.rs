//! Whom images are trusted of: OpenPGP keys by the prefix of the names that they may sign, and detached signatures.
//!
//! An image is good where a key that is trusted for its name has signed the file as it is distributed. What is good
//! enough is stricter than OpenPGP itself: no SHA-1, no short keys, nothing expired, nothing revoked.

mod key;
mod keystore;
mod policy;
mod signature;

pub(crate) use key::Key;
pub(crate) use keystore::Keystore;
pub(crate) use signature::Signature;

use crate::files::FileError;

/// Why something is not trusted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// What should be keys is none.
    #[error("{place}: not an OpenPGP public key: {reason}")]
    NoKey {
        /// Where it is from.
        place: String,
        /// Why.
        reason: String,
    },
    /// What should be a signature is none.
    #[error("{place}: not an OpenPGP signature: {reason}")]
    NoSignature {
        /// Where it is from.
        place: String,
        /// Why.
        reason: String,
    },
    /// A file of the keystore has another key than its name says.
    #[error(
        "trusted key {path}: it holds the key {found}; rename the file to that fingerprint, or remove it if you did not put it there"
    )]
    Misnamed {
        /// The file.
        path: String,
        /// The fingerprint of the key in it.
        found: String,
    },
    /// Nobody who is trusted has signed.
    #[error(
        "signed by key {issuer}, which is not trusted for {name:?}; if you trust it: rkt trust --prefix {name} KEYFILE"
    )]
    Unknown {
        /// What the signature says of its issuer.
        issuer: String,
        /// The image's name.
        name: String,
    },
    /// The signature, or its key, is not good enough.
    #[error("{0}")]
    Refused(String),
}

pub(crate) type Result<T> = std::result::Result<T, TrustError>;
