//! Our end of the control socket to an `app-exec`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, bail};
use rustix::{
    io::{Errno, IoSlice},
    net::{
        AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
        SocketType,
    },
};
use stage2::control::{HELLO, Report};

/// Most descriptors that the kernel passes in one message (`SCM_MAX_FD`).
const MAX_DESCRIPTORS: usize = 253;

/// The socket to one `app-exec`.
#[derive(Debug)]
pub(crate) struct Control(OwnedFd);

impl Control {
    /// Makes a pair, and returns our end and `app-exec`'s.
    pub(crate) fn pair() -> Result<(Control, OwnedFd)> {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .context("make a control socket")?;
        Ok((Control(ours), theirs))
    }

    /// Passes `app-exec` its descriptors, for which it waits. The pod must be ready to be joined.
    pub(crate) fn hand_over(&self, descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        if descriptors.len() > MAX_DESCRIPTORS {
            bail!("too many volumes: {} descriptors, at most {MAX_DESCRIPTORS}", descriptors.len());
        }
        let mut space =
            vec![std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            bail!("too many descriptors for one message");
        }
        match rustix::net::sendmsg(&self.0, &[IoSlice::new(&[HELLO])], &mut ancillary, SendFlags::NOSIGNAL) {
            // It has ended already, or was never started: the launcher tells how.
            Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(errno) => Err(errno).context("pass an app its descriptors"),
        }
    }

    /// The next report, without waiting: `Ok(None)` where there is none yet, `Err(Ended)` at the end.
    pub(crate) fn next(&self) -> Result<Option<Report>, Ended> {
        let mut buffer = [0; 16 * 1024];
        match rustix::net::recv(&self.0, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => Err(Ended),
            Ok((length, _)) => Ok(serde_json::from_slice(&buffer[..length]).ok()),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(_) => Err(Ended),
        }
    }
}

/// `app-exec` has closed its end: it became the app, or died.
#[derive(Debug)]
pub(crate) struct Ended;

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
