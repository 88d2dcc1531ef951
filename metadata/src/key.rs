//! The service's key, by which it signs for pods.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use rustix::rand::GetRandomFlags;
use sha2::Sha512;
use uuid::Uuid;

use crate::error::{Error, Result};

/// Bytes of the key: those of a block of SHA-512's half, its output.
const LENGTH: usize = 64;

/// The key. It never leaves the service.
#[derive(Clone)]
pub(crate) struct Key([u8; LENGTH]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(_)")
    }
}

impl Key {
    /// Reads the key at `path`, or makes one: what was signed before the service was started anew is still known by it.
    pub(crate) fn load(path: &Path) -> Result<Key> {
        match fs::read(path) {
            Ok(bytes) => {
                if let Ok(key) = bytes.try_into() {
                    return Ok(Key(key));
                }
                // Cut short: nobody can have signed with it.
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("read", path.display())(error)),
        }
        let key = random::<LENGTH>()?;
        let write = || {
            let new = path.with_extension("new");
            let mut file =
                fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&key)?;
            fs::rename(&new, path)
        };
        write().map_err(Error::io("write", path.display()))?;
        Ok(Key(key))
    }

    fn of(&self, pod: Uuid, content: &[u8]) -> Option<Hmac<Sha512>> {
        // HMAC takes keys of any length.
        let mut mac = Hmac::<Sha512>::new_from_slice(&self.0).ok()?;
        mac.update(pod.as_bytes());
        mac.update(content);
        Some(mac)
    }

    /// The signature of a pod under `content`.
    pub(crate) fn sign(&self, pod: Uuid, content: &[u8]) -> Vec<u8> {
        self.of(pod, content).map(|mac| mac.finalize().into_bytes().to_vec()).unwrap_or_default()
    }

    /// Whether the signature is the pod's; found out in the same time whatever it is.
    pub(crate) fn verify(&self, pod: Uuid, content: &[u8], signature: &[u8]) -> bool {
        self.of(pod, content).is_some_and(|mac| mac.verify_slice(signature).is_ok())
    }
}

/// Random bytes of the kernel.
pub(crate) fn random<const COUNT: usize>() -> Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    let mut filled = 0;
    while filled < COUNT {
        filled += rustix::rand::getrandom(&mut bytes[filled..], GetRandomFlags::empty())
            .map_err(|errno| Error::io("get", "random bytes")(errno.into()))?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    // APPC-332
    #[test]
    fn a_signature_is_of_one_pod_and_one_text_and_outlives_the_service() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let key = Key::load(&path).unwrap();
        let (pod, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let signature = key.sign(pod, b"text");
        assert_eq!(signature.len(), 64);
        let again = Key::load(&path).unwrap();
        assert!(again.verify(pod, b"text", &signature));
        assert!(!again.verify(other, b"text", &signature));
        assert!(!again.verify(pod, b"texT", &signature));
        assert!(!again.verify(pod, b"text", &signature[..63]));
        // One that was cut short is replaced.
        fs::write(&path, b"short").unwrap();
        assert!(!Key::load(&path).unwrap().verify(pod, b"text", &signature));
        assert_eq!(format!("{key:?}"), "Key(_)");
    }
}
