//! What stage1 hands over: the spec, and the descriptors that wait on the control socket.

use std::{
    ffi::OsStr,
    fs,
    mem::MaybeUninit,
    os::fd::{OwnedFd, RawFd},
};

use rustix::{
    io::IoSliceMut,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags},
};

use crate::{
    control::{ENTERING_FDS, FIXED_FDS, HELLO, exit},
    failure::{At, Result, failure},
    spec::{AppSpec, VERSION},
};

/// Most descriptors that the kernel passes in one message.
const MAX_DESCRIPTORS: usize = 253;

/// What came over the control socket.
#[derive(Debug)]
pub(super) struct Descriptors {
    /// A pidfd of the pod's init.
    pub(super) init: OwnedFd,
    /// The app's root, a detached mount.
    pub(super) root: OwnedFd,
    /// Standard input, output and error.
    pub(super) stdio: [OwnedFd; 3],
    /// Volumes, detached mounts.
    pub(super) mounts: Vec<OwnedFd>,
}

/// What came over the control socket where a running app is entered.
#[derive(Debug)]
pub(super) struct Entering {
    /// A pidfd of the app's main process.
    pub(super) process: OwnedFd,
    /// Standard input, output and error.
    pub(super) stdio: [OwnedFd; 3],
}

/// Where the control socket is out of the way: above what an app is given.
const AWAY: RawFd = 64;

/// Moves the control socket away from the numbers that standard input and the app's sockets get. The number stays taken until then, so that
/// no other descriptor gets it meanwhile and is replaced.
pub(super) fn out_of_the_way(control: OwnedFd) -> rustix::io::Result<OwnedFd> {
    let moved = rustix::io::fcntl_dupfd_cloexec(&control, AWAY)
        .or_else(|_| rustix::io::fcntl_dupfd_cloexec(&control, 3))?;
    std::mem::forget(control);
    Ok(moved)
}

/// Reads the spec.
pub(super) fn spec(path: Option<&OsStr>) -> Result<AppSpec> {
    let path = path.ok_or_else(|| failure("read", "the spec", "no path was given", exit::FDS))?;
    let shown = path.to_string_lossy().into_owned();
    let text = fs::read(path).map_err(|error| failure("read", &shown, error.kind(), exit::FDS))?;
    let spec: AppSpec =
        serde_json::from_slice(&text).map_err(|error| failure("read", &shown, error, exit::FDS))?;
    if spec.version != VERSION {
        let reason = format!("it has version {}, this program takes {VERSION}", spec.version);
        return Err(failure("read", &shown, reason, exit::FDS));
    }
    Ok(spec)
}

/// Takes the descriptors of a new app from the control socket.
pub(super) fn descriptors(control: &OwnedFd) -> Result<Descriptors> {
    let (fixed, mounts) = message::<FIXED_FDS>(control)?;
    let [init, root, stdin, stdout, stderr] = fixed;
    Ok(Descriptors { init, root, stdio: [stdin, stdout, stderr], mounts })
}

/// Takes the descriptors for entering a running app from the control socket.
pub(super) fn entering(control: &OwnedFd) -> Result<Entering> {
    let (fixed, _) = message::<ENTERING_FDS>(control)?;
    let [process, stdin, stdout, stderr] = fixed;
    Ok(Entering { process, stdio: [stdin, stdout, stderr] })
}

/// The descriptors of stage1's one message: so many, and the rest.
fn message<const FIXED: usize>(control: &OwnedFd) -> Result<([OwnedFd; FIXED], Vec<OwnedFd>)> {
    let wrong = |what: &str| failure("receive", "descriptors", what, exit::FDS);
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let message = rustix::net::recvmsg(
        control,
        &mut [IoSliceMut::new(&mut byte)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )
    .at("receive", "descriptors", exit::FDS)?;
    if message.bytes != 1 || byte[0] != HELLO {
        return Err(wrong("not what stage1 sends"));
    }
    let mut fds: Vec<OwnedFd> = ancillary
        .drain()
        .filter_map(
            |message| if let RecvAncillaryMessage::ScmRights(fds) = message { Some(fds) } else { None },
        )
        .flatten()
        .collect();
    if fds.len() < FIXED {
        return Err(wrong("there are too few"));
    }
    let rest = fds.split_off(FIXED);
    let fixed = fds.try_into().map_err(|_| wrong("there are too few"))?;
    Ok((fixed, rest))
}
