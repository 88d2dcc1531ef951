//! `--insecure-options`: which protections the user does without.

use std::str::FromStr;

/// The options as a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct InsecureOptions(u8);

const IMAGE: u8 = 1;
const TLS: u8 = 2;
const ONDISK: u8 = 4;
const HTTP: u8 = 8;
const PUBKEY: u8 = 16;
const CAPABILITIES: u8 = 32;
const PATHS: u8 = 64;
const SECCOMP: u8 = 128;

const NAMES: [(&str, u8); 12] = [
    ("none", 0),
    ("image", IMAGE),
    ("tls", TLS),
    ("ondisk", ONDISK),
    ("http", HTTP),
    ("pubkey", PUBKEY),
    ("capabilities", CAPABILITIES),
    ("paths", PATHS),
    ("seccomp", SECCOMP),
    ("all-fetch", IMAGE | TLS | HTTP | PUBKEY),
    ("all-run", CAPABILITIES | PATHS | SECCOMP),
    ("all", !ONDISK),
];

impl InsecureOptions {
    /// Images without a verified signature will do.
    pub(crate) fn image(self) -> bool {
        self.0 & IMAGE != 0
    }

    /// Certificates are not checked.
    pub(crate) fn tls(self) -> bool {
        self.0 & TLS != 0
    }

    /// Discovery may use http.
    pub(crate) fn http(self) -> bool {
        self.0 & HTTP != 0
    }

    /// Keys may be looked for without checked certificates.
    pub(crate) fn pubkey(self) -> bool {
        self.0 & PUBKEY != 0
    }

    /// Apps keep all capabilities.
    pub(crate) fn capabilities(self) -> bool {
        self.0 & CAPABILITIES != 0
    }

    /// Kernel paths are neither hidden nor read-only.
    pub(crate) fn paths(self) -> bool {
        self.0 & PATHS != 0
    }

    /// No system call is filtered.
    pub(crate) fn seccomp(self) -> bool {
        self.0 & SECCOMP != 0
    }
}

impl FromStr for InsecureOptions {
    type Err = String;

    fn from_str(text: &str) -> Result<InsecureOptions, String> {
        let mut options = InsecureOptions::default();
        let mut seen = Vec::new();
        for word in text.split(',') {
            let word = word.to_ascii_lowercase();
            let known = NAMES.iter().find(|(name, _)| *name == word);
            let (name, bits) = known.ok_or_else(|| {
                let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
                format!("unknown option {word:?} (must be one of: {})", names.join(", "))
            })?;
            if seen.contains(name) {
                return Err(format!("duplicated option {word:?}"));
            }
            seen.push(*name);
            options.0 |= bits;
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_a_set_of_words() {
        let parse = |text: &str| text.parse::<InsecureOptions>();
        assert_eq!(parse("none").unwrap(), InsecureOptions(0));
        assert_eq!(parse("Image,tls").unwrap(), InsecureOptions(3));
        assert_eq!(parse("all").unwrap(), InsecureOptions(251));
        assert_eq!(parse("all-run").unwrap(), InsecureOptions(224));
        for text in ["", "image,image", "imag", "image,"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
