//! Requests that go to the kernel together.

use netlink_bindings::{
    consts,
    traits::{NetlinkRequest, Protocol},
};

use super::message;

/// Requests in their order, each with words for what it does.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(super) buffer: Vec<u8>,
    /// What each request does and to what. `None` for one that the kernel does not confirm.
    pub(super) labels: Vec<Option<(&'static str, String)>>,
}

impl Batch {
    /// Adds a request. Where it fails the error reads `operation object: reason`.
    pub(crate) fn add(
        &mut self,
        operation: &'static str,
        object: impl Into<String>,
        request: &impl NetlinkRequest,
    ) {
        let flags = request.flags() | consts::NLM_F_ACK as u16;
        self.push(kind(request), flags, request.payload());
        self.labels.push(Some((operation, object.into())));
    }

    /// The same of a request that was put together by hand, which makes what it is about and fails where that is there.
    pub(crate) fn add_made(&mut self, operation: &'static str, object: &str, kind: u16, payload: &[u8]) {
        let flags = consts::NLM_F_ACK | consts::NLM_F_CREATE | consts::NLM_F_EXCL;
        self.push(kind, flags as u16, payload);
        self.labels.push(Some((operation, object.to_owned())));
    }

    /// Adds a message that the kernel only answers where something is wrong with it.
    pub(crate) fn add_mark(&mut self, kind: u16, payload: &[u8]) {
        self.push(kind, 0, payload);
        self.labels.push(None);
    }

    /// Whether there is anything in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    fn push(&mut self, kind: u16, flags: u16, payload: &[u8]) {
        // The socket numbers requests from 0 in each batch.
        let sequence = u32::try_from(self.labels.len()).unwrap_or(u32::MAX);
        message::push(&mut self.buffer, kind, flags, sequence, payload);
    }
}

/// The type of a request's message.
pub(super) fn kind(request: &impl NetlinkRequest) -> u16 {
    match request.protocol() {
        Protocol::Raw { request_type, .. } => request_type,
        Protocol::Generic(_) => 0,
    }
}
