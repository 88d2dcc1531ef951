//! Passphrases of encrypted images: one for all images of a command, or those that the configuration has for prefixes of
//! names.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use appc::{
    openpgp::{OpenPgpError, Passphrase},
    types::ImageName,
};

/// The passphrases that there are. Those of the configuration are read when an encrypted image needs them.
#[derive(Debug, Clone)]
pub(crate) struct ImageKeys<'a> {
    given: Option<Passphrase>,
    configured: &'a BTreeMap<String, PathBuf>,
}

/// A passphrase, and whose it is.
#[derive(Debug)]
pub(crate) struct ImageKey {
    /// The passphrase.
    pub(crate) passphrase: Passphrase,
    /// The prefixes of the names of its images. None at all where it is for any image.
    prefixes: Vec<String>,
}

impl ImageKey {
    /// Whether it is for images of this name.
    pub(crate) fn is_for(&self, name: &str) -> bool {
        self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| is_below(name, prefix))
    }

    /// What it is for, in words.
    pub(crate) fn describe(&self) -> String {
        self.prefixes.join(", ")
    }
}

impl<'a> ImageKeys<'a> {
    /// The keys of the configuration.
    pub(crate) fn new(configured: &'a BTreeMap<String, PathBuf>) -> ImageKeys<'a> {
        ImageKeys { given: None, configured }
    }

    /// Takes the passphrase in this file for all images, if there is one.
    pub(crate) fn with(self, file: Option<&Path>) -> Result<ImageKeys<'a>, OpenPgpError> {
        let given = file.map(Passphrase::read).transpose()?;
        Ok(ImageKeys { given, ..self })
    }

    /// The keys that an image may have, in the order in which they are tried. That of an image that was asked for by its
    /// name is the one with the longest prefix of that. Others may have any: first those with the longest prefix, and
    /// among prefixes of one length in their order.
    pub(crate) fn of(&self, name: Option<&ImageName>) -> Result<Vec<ImageKey>, OpenPgpError> {
        if let Some(passphrase) = &self.given {
            return Ok(vec![ImageKey { passphrase: passphrase.clone(), prefixes: Vec::new() }]);
        }
        let mut found: Vec<(&String, &PathBuf)> = self
            .configured
            .iter()
            .filter(|(prefix, _)| name.is_none_or(|name| is_below(name.name.as_str(), prefix)))
            .collect();
        found.sort_by_key(|(prefix, _)| Reverse(prefix.len()));
        if name.is_some() {
            found.truncate(1);
        }
        let mut keys: Vec<ImageKey> = Vec::new();
        for (prefix, file) in found {
            let passphrase = Passphrase::read(file)?;
            // One passphrase may be for several prefixes, and opens the images of all of them.
            match keys.iter_mut().find(|key| key.passphrase == passphrase) {
                Some(key) => key.prefixes.push(prefix.clone()),
                None => keys.push(ImageKey { passphrase, prefixes: vec![prefix.clone()] }),
            }
        }
        Ok(keys)
    }
}

/// Whether a name is the prefix, or has more parts after it.
fn is_below(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn the_longest_prefix_counts_and_files_may_have_any_key() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, passphrase: &str| {
            let path = directory.path().join(name);
            fs::write(&path, passphrase).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        let configured = [
            ("a.test", file("a", "one")),
            ("a.test/b", file("b", "two")),
            ("c.test", file("c", "one")),
            ("d.test", directory.path().join("missing")),
        ];
        let mut configured: BTreeMap<String, PathBuf> =
            configured.into_iter().map(|(prefix, path)| (prefix.to_owned(), path)).collect();
        let passphrase = |text: &str| Passphrase::new(text.as_bytes()).unwrap();
        let name = |text: &str| text.parse::<ImageName>().unwrap();
        let keys = ImageKeys::new(&configured);
        for (asked, want) in
            [("a.test", "one"), ("a.test/b", "two"), ("a.test/b/c:1", "two"), ("a.test/bc", "one")]
        {
            let found = keys.of(Some(&name(asked))).unwrap();
            assert_eq!(found.len(), 1, "{asked}");
            assert_eq!(found[0].passphrase, passphrase(want), "{asked}");
        }
        assert!(keys.of(Some(&name("a.tester"))).unwrap().is_empty());
        assert!(keys.of(Some(&name("d.test"))).unwrap_err().to_string().contains("/missing"));
        assert!(keys.of(None).is_err());
        configured.remove("d.test");
        let keys = ImageKeys::new(&configured).of(None).unwrap();
        let found: Vec<String> = keys.iter().map(ImageKey::describe).collect();
        assert_eq!(found, ["a.test/b", "a.test, c.test"]);
        assert!(keys[1].is_for("a.test/x") && keys[1].is_for("c.test") && !keys[1].is_for("c.tester"));
        let other = file("other", "three\n");
        let keys = ImageKeys::new(&configured).with(Some(&other)).unwrap().of(None).unwrap();
        assert_eq!(keys.len(), 1);
        assert!(keys[0].passphrase == passphrase("three") && keys[0].is_for("any.test"));
    }
}
