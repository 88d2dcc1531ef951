//! Descriptors that come from outside.
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Takes over a descriptor that was left open for this program, and that the caller has found to be open.
pub(crate) fn inherited(number: RawFd) -> OwnedFd {
    // SAFETY: stage0 left it for us to own, as the environment says, and nothing else in this process knows it.
    unsafe { OwnedFd::from_raw_fd(number) }
}
