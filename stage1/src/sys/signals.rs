//! Signals as something to poll.
#![allow(unsafe_code)]

use std::{
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use rustix::io::{self, Errno};

/// A set of signals, blocked for this process.
#[derive(Debug)]
pub(crate) struct Signals(libc::sigset_t);

/// A descriptor that is readable while one of its signals is pending.
#[derive(Debug)]
pub(crate) struct SignalFd(OwnedFd);

impl Signals {
    /// Blocks `signals` for the calling thread and all threads and processes that it starts.
    ///
    /// # Errors
    /// Where one of them is no signal.
    pub(crate) fn block(signals: &[i32]) -> io::Result<Signals> {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the set; the calls after it get the initialised one.
        unsafe {
            check(libc::sigemptyset(set.as_mut_ptr()))?;
            for signal in signals {
                check(libc::sigaddset(set.as_mut_ptr(), *signal))?;
            }
            check(libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()))?;
            Ok(Signals(set.assume_init()))
        }
    }

    /// Makes a descriptor for these signals.
    ///
    /// # Errors
    /// Where there is no descriptor left.
    pub(crate) fn descriptor(&self) -> io::Result<SignalFd> {
        // SAFETY: the set is initialised; on success we own the new descriptor.
        unsafe {
            let fd = libc::signalfd(-1, &raw const self.0, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            check(fd)?;
            Ok(SignalFd(OwnedFd::from_raw_fd(fd)))
        }
    }
}

impl SignalFd {
    /// The next pending signal's number and the PID of who sent it, or `None`.
    ///
    /// # Errors
    /// Where reading fails.
    pub(crate) fn next(&self) -> io::Result<Option<(i32, u32)>> {
        let mut buffer = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        // SAFETY: the buffer has the size given; it is read only after the kernel has filled it whole.
        unsafe {
            let size = size_of::<libc::signalfd_siginfo>();
            let read = libc::read(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), size);
            if read == size as isize {
                let received = buffer.assume_init();
                return Ok(i32::try_from(received.ssi_signo).ok().map(|signal| (signal, received.ssi_pid)));
            }
        }
        match last_error() {
            Errno::AGAIN | Errno::INTR => Ok(None),
            errno => Err(errno),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(last_error()) } else { Ok(()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
