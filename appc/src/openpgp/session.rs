//! From passphrases to the key that opens a message.

use std::io;

use pgp::{
    composed::{PlainSessionKey, decrypt_session_key_with_password},
    crypto::sym::SymmetricKeyAlgorithm,
    packet::{PacketHeader, SymKeyEncryptedSessionKey},
    types::{SkeskVersion, StringToKey},
};

use super::{OpenPgpError, Passphrase};

/// Most memory that making a key of a passphrase may take, as the logarithm of its size in KiB.
const MAX_ARGON2: u8 = 16;

/// Size of a cipher's blocks, in bytes.
const BLOCK: usize = 16;

/// Bytes at the beginning of what is encrypted of which the last two repeat the two before.
pub(super) const PREFIX: usize = BLOCK + 2;

/// The packets before a message that say how a passphrase becomes its key.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<SymKeyEncryptedSessionKey>);

impl Keys {
    /// Adds what a packet says.
    pub(super) fn add(&mut self, header: PacketHeader, body: &[u8]) -> io::Result<()> {
        let key = SymKeyEncryptedSessionKey::try_from_reader(header, body)
            .map_err(|error| OpenPgpError::Malformed(error.to_string()))?;
        self.0.push(key);
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses what no passphrase would open.
    pub(super) fn check(&self, versions: &[SkeskVersion]) -> Result<(), OpenPgpError> {
        let usable: Vec<_> = self.usable(versions).collect();
        if usable.is_empty() {
            return Err(OpenPgpError::Malformed("it is of a version that is not known".to_owned()));
        }
        for key in usable {
            if let Some(cipher) = key.sym_algorithm() {
                check_cipher(cipher)?;
            }
            match key.s2k() {
                Some(StringToKey::Argon2 { m_enc, .. }) if *m_enc > MAX_ARGON2 => {
                    return Err(OpenPgpError::TooCostly("more than 64 MiB of memory (Argon2)".to_owned()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn usable<'a>(
        &'a self,
        versions: &'a [SkeskVersion],
    ) -> impl Iterator<Item = &'a SymKeyEncryptedSessionKey> {
        self.0.iter().filter(|key| versions.contains(&key.version()))
    }

    /// The keys that a passphrase gives, of the versions that go with the message.
    pub(super) fn of<'a>(
        &'a self,
        passphrase: &'a Passphrase,
        versions: &'a [SkeskVersion],
    ) -> impl Iterator<Item = PlainSessionKey> {
        let password = passphrase.password();
        // What a passphrase does not open says nothing: it is the wrong one.
        self.usable(versions).filter_map(move |key| decrypt_session_key_with_password(key, &password).ok())
    }
}

/// Refuses ciphers that images must not have.
pub(super) fn check_cipher(cipher: SymmetricKeyAlgorithm) -> Result<(), OpenPgpError> {
    use SymmetricKeyAlgorithm::{AES128, AES192, AES256, TripleDES};
    match cipher {
        AES128 | AES192 | AES256 => Ok(()),
        TripleDES => Err(OpenPgpError::Cipher("3DES".to_owned())),
        SymmetricKeyAlgorithm::Other(number) => Err(OpenPgpError::Cipher(format!("cipher {number}"))),
        other => Err(OpenPgpError::Cipher(format!("{other:?}"))),
    }
}

/// Whether a key fits what is encrypted, as far as its beginning tells: a wrong one passes once in 65536 times.
pub(super) fn fits(cipher: SymmetricKeyAlgorithm, key: &[u8], prefix: &[u8]) -> bool {
    if check_cipher(cipher).is_err() || key.len() != cipher.key_size() || prefix.len() != PREFIX {
        return false;
    }
    let mut plain = prefix.to_vec();
    let decrypted = cipher.decrypt_with_iv_regular(key, &[0; BLOCK], &mut plain).is_ok();
    decrypted && plain[BLOCK - 2..BLOCK] == plain[BLOCK..]
}
