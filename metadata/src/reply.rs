//! What is answered.

/// An answer of the service.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// HTTP's status code.
    pub(crate) status: u16,
    /// The body's type, where there is one.
    pub(crate) kind: Option<&'static str>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// RFC 4627.
const JSON: &str = "application/json";

/// The spelling is the specification's, to the letter.
const TEXT: &str = "text/plain; charset=us-ascii";

impl Reply {
    /// 200, with JSON.
    pub(crate) fn json(body: Vec<u8>) -> Reply {
        Reply { status: 200, kind: Some(JSON), body }
    }

    /// 200, with text, which ends without a newline.
    pub(crate) fn text(body: impl Into<String>) -> Reply {
        Reply { status: 200, kind: Some(TEXT), body: body.into().into_bytes() }
    }

    /// A status with nothing but a word of why.
    pub(crate) fn status(status: u16, why: &str) -> Reply {
        Reply { status, kind: Some(TEXT), body: why.as_bytes().to_vec() }
    }
}
