//! A user's terminal in raw mode, that is as it was again whatever becomes of the process that has changed it.
#![allow(unsafe_code)]

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    thread::sleep,
    time::Duration,
};

use rustix::{
    io::Errno,
    pipe::PipeFlags,
    process::{PidfdFlags, Signal, WaitId, WaitIdOptions},
    termios::{OptionalActions, Termios},
};

/// How it was before. Dropping it restores that, and the death of this process does.
#[derive(Debug)]
pub(crate) struct Raw {
    terminal: BorrowedFd<'static>,
    before: Termios,
    keeper: Option<Keeper>,
}

/// A process that restores the terminal when this one has died.
#[derive(Debug)]
struct Keeper {
    process: OwnedFd,
    /// Its end is the end of this process.
    _alive: OwnedFd,
}

impl Raw {
    /// Sets the terminal to raw mode.
    ///
    /// # Errors
    /// Where it is none.
    pub(crate) fn enter(terminal: BorrowedFd<'static>) -> Result<Raw, Errno> {
        let before = rustix::termios::tcgetattr(terminal)?;
        // Without a keeper the terminal is restored by an orderly end alone.
        let keeper = Keeper::start(terminal).ok();
        let raw = Raw { terminal, before, keeper };
        let mut settings = raw.before.clone();
        settings.make_raw();
        rustix::termios::tcsetattr(terminal, OptionalActions::Now, &settings)?;
        Ok(raw)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // First, as it would restore the terminal later than whoever has it then.
        drop(self.keeper.take());
        for _ in 0..3 {
            let restored = rustix::termios::tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
            if restored != Err(Errno::INTR) {
                return;
            }
            sleep(Duration::from_millis(1));
        }
    }
}

impl Keeper {
    fn start(terminal: BorrowedFd<'_>) -> Result<Keeper, Errno> {
        let (theirs, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let mut before = std::mem::MaybeUninit::<libc::termios>::uninit();
        // SAFETY: the buffer is what the call fills, and is read only where it has.
        let before = unsafe {
            if libc::tcgetattr(terminal.as_raw_fd(), before.as_mut_ptr()) != 0 {
                return Err(Errno::NOTTY);
            }
            before.assume_init()
        };
        // SAFETY: the child calls nothing but system calls, with memory of its own stack, until it ends: whatever other
        // threads held when it was made, locks of the allocator among that, it does not need.
        let pid = unsafe { libc::fork() };
        match pid {
            0 => keep(terminal.as_raw_fd(), theirs.as_raw_fd(), &before),
            -1 => Err(Errno::AGAIN),
            pid => {
                // It is our child, and nobody has waited for it: the number is still its own.
                let pid = rustix::process::Pid::from_raw(pid).ok_or(Errno::SRCH)?;
                let process = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
                Ok(Keeper { process, _alive: ours })
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if rustix::process::pidfd_send_signal(&self.process, Signal::KILL).is_ok()
            && rustix::process::waitid(WaitId::PidFd(self.process.as_fd()), WaitIdOptions::EXITED).is_err()
        {
            // Somebody else who waits for all children has had it.
        }
    }
}

/// The keeper: waits for its parent's end, and restores the terminal.
fn keep(terminal: i32, alive: i32, before: &libc::termios) -> ! {
    let mut byte = 0_u8;
    // SAFETY: only system calls, on descriptors and memory of this process alone; it never returns to what was copied.
    // With all signals blocked neither the terminal's keys end it nor its being in the background.
    unsafe {
        let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut());
        // Whatever it keeps open seems to be in use: the pod's lock, the terminal of an app, the other end of its own pipe.
        let terminal = libc::dup(terminal);
        libc::dup2(alive, 0);
        libc::dup2(terminal, 1);
        libc::syscall(libc::SYS_close_range, 2, u32::MAX, 0);
        while libc::read(0, (&raw mut byte).cast(), 1) == -1 && *libc::__errno_location() == libc::EINTR {}
        libc::tcsetattr(1, libc::TCSAFLUSH, before);
        libc::_exit(0)
    }
}
