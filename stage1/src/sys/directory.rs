//! A view of the mounts of a thread's own.
#![allow(unsafe_code)]

use rustix::{
    io,
    thread::{UnshareFlags, unshare_unsafe},
};

/// Gives the calling thread a copy of all mounts, which nobody else sees and which ends with the thread.
///
/// # Errors
/// What the kernel says.
pub(crate) fn own_mounts() -> io::Result<()> {
    // SAFETY: the table of descriptors stays shared; what is split off are the mounts and, with them, the directory.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }
}
