//! The socket at which pods are made known.
#![allow(unsafe_code)]

use std::{
    fs, io,
    os::{
        fd::{FromRawFd, IntoRawFd},
        unix::{
            fs::{DirBuilderExt, FileTypeExt, PermissionsExt},
            net,
        },
    },
    path::Path,
};

use tokio::net::UnixListener as TokioListener;

use crate::error::{Error, Result};

/// The socket that systemd has given, or one of our own, which is root's alone.
pub(crate) fn listen(path: &Path) -> Result<TokioListener> {
    let given = libsystemd::activation::receive_descriptors(true).unwrap_or_default().into_iter().next();
    let listener = match given {
        Some(descriptor) => given_socket(descriptor.into_raw_fd()),
        None => own_socket(path).map_err(Error::io("listen at", path.display()))?,
    };
    listener.set_nonblocking(true).map_err(Error::io("listen at", path.display()))?;
    TokioListener::from_std(listener).map_err(Error::io("listen at", path.display()))
}

fn given_socket(descriptor: i32) -> net::UnixListener {
    // SAFETY: systemd has passed this descriptor to us, and libsystemd gave it up: nobody else here has it.
    unsafe { net::UnixListener::from_raw_fd(descriptor) }
}

fn own_socket(path: &Path) -> io::Result<net::UnixListener> {
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    // One that nobody listens at is left of a service that was killed.
    if fs::symlink_metadata(path).is_ok_and(|stat| stat.file_type().is_socket()) {
        match net::UnixStream::connect(path) {
            Ok(_) => return Err(io::Error::from(io::ErrorKind::AddrInUse)),
            Err(_) => fs::remove_file(path)?,
        }
    }
    let listener = net::UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
