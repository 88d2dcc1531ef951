//! `mount_setattr(2)`.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::{self, Errno};

/// Makes the detached mount and everything below it a slave of where it came from: mounts that the host makes there
/// later are seen in the pod, those of the pod never on the host.
///
/// # Errors
/// What the kernel says; `ENOSYS` before Linux 5.12.
pub(crate) fn make_slave(mount: impl AsFd) -> io::Result<()> {
    set_attributes(
        mount,
        &libc::mount_attr { attr_set: 0, attr_clr: 0, propagation: libc::MS_SLAVE, userns_fd: 0 },
    )
}

/// Has the detached mount and everything below it see nothing of what is mounted elsewhere later.
///
/// # Errors
/// What the kernel says; `ENOSYS` before Linux 5.12.
pub(crate) fn make_private(mount: impl AsFd) -> io::Result<()> {
    set_attributes(
        mount,
        &libc::mount_attr { attr_set: 0, attr_clr: 0, propagation: libc::MS_PRIVATE, userns_fd: 0 },
    )
}

fn set_attributes(mount: impl AsFd, attributes: &libc::mount_attr) -> io::Result<()> {
    // SAFETY: the descriptor is open, the path is a C string, and the structure is valid for the size given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            std::ptr::from_ref(attributes),
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}

/// Makes the detached mount read-only, without set-user-id and devices.
///
/// # Errors
/// What the kernel says; `ENOSYS` before Linux 5.12.
pub(crate) fn seal(mount: impl AsFd) -> io::Result<()> {
    let attr_set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    set_attributes(
        mount,
        &libc::mount_attr { attr_set, attr_clr: 0, propagation: libc::MS_PRIVATE, userns_fd: 0 },
    )
}
