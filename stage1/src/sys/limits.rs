//! Resource limits of other processes: `prlimit64(2)`.
#![allow(unsafe_code)]

use std::{mem::MaybeUninit, ptr};

use rustix::{
    io::{self, Errno},
    process::Pid,
};

/// A soft and a hard limit; the largest number stands for none.
pub(crate) type Limit = (u64, u64);

/// Gives a process these resource limits, each at the place of its number. Where we may not raise one, it stays the lower
/// one that it is.
///
/// # Errors
/// What the kernel says: the process is gone, or not ours to limit.
pub(crate) fn set_limits(process: Pid, limits: &[Limit]) -> io::Result<()> {
    for (kind, (soft, hard)) in (0..).zip(limits) {
        match set(process, kind, (*soft, *hard)) {
            Err(Errno::PERM) => {
                let most = get(process, kind)?.1;
                set(process, kind, ((*soft).min(most), (*hard).min(most)))?;
            }
            other => other?,
        }
    }
    Ok(())
}

fn get(process: Pid, kind: u32) -> io::Result<Limit> {
    let mut limit = MaybeUninit::<libc::rlimit64>::uninit();
    let pid = process.as_raw_nonzero().get();
    // SAFETY: the kernel fills the structure, or says that it did not.
    let limit = unsafe {
        check(libc::prlimit64(pid, kind, ptr::null(), limit.as_mut_ptr()))?;
        limit.assume_init()
    };
    Ok((limit.rlim_cur, limit.rlim_max))
}

fn set(process: Pid, kind: u32, (soft, hard): Limit) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
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
