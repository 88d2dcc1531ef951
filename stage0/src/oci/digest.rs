//! Digests of blobs, and blobs that are what their digests say.

use std::{
    fmt,
    io::{self, Read},
    str::FromStr,
};

use sha2::{Digest as _, Sha256, Sha512};

/// What a blob hashes to (OCI image specification, digests).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Digest {
    algorithm: Algorithm,
    hex: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    fn as_str(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }
}

/// A text that is no digest.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no digest (sha256:<64 hexadecimal digits> or sha512:<128>)")]
pub(crate) struct DigestError(String);

impl Digest {
    /// The SHA-256 of these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Digest {
        Digest { algorithm: Algorithm::Sha256, hex: hex(&Sha256::digest(bytes)) }
    }

    /// Whether these bytes have it.
    pub(crate) fn fits(&self, bytes: &[u8]) -> bool {
        match self.algorithm {
            Algorithm::Sha256 => self.hex == hex(&Sha256::digest(bytes)),
            Algorithm::Sha512 => self.hex == hex(&Sha512::digest(bytes)),
        }
    }

    /// The algorithm's name.
    pub(crate) fn algorithm(&self) -> &'static str {
        self.algorithm.as_str()
    }

    /// The hexadecimal digits.
    pub(crate) fn hex(&self) -> &str {
        &self.hex
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.as_str(), self.hex)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        let wrong = || DigestError(text.chars().take(200).collect());
        let (algorithm, hex) = text.split_once(':').ok_or_else(wrong)?;
        let (algorithm, length) = match algorithm {
            "sha256" => (Algorithm::Sha256, 64),
            "sha512" => (Algorithm::Sha512, 128),
            _ => return Err(wrong()),
        };
        let is_hex = hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if hex.len() != length || !is_hex {
            return Err(wrong());
        }
        Ok(Digest { algorithm, hex: hex.to_owned() })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

/// Reads a blob, and fails at its end, at the latest, where it is another one.
pub(crate) struct Verified<R> {
    inner: R,
    hasher: Option<Hasher>,
    digest: Digest,
    /// Bytes that it has to have, where that is known, and those that have come.
    size: Option<u64>,
    read: u64,
}

impl<R: Read> Verified<R> {
    pub(crate) fn new(inner: R, digest: Digest, size: Option<u64>) -> Verified<R> {
        let hasher = match digest.algorithm {
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(Sha512::new()),
        };
        Verified { inner, hasher: Some(hasher), digest, size, read: 0 }
    }

    fn check(&mut self) -> io::Result<()> {
        let Some(hasher) = self.hasher.take() else { return Ok(()) };
        if self.size.is_some_and(|size| size != self.read) {
            return Err(self.wrong_size());
        }
        let found = match hasher {
            Hasher::Sha256(hasher) => hex(&hasher.finalize()),
            Hasher::Sha512(hasher) => hex(&hasher.finalize()),
        };
        if found != self.digest.hex {
            return Err(io::Error::other(format!(
                "blob {}: what came has the digest {}:{found}; it was damaged, or forged",
                self.digest,
                self.digest.algorithm()
            )));
        }
        Ok(())
    }

    fn wrong_size(&self) -> io::Error {
        let (size, relation) = match self.size {
            Some(size) if self.read > size => (size, "more than"),
            size => (size.unwrap_or_default(), "fewer than"),
        };
        io::Error::other(format!("blob {}: there are {relation} the {size} bytes that it has", self.digest))
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        if length == 0 && !buffer.is_empty() {
            return self.check().map(|()| 0);
        }
        self.read += length as u64;
        // A blob without end must not be read to its end.
        if self.size.is_some_and(|size| self.read > size) {
            return Err(self.wrong_size());
        }
        match &mut self.hasher {
            Some(Hasher::Sha256(hasher)) => hasher.update(&buffer[..length]),
            Some(Hasher::Sha512(hasher)) => hasher.update(&buffer[..length]),
            None => {}
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_of_known_kinds_and_whole() {
        let good = format!("sha256:{}", "a0".repeat(32));
        assert_eq!(good.parse::<Digest>().unwrap().to_string(), good);
        assert!(format!("sha512:{}", "a0".repeat(64)).parse::<Digest>().is_ok());
        for bad in [
            "",
            "sha256:",
            "sha256:../../etc/passwd",
            &good[..70],
            &good.to_uppercase(),
            &good.replace("sha256", "md5"),
            &good.replace('a', "g"),
            &format!("{good}0"),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_blob_is_what_its_digest_says() {
        let digest = Digest::of(b"content");
        let read = |bytes: &[u8], size| {
            let mut all = Vec::new();
            Verified::new(bytes, digest.clone(), size).read_to_end(&mut all).map(|_| all)
        };
        assert_eq!(read(b"content", Some(7)).unwrap(), b"content");
        assert_eq!(read(b"content", None).unwrap(), b"content");
        for (bytes, size, reason) in [
            (b"Content".as_slice(), Some(7), "damaged, or forged"),
            (b"conten", Some(7), "fewer than the 7 bytes"),
            (b"contents", Some(7), "more than the 7 bytes"),
            (b"contents", None, "damaged, or forged"),
        ] {
            let error = read(bytes, size).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
