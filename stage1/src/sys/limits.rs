//! Resource limits of other processes: `prlimit64(2)`.
#![allow(unsafe_code)]

use std::{mem::MaybeUninit, ptr};

use rustix::{
    io::{self, Errno},
    process::Pid,
};

/// How many kinds of limits the kernel has (`RLIM_NLIMITS`).
const KINDS: u32 = 16;

/// Gives process `to` the resource limits of process `from`. Where we may not raise one, it stays the lower one it has.
///
/// # Errors
/// What the kernel says: one of them is gone, or not ours to limit.
pub(crate) fn copy_limits(from: Pid, to: Pid) -> io::Result<()> {
    for kind in 0..KINDS {
        let wanted = get(from, kind)?;
        match set(to, kind, wanted) {
            Err(Errno::PERM) => {
                let most = get(to, kind)?.rlim_max;
                let possible = libc::rlimit64 {
                    rlim_cur: wanted.rlim_cur.min(most),
                    rlim_max: wanted.rlim_max.min(most),
                };
                set(to, kind, possible)?;
            }
            other => other?,
        }
    }
    Ok(())
}

fn get(process: Pid, kind: u32) -> io::Result<libc::rlimit64> {
    let mut limit = MaybeUninit::<libc::rlimit64>::uninit();
    // SAFETY: the kernel fills the structure, or says that it did not.
    unsafe {
        let pid = process.as_raw_nonzero().get();
        check(libc::prlimit64(pid, kind, ptr::null(), limit.as_mut_ptr()))?;
        Ok(limit.assume_init())
    }
}

fn set(process: Pid, kind: u32, limit: libc::rlimit64) -> io::Result<()> {
    // SAFETY: the structure is valid, and only read.
    check(unsafe {
        libc::prlimit64(process.as_raw_nonzero().get(), kind, ptr::from_ref(&limit), ptr::null_mut())
    })
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}
