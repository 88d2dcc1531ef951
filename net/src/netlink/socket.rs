//! A netlink socket of the network namespace that the thread was in when it was opened.

use std::os::fd::OwnedFd;

use netlink_bindings::{consts, traits::NetlinkRequest};
use rustix::{
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink},
};

use super::{
    batch::{self, Batch},
    message::{self, Answer},
};
use crate::error::{Result, failed};

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Interfaces, addresses and routes.
    Route,
    /// nftables.
    Netfilter,
}

impl Family {
    const fn name(self) -> &'static str {
        match self {
            Family::Route => "rtnetlink",
            Family::Netfilter => "nftables",
        }
    }
}

/// The kernel sends lists in pieces of this size at most.
const BUFFER: usize = 32 * 1024;

/// An open socket.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    family: Family,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket.
    ///
    /// # Errors
    /// Where the kernel has no such family, or the process has no more descriptors.
    pub(crate) fn open(family: Family) -> Result<Socket> {
        let protocol = match family {
            Family::Route => None,
            Family::Netfilter => Some(netlink::NETFILTER),
        };
        let fd =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
                .map_err(failed("open a socket to the kernel's", family.name()))?;
        Ok(Socket { fd, family, buffer: Vec::new() })
    }

    /// Sends all requests of a batch at once. Returns the first error, with the words of the request that it is about.
    ///
    /// # Errors
    /// The kernel's, for the first request that it refused. It went on with those behind, unless they are one transaction.
    pub(crate) fn execute(&mut self, batch: &Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        self.send(&batch.buffer)?;
        let mut first: Option<(u32, Errno)> = None;
        let mut confirmed = 0;
        while let Some(length) = self.receive(RecvFlags::DONTWAIT)? {
            let mut rest = &self.buffer[..length];
            while let Some(answer) = message::next(&mut rest) {
                match answer {
                    Answer::Result(number, Err(errno)) if first.is_none_or(|(n, _)| number < n) => {
                        first = Some((number, errno));
                    }
                    Answer::Result(..) => confirmed += 1,
                    Answer::Done(_) | Answer::Data(_) => {}
                }
            }
        }
        if let Some((number, errno)) = first {
            let label = usize::try_from(number).ok().and_then(|number| batch.labels.get(number)?.clone());
            let (operation, object) =
                label.unwrap_or(("ask", format!("the kernel's {}", self.family.name())));
            return Err(failed(operation, object)(errno));
        }
        if confirmed < batch.labels.iter().flatten().count() {
            let object = format!("the kernel's {}", self.family.name());
            return Err(failed("hear from", object)(Errno::NOBUFS));
        }
        Ok(())
    }

    /// Asks for something and hands each part of the answer to `each`.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn ask<R: NetlinkRequest>(
        &mut self,
        request: &R,
        mut each: impl FnMut(R::ReplyType<'_>),
    ) -> rustix::io::Result<()> {
        let mut message = Vec::new();
        let dump = request.flags() & consts::NLM_F_DUMP as u16 == consts::NLM_F_DUMP as u16;
        message::push(&mut message, batch::kind(request), request.flags(), 0, request.payload());
        rustix::net::send(&self.fd, &message, SendFlags::empty())?;
        loop {
            let length = match self.receive_raw(RecvFlags::DONTWAIT) {
                Err(Errno::WOULDBLOCK) => return Ok(()),
                other => other?,
            };
            let mut rest = &self.buffer[..length];
            while let Some(answer) = message::next(&mut rest) {
                match answer {
                    Answer::Result(_, result) | Answer::Done(result) => return result,
                    Answer::Data(payload) => each(R::decode_reply(payload)),
                }
            }
            if !dump {
                return Ok(());
            }
        }
    }

    fn send(&self, message: &[u8]) -> Result<()> {
        let sent = rustix::net::send(&self.fd, message, SendFlags::empty());
        sent.map(drop).map_err(failed("ask the kernel's", self.family.name()))
    }

    fn receive(&mut self, flags: RecvFlags) -> Result<Option<usize>> {
        match self.receive_raw(flags) {
            Ok(length) => Ok(Some(length)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(failed("hear from the kernel's", self.family.name())(errno)),
        }
    }

    fn receive_raw(&mut self, flags: RecvFlags) -> rustix::io::Result<usize> {
        self.buffer.resize(BUFFER, 0);
        rustix::io::retry_on_intr(|| {
            rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), flags).map(|(length, _)| length)
        })
    }
}
