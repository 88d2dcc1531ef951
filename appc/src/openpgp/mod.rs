//! Encrypted images: an image wrapped in an OpenPGP message that a passphrase opens, as `gpg --symmetric` writes it, and
//! detached signatures.
//!
//! Everything is done in the stream. What [`Decrypted`] gives out was not verified before its end was reached: whoever
//! reads it keeps nothing of it unless the last read was `Ok(0)`.

mod armour;
mod content;
mod decrypt;
mod encrypt;
mod packet;
mod passphrase;
mod session;
mod sign;
#[cfg(test)]
mod tests;

pub use decrypt::{Decrypted, decrypt};
pub use encrypt::encrypt;
pub use passphrase::Passphrase;
pub use sign::SecretKey;

use std::io;

/// Why a message cannot be decrypted, or something not be encrypted or signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenPgpError {
    /// Nothing that could open it was given.
    #[error("it is encrypted, and there is no passphrase for it")]
    NoPassphrase,
    /// What was given does not open it.
    #[error(
        "it is encrypted, and no passphrase that was given opens it: use the one that it was encrypted with; if it is \
         that one, the file was changed: get it anew"
    )]
    WrongPassphrase,
    /// It is for the owner of a secret key.
    #[error("it is encrypted to a public key; encrypt it with a passphrase, as with actool encrypt")]
    PublicKey,
    /// Nothing would tell if it had been changed.
    #[error(
        "it is encrypted without integrity protection, so anybody could have changed it; encrypt it anew, as with actool \
         encrypt"
    )]
    Unprotected,
    /// It is encrypted with a cipher that images must not have.
    #[error(
        "it is encrypted with {0}, where an image must have AES; encrypt it anew, as with actool encrypt"
    )]
    Cipher(String),
    /// What is encrypted is a signed message, not a file.
    #[error("it is signed inside of the encryption; sign the encrypted file instead, as with actool sign")]
    SignedInside,
    /// Opening it would take too much.
    #[error("to open it would take {0}; encrypt it anew, as with actool encrypt")]
    TooCostly(String),
    /// It ends too early.
    #[error("it is encrypted, and its end is missing; get it anew")]
    Truncated,
    /// It is not what was encrypted.
    #[error("it is encrypted, and was changed since; get it anew")]
    Changed,
    /// It is no message that holds a file.
    #[error("its OpenPGP message is broken: {0}")]
    Malformed(String),
    /// A passphrase cannot be read, or is none.
    #[error("passphrase: {0}")]
    Passphrase(String),
    /// A secret key cannot be used.
    #[error("secret key: {0}")]
    Key(String),
    /// Encrypting or signing failed.
    #[error("{0}")]
    Write(String),
}

impl OpenPgpError {
    /// The error that travelled in one of a reader, where it is one of these.
    pub fn of(error: &io::Error) -> Option<&OpenPgpError> {
        error.get_ref().and_then(|inner| inner.downcast_ref())
    }
}

impl From<OpenPgpError> for io::Error {
    fn from(error: OpenPgpError) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}
