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

/// The socket to one `app-exec`, on which its descriptors wait for it.
#[derive(Debug)]
pub(crate) struct Control(OwnedFd);

impl Control {
    /// Makes a pair, puts `descriptors` on it, and returns our end and `app-exec`'s.
    pub(crate) fn with_descriptors(descriptors: &[BorrowedFd<'_>]) -> Result<(Control, OwnedFd)> {
        if descriptors.len() > MAX_DESCRIPTORS {
            bail!("too many volumes: {} descriptors, at most {MAX_DESCRIPTORS}", descriptors.len());
        }
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .context("make a control socket")?;
        let mut space =
            vec![std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            bail!("too many descriptors for one message");
        }
        rustix::net::sendmsg(&ours, &[IoSlice::new(&[HELLO])], &mut ancillary, SendFlags::NOSIGNAL)
            .context("pass an app its descriptors")?;
        Ok((Control(ours), theirs))
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
