//! App Container Images: archives of `manifest` and `rootfs`, read and written as streams.

pub mod entry;
