//! A working directory of a thread's own.
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
