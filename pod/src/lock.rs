//! The `flock(2)` on a directory that says "somebody works on this".

use std::{
    io::ErrorKind,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::fs::DirBuilderExt,
    },
    path::Path,
};

use rustix::{
    fs::{self, FlockOperation, Mode, OFlags},
    io::{self, Errno, FdFlags},
};

use crate::{
    error::{Error, Result, io_error, std_error},
    layout,
};

/// An open directory (or file) and the lock held on it. Dropping it releases the lock, unless the descriptor was passed
/// on to another program, which then holds it.
#[derive(Debug)]
pub struct Lock(OwnedFd);

/// Which lock to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only one holder.
    Exclusive,
    /// Many holders, as long as there is no exclusive one.
    Shared,
}

impl Lock {
    /// Opens the directory at `path` and locks it, waiting for whoever holds it.
    ///
    /// # Errors
    /// Where it cannot be opened or locked.
    pub fn wait(path: &Path, kind: Kind) -> Result<Lock> {
        let fd = open_directory(path)?;
        let operation = match kind {
            Kind::Exclusive => FlockOperation::LockExclusive,
            Kind::Shared => FlockOperation::LockShared,
        };
        flock_retrying(&fd, operation).map_err(io_error("lock", path))?;
        Ok(Lock(fd))
    }

    /// Takes one of the locks of a data directory, which is made where it is missing, and waits for whoever holds it.
    ///
    /// # Errors
    /// Where it cannot be made, opened or locked.
    pub fn of_directory(data: &Path, name: &str) -> Result<Lock> {
        let path = data.join(layout::LOCKS).join(name);
        match Lock::wait(&path, Kind::Exclusive) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                let made = std::fs::DirBuilder::new().recursive(true).mode(0o750).create(&path);
                made.map_err(std_error("make directory", &path))?;
                Lock::wait(&path, Kind::Exclusive)
            }
            other => other,
        }
    }

    /// Opens the directory at `path` and locks it, or returns `None` where another process holds it.
    ///
    /// # Errors
    /// Where it cannot be opened or locked.
    pub fn try_now(path: &Path, kind: Kind) -> Result<Option<Lock>> {
        let fd = open_directory(path)?;
        Ok(Self::try_fd(fd, kind).map_err(io_error("lock", path))?.map(Lock))
    }

    fn try_fd(fd: OwnedFd, kind: Kind) -> io::Result<Option<OwnedFd>> {
        let operation = match kind {
            Kind::Exclusive => FlockOperation::NonBlockingLockExclusive,
            Kind::Shared => FlockOperation::NonBlockingLockShared,
        };
        match flock_retrying(&fd, operation) {
            Ok(()) => Ok(Some(fd)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Takes over a lock that this process inherited, as stage1 does with `RKT_LOCK_FD`, and makes sure that no further
    /// program inherits it.
    ///
    /// # Errors
    /// Where the descriptor is none.
    pub fn inherited(fd: OwnedFd) -> io::Result<Lock> {
        io::fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
        Ok(Lock(fd))
    }

    /// Lets the next program of this process inherit the lock, and returns the number to tell it (`RKT_LOCK_FD`).
    ///
    /// # Errors
    /// Where the kernel refuses to change the descriptor's flags.
    pub fn pass_on(&self) -> io::Result<RawFd> {
        io::fcntl_setfd(&self.0, FdFlags::empty())?;
        Ok(self.0.as_raw_fd())
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        .map_err(io_error("open", path))
}

fn flock_retrying(fd: &OwnedFd, operation: FlockOperation) -> io::Result<()> {
    io::retry_on_intr(|| fs::flock(fd, operation))
}
