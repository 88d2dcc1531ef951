//! Who may do what at the same time.
//!
//! Whoever puts files into their places holds the store's directory shared, from the first file to the index's entry.
//! Whoever makes a pod holds `prepareLock` shared, from the moment it looks for trees until the pod says which it has.
//! Whoever removes holds both for itself, `prepareLock` first: nothing then is half there, and no pod is without its say.
//!
//! None of the shared ones is held while something is downloaded.

use std::{fs, os::fd::AsFd, os::unix::fs::MetadataExt, path::Path};

use rkt_pod::{
    layout,
    lock::{Kind, Lock},
};

use super::{Result, Store, StoreError, index::is_read_only, workspace::make};

/// That nobody else puts anything into the store, or makes a pod.
#[derive(Debug)]
pub(crate) struct Alone {
    _pods: Option<Lock>,
    _store: Lock,
}

impl Store {
    /// Held while files get to their places.
    pub(super) fn placing(&self) -> Result<Lock> {
        Lock::wait(&self.base, Kind::Shared).map_err(|error| failed(&error))
    }

    /// Held by who makes a pod: the trees that it was told of stay.
    pub(crate) fn preparing(&self) -> Result<Lock> {
        let path = self.data.join(layout::LOCKS).join(layout::PREPARE_LOCK);
        wait(&path, Kind::Shared)
    }

    /// Held by who reads what should stay meanwhile. From a file system that nobody can write to, nothing vanishes.
    pub(super) fn reading(&self) -> Result<Option<Lock>> {
        if is_read_only(&self.base) { Ok(None) } else { self.preparing().map(Some) }
    }

    /// Held by who removes.
    pub(crate) fn alone(&self) -> Result<Alone> {
        let path = self.data.join(layout::LOCKS).join(layout::PREPARE_LOCK);
        let pods = match wait(&path, Kind::Exclusive) {
            Ok(lock) => Some(lock),
            // Who may write the store and not make this has nothing to wait for: who makes a pod makes it first.
            Err(_) if !rustix::process::geteuid().is_root() && !path.exists() => None,
            Err(error) => return Err(error),
        };
        let store = Lock::wait(&self.base, Kind::Exclusive).map_err(|error| failed(&error))?;
        Ok(Alone { _pods: pods, _store: store })
    }
}

/// Locks a directory, which is made where it is missing. It may be removed by who holds it: then the next one counts.
pub(super) fn wait(path: &Path, kind: Kind) -> Result<Lock> {
    loop {
        let lock = match Lock::wait(path, kind) {
            Ok(lock) => lock,
            Err(error) if is_missing(&error) => {
                make(path)?;
                continue;
            }
            Err(error) => return Err(failed(&error)),
        };
        if is_at(&lock, path) {
            return Ok(lock);
        }
    }
}

/// The same without waiting.
pub(super) fn try_now(path: &Path, kind: Kind) -> Result<Option<Lock>> {
    make(path)?;
    match Lock::try_now(path, kind) {
        Ok(lock) => Ok(lock.filter(|lock| is_at(lock, path))),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(failed(&error)),
    }
}

/// Whether there was nothing to lock. There may be by now: others make and remove it, too.
fn is_missing(error: &rkt_pod::Error) -> bool {
    matches!(error, rkt_pod::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}

/// Whether what is locked still is what is there.
fn is_at(lock: &Lock, path: &Path) -> bool {
    match (rustix::fs::fstat(lock.as_fd()), fs::metadata(path)) {
        (Ok(locked), Ok(there)) => (locked.st_dev, locked.st_ino) == (there.dev(), there.ino()),
        _ => false,
    }
}

fn failed(error: &rkt_pod::Error) -> StoreError {
    StoreError::Lookup(error.to_string())
}
