//! Which keys and signatures are good enough, and which part of a key may sign.

use std::time::{Duration, SystemTime};

use pgp::{
    composed::{SignedPublicKey, SignedPublicSubKey},
    crypto::hash::HashAlgorithm,
    packet::{KeyFlags, Signature, SignatureType},
    ser::Serialize,
    types::{KeyDetails, PublicParams, Tag, Timestamp},
};

/// Shortest RSA key, in bits.
const MIN_RSA: u16 = 2048;

/// How far a clock may be behind that of who signed.
const SKEW: Duration = Duration::from_secs(24 * 3600);

/// Refuses a signature that is not good enough, whoever made it.
pub(super) fn check_signature(signature: &Signature, now: SystemTime) -> Result<(), String> {
    match signature.typ() {
        Some(SignatureType::Binary) => {}
        other => return Err(format!("the signature is not one of a file, but of type {other:?}")),
    }
    match signature.hash_alg() {
        Some(
            HashAlgorithm::Sha224
            | HashAlgorithm::Sha256
            | HashAlgorithm::Sha384
            | HashAlgorithm::Sha512
            | HashAlgorithm::Sha3_256
            | HashAlgorithm::Sha3_512,
        ) => {}
        Some(hash) => {
            return Err(format!(
                "the signature uses the weak hash {hash}; have the image signed with SHA-256 or better"
            ));
        }
        None => return Err("the signature is of a version that is not known".to_owned()),
    }
    let Some(created) = signature.created() else {
        return Err("the signature does not say when it was made".to_owned());
    };
    let made: SystemTime = created.into();
    if made > now + SKEW {
        return Err(format!("the signature was made in the future, on {}; check the clock", day(made)));
    }
    match signature.signature_expiration_time() {
        Some(lasts) if lasts.as_secs() > 0 && after(created, lasts) <= now => {
            Err(format!("the signature expired on {}", day(after(created, lasts))))
        }
        _ => Ok(()),
    }
}

/// Refuses a certificate that is revoked, expired, or of which nobody vouches for the identity.
fn check_certificate(key: &SignedPublicKey, now: SystemTime) -> Result<&Signature, String> {
    let primary = &key.primary_key;
    let name = format!("{:x}", primary.fingerprint());
    if key.details.revocation_signatures.iter().any(|revocation| revocation.verify_key(primary).is_ok()) {
        return Err(format!("key {name} was revoked by its owner"));
    }
    let direct = key.details.direct_signatures.iter().filter(|direct| direct.verify_key(primary).is_ok());
    let certified = key.details.users.iter().flat_map(|user| {
        user.signatures.iter().filter(|signature| {
            signature.is_certification()
                && signature.typ() != Some(SignatureType::CertRevocation)
                && signature.verify_certification(primary, Tag::UserId, &user.id).is_ok()
        })
    });
    let newest = direct.chain(certified).max_by_key(|signature| signature.created());
    let newest = newest.ok_or_else(|| format!("key {name} has no valid signature of its own"))?;
    check_expiry(&name, primary.created_at(), newest, now)?;
    Ok(newest)
}

/// The part of a key that may have made a signature.
#[derive(Debug)]
pub(super) enum Signer<'a> {
    /// The primary key.
    Primary(&'a SignedPublicKey),
    /// A subkey.
    Subkey(&'a SignedPublicKey, &'a SignedPublicSubKey),
}

impl<'a> Signer<'a> {
    /// The part of `key` that the signature names, where it names one.
    pub(super) fn find(key: &'a SignedPublicKey, signature: &Signature) -> Option<Signer<'a>> {
        let named = |part: &dyn KeyDetails| {
            let (fingerprint, id) = (part.fingerprint(), part.legacy_key_id());
            let fingerprints = signature.issuer_fingerprint();
            // The short ID counts only where there is no fingerprint.
            if fingerprints.is_empty() {
                signature.issuer_key_id().contains(&&id)
            } else {
                fingerprints.contains(&&fingerprint)
            }
        };
        if named(&key.primary_key) {
            return Some(Signer::Primary(key));
        }
        let subkey = key.public_subkeys.iter().find(|subkey| named(&subkey.key))?;
        Some(Signer::Subkey(key, subkey))
    }

    /// Refuses a part that may not sign, not any more, or is too weak.
    pub(super) fn check(&self, now: SystemTime) -> Result<(), String> {
        match self {
            Signer::Primary(key) => {
                let own = check_certificate(key, now)?;
                let name = format!("{:x}", key.primary_key.fingerprint());
                may_sign(&name, &own.key_flags())?;
                check_strength(&name, key.primary_key.public_params())
            }
            Signer::Subkey(key, subkey) => {
                check_certificate(key, now)?;
                let name = format!("{:x}", subkey.key.fingerprint());
                let valid = |signature: &&Signature| {
                    signature.verify_subkey_binding(&key.primary_key, &subkey.key).is_ok()
                };
                let is = |kind: SignatureType| move |signature: &&Signature| signature.typ() == Some(kind);
                let signatures = || subkey.signatures.iter();
                if signatures()
                    .filter(is(SignatureType::SubkeyRevocation))
                    .any(|revocation| valid(&revocation))
                {
                    return Err(format!("subkey {name} was revoked by its owner"));
                }
                let bindings = signatures().filter(is(SignatureType::SubkeyBinding)).filter(valid);
                let binding = bindings.max_by_key(|binding| binding.created());
                let binding = binding.ok_or_else(|| format!("subkey {name} is not bound to its key"))?;
                check_expiry(&name, subkey.key.created_at(), binding, now)?;
                may_sign(&name, &binding.key_flags())?;
                // Or somebody could claim another's subkey.
                let back = binding.embedded_signature().is_some_and(|back| {
                    back.verify_primary_key_binding(&subkey.key, &key.primary_key).is_ok()
                });
                if !back {
                    return Err(format!("subkey {name} does not vouch for its key"));
                }
                check_strength(&name, subkey.key.public_params())
            }
        }
    }

    /// Verifies the signature of this part over `data`.
    pub(super) fn verify(&self, signature: &Signature, data: impl std::io::Read) -> pgp::errors::Result<()> {
        match self {
            Signer::Primary(key) => signature.verify(&key.primary_key, data),
            Signer::Subkey(_, subkey) => signature.verify(&subkey.key, data),
        }
    }

    /// The key that it is a part of.
    pub(super) fn key(&self) -> &'a SignedPublicKey {
        match self {
            Signer::Primary(key) | Signer::Subkey(key, _) => key,
        }
    }
}

fn check_expiry(name: &str, created: Timestamp, own: &Signature, now: SystemTime) -> Result<(), String> {
    match own.key_expiration_time() {
        Some(lasts) if lasts.as_secs() > 0 && after(created, lasts) <= now => Err(format!(
            "key {name} expired on {}; if its owner has prolonged it, trust it anew",
            day(after(created, lasts))
        )),
        _ => Ok(()),
    }
}

fn may_sign(name: &str, flags: &KeyFlags) -> Result<(), String> {
    let said = flags.sign() || flags.certify() || flags.encrypt_comms() || flags.encrypt_storage();
    if flags.sign() || !said { Ok(()) } else { Err(format!("key {name} is not for signatures")) }
}

fn check_strength(name: &str, parameters: &PublicParams) -> Result<(), String> {
    match parameters {
        PublicParams::RSA(rsa) => {
            let bits = modulus_bits(rsa).ok_or_else(|| format!("key {name} is broken"))?;
            if bits < MIN_RSA {
                return Err(format!("key {name} is weak: RSA of {bits} bits, at least {MIN_RSA} are needed"));
            }
            Ok(())
        }
        PublicParams::DSA(_) | PublicParams::Elgamal(_) => {
            Err(format!("key {name} is weak: it is of a kind that is no longer used (DSA, Elgamal)"))
        }
        PublicParams::Unknown { .. } => Err(format!("key {name} is of a kind that is not known")),
        _ => Ok(()),
    }
}

/// OpenPGP writes a number's length in bits before it; the modulus is the first of the two.
fn modulus_bits(rsa: &impl Serialize) -> Option<u16> {
    let mut bytes = Vec::new();
    rsa.to_writer(&mut bytes).ok()?;
    Some(u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]))
}

fn after(start: Timestamp, lasts: pgp::types::Duration) -> SystemTime {
    SystemTime::from(start) + Duration::from_secs(u64::from(lasts.as_secs()))
}

/// The day, as ISO 8601 writes it.
fn day(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time)
        .map_or_else(|_| "an unknown day".to_owned(), |time| time.strftime("%F").to_string())
}
