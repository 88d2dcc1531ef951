//! Public keys, as users see them.

use pgp::{
    composed::{ArmorOptions, Deserializable, SignedPublicKey},
    types::KeyDetails,
};

use super::{Result, TrustError};

/// A public key with its subkeys and identities.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(super) certificate: SignedPublicKey,
}

impl Key {
    /// Reads the keys in `bytes`, armored or not. `place` says where they are from.
    ///
    /// # Errors
    /// Where there is none, or one is broken or secret.
    pub(crate) fn read_all(bytes: &[u8], place: &str) -> Result<Vec<Key>> {
        let wrong = |reason: String| TrustError::NoKey { place: place.to_owned(), reason };
        let (keys, _) = SignedPublicKey::from_reader_many(bytes).map_err(|error| wrong(error.to_string()))?;
        let keys = keys
            .map(|key| key.map(|certificate| Key { certificate }))
            .collect::<pgp::errors::Result<Vec<Key>>>()
            .map_err(|error| wrong(error.to_string()))?;
        if keys.is_empty() {
            return Err(wrong("there is no key in it".to_owned()));
        }
        Ok(keys)
    }

    /// The fingerprint of the primary key, in lower-case hexadecimal digits.
    pub(crate) fn fingerprint(&self) -> String {
        format!("{:x}", self.certificate.primary_key.fingerprint())
    }

    /// The fingerprint for people to compare: `1234 5678 …`, with a gap in the middle.
    pub(crate) fn readable_fingerprint(&self) -> String {
        readable(&self.fingerprint())
    }

    /// The same of each subkey.
    pub(crate) fn readable_subkeys(&self) -> Vec<String> {
        let subkeys = self.certificate.public_subkeys.iter();
        subkeys.map(|subkey| readable(&format!("{:x}", subkey.fingerprint()))).collect()
    }

    /// Whose key it claims to be.
    pub(crate) fn identities(&self) -> Vec<String> {
        let users = self.certificate.details.users.iter();
        // What a key says of itself goes to a terminal: nothing in it may steer that.
        users.map(|user| printable(&String::from_utf8_lossy(user.id.id()))).collect()
    }

    /// The key, armored.
    ///
    /// # Errors
    /// Never in practice.
    pub(crate) fn armored(&self) -> Result<Vec<u8>> {
        self.certificate
            .to_armored_bytes(ArmorOptions::default())
            .map_err(|error| TrustError::NoKey { place: self.fingerprint(), reason: error.to_string() })
    }
}

fn readable(fingerprint: &str) -> String {
    let digits: Vec<char> = fingerprint.to_uppercase().chars().collect();
    let groups: Vec<String> = digits.chunks(4).map(|group| group.iter().collect()).collect();
    let (first, second) = groups.split_at(groups.len() / 2);
    format!("{}  {}", first.join(" "), second.join(" "))
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_in_groups() {
        assert_eq!(
            readable("bff313cdaa560b16a8987b8f72abf5f6799d33bc"),
            "BFF3 13CD AA56 0B16 A898  7B8F 72AB F5F6 799D 33BC"
        );
    }

    #[test]
    fn identities_steer_no_terminal() {
        assert_eq!(printable("a\u{1b}[2J\nb"), "a\u{fffd}[2J\u{fffd}b");
    }

    #[test]
    fn other_files_hold_no_key() {
        for bytes in [&b""[..], b"x", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n", &[0xff; 300]] {
            assert!(Key::read_all(bytes, "somewhere").unwrap_err().to_string().starts_with("somewhere: "));
        }
    }
}
