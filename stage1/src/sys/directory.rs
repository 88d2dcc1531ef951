//! A working directory, or a view of the mounts, of a thread's own.
#![allow(unsafe_code)]

use rustix::{
    io,
    thread::{UnshareFlags, unshare_unsafe},
};

/// Lets the calling thread change its working directory without the others'.
///
/// # Errors
/// What the kernel says.
pub(crate) fn own_directory() -> io::Result<()> {
    // SAFETY: the table of descriptors stays shared; what is split off is the directory, root and umask alone.
    unsafe { unshare_unsafe(UnshareFlags::FS) }
}

/// Gives the calling thread a copy of all mounts, which nobody else sees and which ends with the thread.
///
/// # Errors
/// What the kernel says.
pub(crate) fn own_mounts() -> io::Result<()> {
    // SAFETY: as above; what is split off are the directory and the mounts.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }
}
