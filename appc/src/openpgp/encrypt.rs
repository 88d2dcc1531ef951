//! Encrypting with a passphrase.

use std::io::{Read, Write};

use pgp::{
    composed::MessageBuilder,
    crypto::{hash::HashAlgorithm, sym::SymmetricKeyAlgorithm},
    packet::DataMode,
    types::StringToKey,
};
use rand::rngs::OsRng;

use super::{OpenPgpError, Passphrase};

/// How much is hashed to make a key of a passphrase: the most that OpenPGP can say, 62 MiB.
const COUNT: u8 = 255;

/// Encrypts what `input` gives, so that whoever knows the passphrase can decrypt it, as with `gpg --decrypt`: AES-256,
/// integrity protected, not compressed.
///
/// # Errors
/// Where reading, encrypting or writing fails.
pub fn encrypt(input: impl Read, passphrase: &Passphrase, output: impl Write) -> Result<(), OpenPgpError> {
    let failed = |error: pgp::errors::Error| OpenPgpError::Write(format!("encrypt: {error}"));
    let mut message = MessageBuilder::from_reader("", input).seipd_v1(OsRng, SymmetricKeyAlgorithm::AES256);
    message.data_mode(DataMode::Binary).map_err(failed)?;
    let s2k = StringToKey::new_iterated(OsRng, HashAlgorithm::Sha512, COUNT);
    message.encrypt_with_password(s2k, &passphrase.password()).map_err(failed)?;
    message.to_writer(OsRng, output).map_err(failed)
}
