//! Directories for work in progress, which vanish when their owner does.

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use rkt_pod::lock::{Kind, Lock};

use super::{Result, StoreError};
use crate::files::{Step, remove_tree};

/// How often one is made before we give up. Others sweep only when they begin: losing twice is rare.
const TRIES: usize = 100;

/// A directory of our own below `tmp`, locked as long as we live. It is removed when this is dropped; if we die before,
/// the next one who makes a workspace removes it.
#[derive(Debug)]
pub(crate) struct Workspace {
    path: PathBuf,
    _lock: Lock,
}

impl Workspace {
    /// Makes one, after removing what others left behind.
    pub(super) fn new(base: &Path) -> Result<Workspace> {
        let parent = base.join("tmp");
        make(&parent)?;
        sweep(&parent);
        for _ in 0..TRIES {
            let path = parent.join(uuid::Uuid::new_v4().to_string());
            fs::DirBuilder::new().mode(0o700).create(&path).step("make directory", &path)?;
            // Somebody who sweeps may have been here before our lock.
            match Lock::try_now(&path, Kind::Exclusive) {
                Ok(Some(lock)) if path.exists() => return Ok(Workspace { path, _lock: lock }),
                Err(error) if path.exists() => {
                    // Removing a tree could take what we lack now.
                    fs::remove_dir(&path).step("remove", &path)?;
                    return Err(StoreError::Lookup(error.to_string()));
                }
                _ => {}
            }
        }
        Err(StoreError::Lookup(format!("{}: whatever is made there is gone at once", parent.display())))
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if remove_tree(&self.path).is_err() {
            // The next sweep tries again.
        }
    }
}

/// Makes a directory and those above it.
pub(super) fn make(path: &Path) -> Result<()> {
    fs::create_dir_all(path).step("make directory", path)?;
    Ok(())
}

/// Removes what nobody works on any more. What cannot be removed stays for the next time.
pub(super) fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if let Ok(Some(_lock)) = Lock::try_now(&path, Kind::Exclusive)
            && remove_tree(&path).is_err()
        {
            // Left for later.
        }
    }
}
