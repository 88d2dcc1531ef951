//! Sockets in the pod's directory, at which its supervisor is spoken to.

use anyhow::{Context, Result};
use rustix::{
    fs::{AtFlags, CWD, Mode},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};
use std::os::fd::OwnedFd;

/// Callers that have not been taken in yet, at most.
const CALLERS: i32 = 16;

/// Listens in the pod's directory, the working directory, whose owner alone can reach it.
pub(crate) fn in_pod(name: &str, flags: SocketFlags) -> Result<OwnedFd> {
    let what = || format!("make the pod's socket {name:?}");
    let flags = SocketFlags::CLOEXEC | flags;
    let listener = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
        .with_context(what)?;
    match rustix::fs::unlink(name) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno).with_context(what),
    }
    rustix::net::bind(&listener, &SocketAddrUnix::new(name)?).with_context(what)?;
    rustix::fs::chmodat(CWD, name, Mode::from_raw_mode(0o600), AtFlags::empty()).with_context(what)?;
    rustix::net::listen(&listener, CALLERS).with_context(what)?;
    Ok(listener)
}
