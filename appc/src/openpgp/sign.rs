//! Detached signatures.

use std::{fmt, io::Read, time::SystemTime};

use pgp::{
    composed::{ArmorOptions, Deserializable, DetachedSignature, SignedSecretKey},
    crypto::hash::HashAlgorithm,
    packet::{Signature, SignatureType},
    types::{KeyDetails, Password, SecretParams, SigningKey, Tag, Timestamp},
};
use rand::rngs::OsRng;

use super::{OpenPgpError, Passphrase};

/// A secret key that can sign.
pub struct SecretKey {
    key: SignedSecretKey,
    /// Which of the subkeys signs; the primary key where none does.
    subkey: Option<usize>,
    password: Password,
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.fingerprint())
    }
}

impl SecretKey {
    /// Reads a secret key as `gpg --export-secret-keys` writes it, armoured or not. The newest of its subkeys that may
    /// sign does so, as with gpg, else the primary key.
    ///
    /// # Errors
    /// Where there is not exactly one, or none of its parts may sign now.
    pub fn read(bytes: &[u8]) -> Result<SecretKey, OpenPgpError> {
        let wrong = |reason: String| OpenPgpError::Key(reason);
        let (keys, _) =
            SignedSecretKey::from_reader_many(bytes).map_err(|_| wrong("it is none".to_owned()))?;
        let mut keys = keys
            .collect::<pgp::errors::Result<Vec<_>>>()
            .map_err(|error| wrong(format!("it is broken: {error}")))?;
        if keys.len() != 1 {
            return Err(wrong(format!("there are {} in the file, where one is needed", keys.len())));
        }
        let key = keys.swap_remove(0);
        let now = SystemTime::now();
        let subkey = newest_subkey(&key, now);
        if subkey.is_none() && !primary_signs(&key, now) {
            return Err(wrong(
                "none of its parts may sign: for that it must be there, for signatures, and neither expired nor revoked"
                    .to_owned(),
            ));
        }
        Ok(SecretKey { key, subkey, password: Password::empty() })
    }

    /// The fingerprint of the part that signs, in lower-case hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        match self.subkey() {
            Some(subkey) => format!("{:x}", subkey.fingerprint()),
            None => format!("{:x}", self.key.primary_key.fingerprint()),
        }
    }

    fn subkey(&self) -> Option<&pgp::packet::SecretSubkey> {
        self.subkey.and_then(|index| self.key.secret_subkeys.get(index)).map(|subkey| &subkey.key)
    }

    /// Whether a passphrase is needed to use it.
    pub fn is_locked(&self) -> bool {
        let parameters = match self.subkey() {
            Some(subkey) => subkey.secret_params(),
            None => self.key.primary_key.secret_params(),
        };
        matches!(parameters, SecretParams::Encrypted(_))
    }

    /// Opens it with its passphrase.
    ///
    /// # Errors
    /// Where it is the wrong one.
    pub fn unlock(&mut self, passphrase: &Passphrase) -> Result<(), OpenPgpError> {
        let password = passphrase.password();
        let opened = match self.subkey() {
            Some(subkey) => subkey.unlock(&password, |_, _| Ok(())),
            None => self.key.primary_key.unlock(&password, |_, _| Ok(())),
        };
        if !matches!(opened, Ok(Ok(()))) {
            return Err(OpenPgpError::Key("the passphrase does not open it".to_owned()));
        }
        self.password = password;
        Ok(())
    }

    /// A detached signature of what `data` gives, armoured, as `gpg --verify` reads it: SHA-512.
    ///
    /// # Errors
    /// Where reading or signing fails.
    pub fn sign(&self, data: impl Read) -> Result<Vec<u8>, OpenPgpError> {
        let signature = match self.subkey() {
            Some(subkey) => self.sign_with(subkey, data),
            None => self.sign_with(&self.key.primary_key, data),
        };
        signature
            .and_then(|signature| signature.to_armored_bytes(ArmorOptions::default()))
            .map_err(|error| OpenPgpError::Write(format!("sign: {error}")))
    }

    fn sign_with(&self, key: &impl SigningKey, data: impl Read) -> pgp::errors::Result<DetachedSignature> {
        DetachedSignature::sign_binary_data(OsRng, key, &self.password, HashAlgorithm::Sha512, data)
    }
}

/// Whether a secret part is in the file, and not only a word that it is elsewhere, as on a card.
fn is_there(parameters: &SecretParams) -> bool {
    match parameters {
        SecretParams::Plain(_) => true,
        SecretParams::Encrypted(encrypted) => !encrypted.data().is_empty(),
    }
}

fn primary_signs(key: &SignedSecretKey, now: SystemTime) -> bool {
    let primary = key.primary_key.public_key();
    let certified = key.details.users.iter().flat_map(|user| {
        user.signatures.iter().filter(|signature| {
            signature.is_certification()
                && signature.typ() != Some(SignatureType::CertRevocation)
                && signature.verify_certification(primary, Tag::UserId, &user.id).is_ok()
        })
    });
    let direct = key.details.direct_signatures.iter().filter(|direct| direct.verify_key(primary).is_ok());
    let newest = direct.chain(certified).max_by_key(|signature| signature.created());
    is_there(key.primary_key.secret_params())
        && key.details.revocation_signatures.is_empty()
        && newest.is_some_and(|own| may_sign(own, primary.created_at(), now))
}

fn newest_subkey(key: &SignedSecretKey, now: SystemTime) -> Option<usize> {
    let primary = key.primary_key.public_key();
    let signs = |subkey: &pgp::composed::SignedSecretSubKey| {
        let public = subkey.key.public_key();
        let valid = |signature: &&Signature| signature.verify_subkey_binding(primary, public).is_ok();
        let is = |kind: SignatureType| move |signature: &&Signature| signature.typ() == Some(kind);
        let revoked =
            subkey.signatures.iter().any(|signature| is(SignatureType::SubkeyRevocation)(&signature));
        let bindings = subkey.signatures.iter().filter(is(SignatureType::SubkeyBinding)).filter(valid);
        let newest = bindings.max_by_key(|binding| binding.created());
        is_there(subkey.key.secret_params())
            && !revoked
            && key.details.revocation_signatures.is_empty()
            && newest.is_some_and(|own| may_sign(own, public.created_at(), now))
    };
    let subkeys = key.secret_subkeys.iter().enumerate().filter(|(_, subkey)| signs(subkey));
    subkeys.max_by_key(|(_, subkey)| subkey.key.public_key().created_at()).map(|(index, _)| index)
}

fn may_sign(own: &Signature, created: Timestamp, now: SystemTime) -> bool {
    let expired = own.key_expiration_time().is_some_and(|lasts| {
        let lasts = std::time::Duration::from_secs(lasts.as_secs().into());
        !lasts.is_zero() && SystemTime::from(created) + lasts <= now
    });
    own.key_flags().sign() && !expired
}
