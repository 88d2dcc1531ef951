//! Unpacking one layer: what it has, and what it deletes.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use appc::aci::{self, Change, Limits};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, XattrFlags},
    io::Errno,
};

use super::{Layered, Result, StoreError, Unpacker, hex};
use crate::files::{FileError, OPAQUE, Step};

/// Layers that are got and unpacked at once.
const AT_ONCE: usize = 4;

/// Unpacks layers into their places, several at once. The first that fails ends the others' waiting for their turn.
pub(super) fn layers(image: &Layered<'_>, places: &[(usize, &Path)]) -> Result<Vec<Unpacker>> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let work = || {
        let mut done = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            let Some(&(index, place)) = places.get(turn) else { break };
            let result = layer(image, index, place);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            done.push((turn, result));
        }
        done
    };
    let mut all = thread::scope(|scope| {
        let others: Vec<_> = (1..places.len().min(AT_ONCE)).map(|_| scope.spawn(work)).collect();
        let mut all = work();
        for other in others {
            let lost = || StoreError::Lookup(format!("image {}: a thread has failed", image.shown));
            all.extend(other.join().map_err(|_| lost())?);
        }
        Ok::<_, StoreError>(all)
    })?;
    all.sort_by_key(|(turn, _)| *turn);
    all.into_iter().map(|(_, result)| result).collect()
}

/// Unpacks a layer into `place`. It is verified to be the one that is meant; what it needs of those below is not yet there.
fn layer(image: &Layered<'_>, index: usize, place: &Path) -> Result<Unpacker> {
    let shown = image.layer(index);
    let failed = |source: io::Error| StoreError::Read { path: shown.clone(), source };
    let mut input = (image.open)(index).map_err(failed)?;
    let mut unpacker = Unpacker::of_layer(place)?;
    let (mut removed, mut emptied) = (Vec::new(), Vec::new());
    let read = aci::read_layer(&mut input, &Limits::default(), &mut |change, content| {
        match change {
            Change::Add(entry) => unpacker.add(entry, content)?,
            Change::Remove(path) => removed.push(path.clone()),
            Change::Empty(path) => emptied.push(path.clone()),
        }
        Ok::<(), FileError>(())
    });
    let layer = read.map_err(|error| StoreError::of_read(Path::new(&shown), error))?;
    // What follows belongs to what its digest is of.
    io::copy(&mut input.by_ref(), &mut io::sink()).map_err(failed)?;
    let found = hex(&layer.diff_id);
    if found != image.diff_ids[index] {
        let reason = format!("uncompressed it has the digest sha256:{found}; it is damaged, or was forged");
        return Err(StoreError::Other { path: shown, reason });
    }
    delete(&mut unpacker, &removed, &emptied)?;
    Ok(unpacker)
}

/// Notes deletions as overlayfs wants them: they hide what layers below have, and nothing of this one.
fn delete(
    unpacker: &mut Unpacker,
    removed: &[PathBuf],
    emptied: &[PathBuf],
) -> std::result::Result<(), FileError> {
    let hide = |directory: &std::os::fd::OwnedFd, path: &Path| {
        rustix::fs::fsetxattr(directory, OPAQUE, b"y", XattrFlags::empty()).step("empty", path)
    };
    for path in emptied {
        hide(&unpacker.open(path).step("open", path)?, path)?;
    }
    for path in removed {
        let (parent, name) = unpacker.parent_of(path).step("make directory of", path)?;
        match rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let own = rustix::fs::openat(&parent, &name, flags, Mode::empty()).step("open", path)?;
                hide(&own, path)?;
            }
            Ok(_) => {}
            Err(Errno::NOENT) => {
                rustix::fs::mknodat(&parent, &name, FileType::CharacterDevice, Mode::empty(), 0)
                    .step("remove", path)?;
            }
            Err(errno) => return Err(errno).step("remove", path),
        }
    }
    Ok(())
}
