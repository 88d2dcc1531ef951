//! Trusted keys on disk: `trustedkeys/root.d/<fingerprint>` and `trustedkeys/prefix.d/<prefix…>/<fingerprint>`, in the
//! vendor's and in the administrator's directory. An empty file masks the key of that fingerprint.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    io::Errno,
};

use super::{Key, Result, TrustError};
use crate::files::Step;

/// Largest file of a key, in bytes.
const MAX_KEY: u64 = 1 << 20;

/// The trusted keys of the vendor's and of the administrator's directory.
#[derive(Debug)]
pub(crate) struct Keystore {
    system: PathBuf,
    local: PathBuf,
}

impl Keystore {
    /// The keystore of these configuration directories.
    pub(crate) fn new(system: &Path, local: &Path) -> Keystore {
        Keystore { system: system.join("trustedkeys"), local: local.join("trustedkeys") }
    }

    /// The keys that are trusted for images of this name: those for all images, and those for the name and for each
    /// part of it that ends before a slash.
    ///
    /// # Errors
    /// Where a file cannot be read, holds no key, or another than its name says.
    pub(crate) fn keys(&self, name: &str) -> Result<Vec<Key>> {
        let mut keys = BTreeMap::new();
        for base in [&self.system, &self.local] {
            load(base, Path::new("root.d"), &mut keys)?;
        }
        for base in [&self.system, &self.local] {
            let mut place = PathBuf::from("prefix.d");
            for part in name.split('/') {
                // Such a part would lead to the keys of another name.
                if matches!(part, "" | "." | "..") {
                    break;
                }
                place.push(part);
                load(base, &place, &mut keys)?;
            }
        }
        Ok(keys.into_values().collect())
    }

    /// Trusts a key for a prefix, or for all images. Returns the path of its file.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(crate) fn add(&self, prefix: Option<&str>, key: &Key) -> Result<PathBuf> {
        let directory = match prefix {
            Some(prefix) => self.local.join("prefix.d").join(prefix),
            None => self.local.join("root.d"),
        };
        fs::create_dir_all(&directory).step("make directory", &directory)?;
        let path = directory.join(key.fingerprint());
        let new = directory.join(format!(".{}.{}", key.fingerprint(), std::process::id()));
        let write = || -> io::Result<()> {
            let mut file =
                fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&new)?;
            file.write_all(&key.armored().map_err(io::Error::other)?)?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        if let Err(error) = write() {
            // Nothing of it is left; what could not be removed is ignored as every file that is no fingerprint.
            drop(fs::remove_file(&new));
            return Err(error).step("write trusted key", &path).map_err(TrustError::from);
        }
        Ok(path)
    }
}

/// Adds the keys of one directory to those that were found before.
fn load(base: &Path, place: &Path, keys: &mut BTreeMap<String, Key>) -> Result<()> {
    let shown = base.join(place);
    let directory = match open_beneath(base, place, OFlags::DIRECTORY) {
        Ok(directory) => directory,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(errno) => return Err(io::Error::from(errno)).step("open", &shown).map_err(TrustError::from),
    };
    let entries = rustix::fs::Dir::read_from(&directory).step("list", &shown)?;
    for entry in entries {
        let entry = entry.step("list", &shown)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_fingerprint = matches!(name.len(), 40 | 64) && name.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_fingerprint {
            continue;
        }
        let path = shown.join(&name);
        let file = open_beneath(&shown, Path::new(&name), OFlags::NONBLOCK)
            .map_err(io::Error::from)
            .step("open trusted key", &path)?;
        let mut bytes = Vec::new();
        let file = fs::File::from(file);
        if !file.metadata().step("look at", &path)?.is_file() {
            continue;
        }
        file.take(MAX_KEY).read_to_end(&mut bytes).step("read trusted key", &path)?;
        if bytes.is_empty() {
            keys.remove(&name);
            continue;
        }
        let key = Key::read_all(&bytes, &path.display().to_string())?.swap_remove(0);
        if key.fingerprint() != name {
            return Err(TrustError::Misnamed { path: path.display().to_string(), found: key.fingerprint() });
        }
        keys.insert(name, key);
    }
    Ok(())
}

/// Opens what an image's name leads to, which is never anything outside of the directory.
fn open_beneath(base: &Path, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path_only = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let base = rustix::fs::open(base, path_only, Mode::empty())?;
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat2(
        &base,
        path,
        flags,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A public key that gpg has made.
    const KEY: &[u8] = include_bytes!("testdata/key.asc");

    // APPC-003
    #[test]
    fn keys_are_found_below_their_prefix_and_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        let (system, local) = (directory.path().join("system"), directory.path().join("local"));
        let keystore = Keystore::new(&system, &local);
        assert!(keystore.keys("a.test/b").unwrap().is_empty());
        let key = Key::read_all(KEY, "key.asc").unwrap().swap_remove(0);
        let path = keystore.add(Some("a.test/b"), &key).unwrap();
        assert_eq!(path, local.join("trustedkeys/prefix.d/a.test/b").join(key.fingerprint()));
        for (name, count) in [
            ("a.test/b", 1),
            ("a.test/b/c", 1),
            ("a.test", 0),
            ("a.test/bc", 0),
            ("a.test/bc/../b", 0),
            ("other.test/../a.test/b", 0),
            ("../prefix.d/a.test/b", 0),
            ("a.test//b", 0),
        ] {
            assert_eq!(keystore.keys(name).unwrap().len(), count, "{name}");
        }
        // The administrator's empty file masks the vendor's key.
        let vendor = system.join("trustedkeys/root.d");
        fs::create_dir_all(&vendor).unwrap();
        fs::rename(&path, vendor.join(key.fingerprint())).unwrap();
        assert_eq!(keystore.keys("any.test").unwrap().len(), 1);
        fs::create_dir_all(local.join("trustedkeys/root.d")).unwrap();
        fs::write(local.join("trustedkeys/root.d").join(key.fingerprint()), "").unwrap();
        assert!(keystore.keys("any.test").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_key_in_the_keystore_is_an_error_and_other_names_are_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let keystore = Keystore::new(&directory.path().join("system"), directory.path());
        let root = directory.path().join("trustedkeys/root.d");
        fs::create_dir_all(&root).unwrap();
        fs::write(root.join("README"), "no key").unwrap();
        assert!(keystore.keys("a").unwrap().is_empty());
        fs::write(root.join("0".repeat(40)), "no key").unwrap();
        assert!(keystore.keys("a").unwrap_err().to_string().contains("not an OpenPGP public key"));
        fs::write(root.join("0".repeat(40)), KEY).unwrap();
        assert!(matches!(keystore.keys("a"), Err(TrustError::Misnamed { .. })));
    }
}
