//! Names of files as text: whatever bytes they have, one line holds them, and they can be had back.

use std::fmt::Write as _;

/// A name as text. Backslashes, and bytes that are no UTF-8, become `\xNN`.
pub(super) fn escape(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for (number, part) in chunk.valid().split('\\').enumerate() {
            if number > 0 {
                text.push_str("\\x5c");
            }
            text.push_str(part);
        }
        for byte in chunk.invalid() {
            if write!(text, "\\x{byte:02x}").is_err() {
                // Writing to a string does not fail.
            }
        }
    }
    text
}

/// The name that [`escape`] made this text of.
pub(super) fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('\\');
    let mut name = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.strip_prefix('x')?;
        name.push(u8::from_str_radix(digits.get(..2)?, 16).ok()?);
        name.extend(&digits.as_bytes()[2..]);
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back() {
        for (name, text) in [
            (&b"etc/passwd"[..], "etc/passwd"),
            (b"", ""),
            ("ü\u{1f600}".as_bytes(), "ü\u{1f600}"),
            (b"a\\b\\", "a\\x5cb\\x5c"),
            (b"\xff/\xc3(", "\\xff/\\xc3("),
            (b"\\x41", "\\x5cx41"),
        ] {
            assert_eq!(escape(name), text);
            assert_eq!(unescape(text).as_deref(), Some(name));
        }
        for text in ["\\", "\\x", "\\x4", "\\xzz", "\\n"] {
            assert_eq!(unescape(text), None, "{text}");
        }
    }
}
