//! How many calls that carry a descriptor are on their way to a service at once, over all pods of this machine.
//!
//! dbus-daemon keeps at most 64 descriptors for each reader (`max_outgoing_unix_fds` in dbus-daemon(1)). Where they are
//! that many it refuses whatever else is for that reader, its own answers included: systemd then waits 25 seconds for one
//! that does not come, and leaves the bus. So a pod takes one of a few slots before it makes such a call, and gives it back
//! with the answer.

use std::{
    os::fd::OwnedFd,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rkt_pod::layout::RUN_DIR;
use rustix::{
    fs::{FlockOperation, Mode, OFlags},
    io::Errno,
};

/// Below [`RUN_DIR`]: a file a slot.
const DIRECTORY: &str = "starting";

/// Half of what dbus-daemon keeps: we are not alone.
const COUNT: u32 = 32;

/// How long a slot is waited for.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A slot that is ours until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _lock: OwnedFd,
}

/// Before something is tried again that others do, too. Processes that were started together differ in it.
pub(super) fn pause() -> Duration {
    Duration::from_millis(20 + u64::from(std::process::id() % 41))
}

impl Slot {
    /// Waits for one.
    ///
    /// # Errors
    /// Where they are all taken for a minute, or cannot be made.
    pub(super) fn take() -> Result<Slot> {
        Slot::take_in(&Path::new(RUN_DIR).join(DIRECTORY), COUNT, TIMEOUT)
    }

    fn take_in(directory: &Path, count: u32, timeout: Duration) -> Result<Slot> {
        let taking = || format!("take a lock in {}", directory.display());
        // Who comes with many others begins elsewhere, and waits where it has begun.
        let first = std::process::id() % count;
        let deadline = Instant::now() + timeout;
        let all = (0..count).map(|offset| (first + offset) % count);
        let again = std::iter::repeat(first).inspect(|_| std::thread::sleep(pause()));
        for slot in all.chain(again) {
            match lock(directory, slot) {
                Ok(lock) => return Ok(Slot { _lock: lock }),
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => {}
                Err(Errno::WOULDBLOCK) => {
                    bail!("systemd has not answered the pods that started before this one for {timeout:?}")
                }
                Err(errno) => return Err(errno).with_context(taking),
            }
        }
        unreachable!("the slots are tried without end")
    }
}

fn lock(directory: &Path, slot: u32) -> rustix::io::Result<OwnedFd> {
    let path = directory.join(slot.to_string());
    let open =
        || rustix::fs::open(&path, OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
    let file = match open() {
        Err(Errno::NOENT) => {
            make(directory)?;
            open()?
        }
        opened => opened?,
    };
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// Makes the directory, into which only root sees: who can open a file can lock it.
fn make(directory: &Path) -> rustix::io::Result<()> {
    let parent = directory.parent().ok_or(Errno::INVAL)?;
    for (path, mode) in [(parent, Mode::from_raw_mode(0o755)), (directory, Mode::RWXU)] {
        match rustix::fs::mkdir(path, mode) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_and_each_comes_back() {
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join("run/starting");
        let take = || Slot::take_in(&directory, 3, Duration::from_millis(50));
        let mut taken: Vec<Slot> = (0..3).map(|_| take().unwrap()).collect();
        let error = take().unwrap_err().to_string();
        assert_eq!(error, "systemd has not answered the pods that started before this one for 50ms");
        taken.clear();
        take().unwrap();
    }
}
