//! Passphrases: the first line of a file, as gpg reads them.

use std::{
    fmt, fs,
    io::Read,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use pgp::types::Password;

use super::OpenPgpError;

/// Longest passphrase, in bytes.
const MAX: usize = 4096;

/// Users other than the owner who may read or write a file.
const OTHERS: u32 = 0o066;

/// A passphrase. It is printed nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Vec<u8>);

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

impl Passphrase {
    /// A passphrase of these bytes.
    ///
    /// # Errors
    /// Where it is empty, or longer than 4096 bytes.
    pub fn new(bytes: &[u8]) -> Result<Passphrase, OpenPgpError> {
        match bytes.len() {
            0 => Err(OpenPgpError::Passphrase("it is empty".to_owned())),
            1..=MAX => Ok(Passphrase(bytes.to_vec())),
            _ => Err(OpenPgpError::Passphrase(format!("it is longer than {MAX} bytes"))),
        }
    }

    /// The first line of a file. A regular file must be one that nobody but its owner reads, and that is of whoever reads
    /// it, or of root.
    ///
    /// # Errors
    /// Where it is not, cannot be read, or its first line is empty or longer than 4096 bytes.
    pub fn read(path: &Path) -> Result<Passphrase, OpenPgpError> {
        let wrong = |reason: String| OpenPgpError::Passphrase(format!("file {}: {reason}", path.display()));
        let shown = |error: std::io::Error| wrong(error.to_string());
        let file = fs::File::open(path).map_err(shown)?;
        let data = file.metadata().map_err(shown)?;
        if data.is_file() && data.permissions().mode() & OTHERS != 0 {
            return Err(wrong(format!(
                "others than its owner may read or write it (mode {:04o}); use chmod 600",
                data.mode() & 0o7777
            )));
        }
        if data.is_file() && ![0, rustix::process::geteuid().as_raw()].contains(&data.uid()) {
            return Err(wrong(format!("it belongs to user {}, who may read it; use chown", data.uid())));
        }
        let mut bytes = Vec::new();
        file.take(MAX as u64 + 2).read_to_end(&mut bytes).map_err(shown)?;
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Passphrase::new(line).map_err(|error| match error {
            OpenPgpError::Passphrase(reason) => wrong(format!("its first line: {reason}")),
            other => other,
        })
    }

    pub(super) fn password(&self) -> Password {
        Password::from(self.0.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // APPC-071
    #[test]
    fn the_first_line_of_a_file_that_nobody_else_reads() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passphrase");
        let write = |content: &[u8], mode: u32| {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        for content in [&b"secret"[..], b"secret\n", b"secret\nother\n"] {
            write(content, 0o600);
            assert_eq!(Passphrase::read(&path).unwrap(), Passphrase::new(b"secret").unwrap());
        }
        write(b" a\r\n", 0o400);
        assert_eq!(Passphrase::read(&path).unwrap(), Passphrase::new(b" a\r").unwrap());
        for (content, mode, word) in [
            (&b""[..], 0o600, "empty"),
            (b"\nsecret\n", 0o600, "empty"),
            (&[b'x'; MAX + 1], 0o600, "longer"),
            (b"secret\n", 0o640, "mode 0640"),
            (b"secret\n", 0o604, "chmod 600"),
            (b"secret\n", 0o602, "chmod 600"),
        ] {
            write(content, mode);
            let error = Passphrase::read(&path).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("/passphrase"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(Passphrase::read(directory.path()).is_err());
        assert!(!format!("{:?}", Passphrase::new(b"secret")).contains("secret"));
    }
}
