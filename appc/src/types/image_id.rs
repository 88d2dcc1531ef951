//! Image IDs: `sha512-` and the hash of an image's uncompressed tar.

use std::{fmt, str::FromStr};

use super::TypeError;

const PREFIX: &str = "sha512-";

/// An image ID. Manifests may carry abbreviated or placeholder values; [`ImageId::is_full`] tells a real one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(String);

impl ImageId {
    /// Length of [`ImageId::short`]: the prefix and 32 hexadecimal digits.
    pub const SHORT: usize = PREFIX.len() + 32;
    /// Length of [`ImageId::key`]: the prefix and the first half of the hash.
    pub const KEY: usize = PREFIX.len() + 64;

    /// The ID of an image whose uncompressed tar has this SHA-512 hash.
    pub fn from_digest(digest: &[u8; 64]) -> ImageId {
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        ImageId(format!("{PREFIX}{hex}"))
    }

    /// The text, with its prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text after the prefix.
    pub fn hex(&self) -> &str {
        &self.0[PREFIX.len()..]
    }

    /// Whether it is the whole hash: 128 lower-case hexadecimal digits.
    pub fn is_full(&self) -> bool {
        self.hex().len() == 128
            && self.hex().bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    }

    /// The first 39 characters, or all where there are fewer.
    pub fn short(&self) -> &str {
        self.0.get(..Self::SHORT).unwrap_or(&self.0)
    }

    /// The first 71 characters, or all where there are fewer: what rkt names images by.
    pub fn key(&self) -> &str {
        self.0.get(..Self::KEY).unwrap_or(&self.0)
    }
}

impl FromStr for ImageId {
    type Err = TypeError;

    fn from_str(text: &str) -> Result<ImageId, TypeError> {
        match text.split_once('-') {
            Some(("sha512", value)) if !value.is_empty() && !value.contains('-') => {
                Ok(ImageId(text.to_owned()))
            }
            Some(("sha512", _)) | None => Err(TypeError::new(text, "an image ID must be sha512-HEX")),
            Some(_) => Err(TypeError::new(text, "an image ID must be sha512-HEX: unrecognized hash type")),
        }
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // APPC-011
    #[test]
    fn ids_are_sha512_and_may_be_abbreviated() {
        for text in ["sha512-abc", "sha512-zz", "sha512-..."] {
            assert_eq!(text.parse::<ImageId>().unwrap().to_string(), text);
        }
        for text in ["", "sha512", "sha512-", "sha256-abc", "SHA512-abc", "sha512-a-b", "-"] {
            assert!(text.parse::<ImageId>().is_err(), "{text:?}");
        }
    }

    // APPC-012
    #[test]
    fn a_whole_id_has_its_abbreviations() {
        let id = ImageId::from_digest(&[0xab; 64]);
        assert!(id.is_full());
        assert_eq!((id.short().len(), id.key().len(), id.as_str().len()), (39, 71, 135));
        assert_eq!(id.to_string().parse::<ImageId>().unwrap(), id);
        let multibyte: ImageId = format!("sha512-{}", "é".repeat(40)).parse().unwrap();
        assert!(!multibyte.is_full());
        assert!(multibyte.short().len() >= 7);
    }
}
