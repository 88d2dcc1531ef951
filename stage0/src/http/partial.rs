//! What an interrupted download leaves on disk, for the next one to continue.
//!
//! ```text
//! cas/partial/<hash of the URL>/data       what came so far
//! cas/partial/<hash of the URL>/meta.json  of what it is the beginning
//! ```
//!
//! It counts only until the machine is started anew: nothing is synced while it comes.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rkt_pod::{
    files::{FileError, Step, remove_tree},
    lock::{Kind, Lock},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use ureq::http::HeaderMap;

use super::cache::{content_range, header, strong_validator};

/// How long it is worth keeping.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Of what the data are the beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    url: String,
    /// A strong entity tag, or the time of the last change, as the server writes it.
    validator: String,
    /// Bytes of the whole, where they are known.
    pub(super) total: Option<u64>,
    /// What the kernel calls this start of the machine.
    boot: String,
}

/// A download on disk, locked as long as we live. It is removed when this is dropped, unless it is worth keeping; if we
/// die before, it stays.
#[derive(Debug)]
pub(crate) struct Partial {
    path: PathBuf,
    meta: Option<Meta>,
    keep: bool,
    _lock: Lock,
}

impl Partial {
    /// What there is of the download of `url` in the store at `base`, which may be nothing. What is too old is removed.
    pub(crate) fn open(base: &Path, url: &str) -> Result<Partial, FileError> {
        let parent = base.join("partial");
        fs::create_dir_all(&parent).step("make directory", &parent)?;
        Partial::sweep(base, KEPT);
        let name: String = Sha256::digest(url).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let path = parent.join(name);
        loop {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).step("make directory", &path)?;
            let lock = match Lock::wait(&path, Kind::Exclusive) {
                Ok(lock) => lock,
                // Whoever had it has removed it.
                Err(_) if !path.exists() => continue,
                Err(error) => return Err(std::io::Error::other(error)).step("lock", &path),
            };
            // Somebody may have removed it while we waited, and somebody else made another.
            if is_of(&lock, &path) {
                let mut partial = Partial { path, meta: None, keep: false, _lock: lock };
                partial.meta = partial.read_meta(url);
                return Ok(partial);
            }
        }
    }

    /// Removes from the store at `base` what was left longer ago than `age`, and nobody works on. What cannot be removed stays for the next time.
    pub(crate) fn sweep(base: &Path, age: Duration) {
        let Ok(entries) = fs::read_dir(base.join("partial")) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            let changed = |name: &str| fs::metadata(path.join(name)).and_then(|data| data.modified()).ok();
            let last = changed("data").or_else(|| entry.metadata().and_then(|data| data.modified()).ok());
            let old = last
                .and_then(|last| SystemTime::now().duration_since(last).ok())
                .is_some_and(|past| past >= age);
            if old
                && let Ok(Some(_lock)) = Lock::try_now(&path, Kind::Exclusive)
                && remove_tree(&path).is_err()
            {
                // Left for later.
            }
        }
    }

    fn read_meta(&self, url: &str) -> Option<Meta> {
        let meta: Meta = serde_json::from_slice(&fs::read(self.path.join("meta.json")).ok()?).ok()?;
        (meta.url == url && !meta.boot.is_empty() && meta.boot == boot()).then_some(meta)
    }

    /// Where the bytes are.
    pub(crate) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// Leaves it for the next download, where that can continue it.
    pub(crate) fn keep(&mut self) {
        self.keep = self.meta.is_some();
    }

    /// From which byte the download can be continued, and with what the server knows whether it still can.
    pub(super) fn resume(&self) -> Option<(u64, &str)> {
        let meta = self.meta.as_ref()?;
        let length = fs::metadata(self.data()).ok()?.len();
        // At least one byte is asked for: no range starts at the end.
        let from = length.min(meta.total.map_or(length, |total| total.saturating_sub(1)));
        (from > 0).then_some((from, meta.validator.as_str()))
    }

    /// Forgets what is there.
    pub(super) fn restart(&mut self) {
        self.meta = None;
    }

    /// Takes note of what the server sends from its beginning, and returns the file for it.
    pub(super) fn start(
        &mut self,
        url: &str,
        headers: &HeaderMap,
        total: Option<u64>,
    ) -> Result<File, FileError> {
        let (data, meta, fresh) = (self.data(), self.path.join("meta.json"), self.path.join("meta.new"));
        // Nothing lies beside the description of something else, whenever we end.
        match fs::remove_file(&meta) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).step("remove", &meta);
            }
            _ => {}
        }
        let file = File::create(&data).step("make", &data)?;
        self.meta = strong_validator(headers).map(|validator| Meta {
            url: url.to_owned(),
            validator,
            total,
            boot: boot(),
        });
        if let Some(described) = &self.meta {
            let text = serde_json::to_vec(described).map_err(std::io::Error::other).step("write", &fresh)?;
            fs::write(&fresh, text).step("write", &fresh)?;
            fs::rename(&fresh, &meta).step("move to its place", &meta)?;
        }
        Ok(file)
    }

    /// The file to continue at `from`, and the length of the whole, where this is what the server sends.
    pub(super) fn continues(&self, headers: &HeaderMap, from: u64) -> Option<u64> {
        let meta = self.meta.as_ref()?;
        let (start, end, total) = content_range(headers)?;
        let fits = start == from && end + 1 == total && meta.total.is_none_or(|known| known == total);
        let is = |name: &str| header(headers, name).is_none_or(|value| value == meta.validator);
        let same = if meta.validator.starts_with('"') { is("etag") } else { is("last-modified") };
        (fits && same).then_some(total)
    }

    /// The file, cut where what is there is continued.
    pub(super) fn continued(&self, from: u64) -> Result<File, FileError> {
        let data = self.data();
        let file = OpenOptions::new().append(true).open(&data).step("open", &data)?;
        file.set_len(from).step("cut", &data)?;
        Ok(file)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.keep && remove_tree(&self.path).is_err() {
            // It is removed when it is old.
        }
    }
}

/// Whether what is locked is what has the name now.
fn is_of(lock: &Lock, path: &Path) -> bool {
    let locked = rustix::fs::fstat(lock).map(|stat| (stat.st_dev, stat.st_ino));
    let named = rustix::fs::stat(path).map(|stat| (stat.st_dev, stat.st_ino));
    locked.is_ok() && locked == named
}

/// What the kernel calls this start of the machine.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const URL: &str = "http://a.test/image.aci";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn left(base: &Path, etag: &str) {
        let mut partial = Partial::open(base, URL).unwrap();
        let mut file = partial.start(URL, &headers(&[("etag", etag)]), Some(10)).unwrap();
        file.write_all(b"12345").unwrap();
        partial.keep();
    }

    #[test]
    fn what_was_left_is_continued_where_the_server_has_the_same() {
        let base = tempfile::tempdir().unwrap();
        left(base.path(), "\"a\"");
        let partial = Partial::open(base.path(), URL).unwrap();
        assert_eq!(partial.resume(), Some((5, "\"a\"")));
        for (range, etag, fits) in [
            ("bytes 5-9/10", "\"a\"", true),
            ("bytes 5-9/10", "\"b\"", false),
            ("bytes 0-9/10", "\"a\"", false),
            ("bytes 6-9/10", "\"a\"", false),
            ("bytes 5-8/10", "\"a\"", false),
            ("bytes 5-10/11", "\"a\"", false),
            ("nonsense", "\"a\"", false),
        ] {
            let answer = headers(&[("content-range", range), ("etag", etag)]);
            assert_eq!(partial.continues(&answer, 5).is_some(), fits, "{range} {etag}");
        }
        // Of what is whole the last byte is asked for again.
        partial.continued(5).unwrap().write_all(b"67890").unwrap();
        assert_eq!(partial.resume(), Some((9, "\"a\"")));
    }

    #[test]
    fn nothing_is_left_that_cannot_be_continued() {
        let base = tempfile::tempdir().unwrap();
        left(base.path(), "W/\"a\"");
        assert_eq!(fs::read_dir(base.path().join("partial")).unwrap().count(), 0);
        left(base.path(), "\"a\"");
        let path = fs::read_dir(base.path().join("partial")).unwrap().next().unwrap().unwrap().path();
        let meta = fs::read_to_string(path.join("meta.json")).unwrap().replace(&boot(), "another-start");
        fs::write(path.join("meta.json"), meta).unwrap();
        assert_eq!(Partial::open(base.path(), URL).unwrap().resume(), None);
        left(base.path(), "\"a\"");
        Partial::sweep(base.path(), Duration::from_secs(60));
        assert!(path.exists());
        Partial::sweep(base.path(), Duration::ZERO);
        assert!(!path.exists());
    }
}
