//! Detached signatures.

use std::{io::Read, time::SystemTime};

use pgp::composed::{Deserializable, DetachedSignature};

use super::{Key, Result, TrustError, policy};

/// A detached signature: what stands in an `.asc` file.
#[derive(Debug)]
pub(crate) struct Signature {
    signatures: Vec<DetachedSignature>,
    place: String,
}

/// Who has signed.
#[derive(Debug)]
pub(crate) struct Verified {
    /// Whose key it is.
    pub(crate) identities: Vec<String>,
}

impl Signature {
    /// Reads signatures, armored or not. `place` says where they are from.
    ///
    /// # Errors
    /// Where there is none.
    pub(crate) fn read(bytes: &[u8], place: &str) -> Result<Signature> {
        let wrong = |reason: String| TrustError::NoSignature { place: place.to_owned(), reason };
        let (signatures, _) =
            DetachedSignature::from_reader_many(bytes).map_err(|error| wrong(error.to_string()))?;
        let signatures: Vec<DetachedSignature> =
            signatures.collect::<pgp::errors::Result<_>>().map_err(|error| wrong(error.to_string()))?;
        if signatures.is_empty() {
            return Err(wrong("there is no signature in it".to_owned()));
        }
        Ok(Signature { signatures, place: place.to_owned() })
    }

    /// Verifies that one of `keys`, which are trusted for `name`, has signed `data`. Everything that can be known
    /// without `data` is checked before it is read.
    ///
    /// # Errors
    /// Where none of them has, or not well enough.
    pub(crate) fn verify(&self, keys: &[Key], name: &str, data: impl Read) -> Result<Verified> {
        let now = SystemTime::now();
        let refused = |reason: String| TrustError::Refused(format!("{}: {reason}", self.place));
        let (signature, signer) = self.signer(keys, name)?;
        policy::check_signature(signature, now).map_err(refused)?;
        signer.check(now).map_err(refused)?;
        let key = Key { certificate: signer.key().clone() };
        signer.verify(signature, data).map_err(|error| {
            refused(format!("the signature of key {} does not fit the image: {error}", key.fingerprint()))
        })?;
        Ok(Verified { identities: key.identities() })
    }

    /// Checks that the signature is one of `keys`.
    ///
    /// # Errors
    /// Where it is not.
    pub(crate) fn check_issuer(&self, keys: &[Key], name: &str) -> Result<()> {
        self.signer(keys, name).map(drop)
    }

    fn signer<'a>(
        &self,
        keys: &'a [Key],
        name: &str,
    ) -> Result<(&pgp::packet::Signature, policy::Signer<'a>)> {
        let known = self.signatures.iter().find_map(|detached| {
            let signer =
                keys.iter().find_map(|key| policy::Signer::find(&key.certificate, &detached.signature))?;
            Some((&detached.signature, signer))
        });
        known.ok_or_else(|| TrustError::Unknown { issuer: self.issuers(), name: name.to_owned() })
    }

    fn issuers(&self) -> String {
        let mut issuers: Vec<String> = Vec::new();
        for detached in &self.signatures {
            let signature = &detached.signature;
            let fingerprints = signature.issuer_fingerprint().into_iter().map(|one| format!("{one:x}"));
            let ids = signature.issuer_key_id().into_iter().map(|id| hex(id.as_ref()));
            issuers.extend(fingerprints.chain(ids).next());
        }
        if issuers.is_empty() { "of nobody".to_owned() } else { issuers.join(", ") }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
