//! Getting documents and images over https, and over http where that is allowed.
//!
//! ```text
//! client    what there is to ask for: documents, pages of discovery, signatures, answers of registries
//! request   one request: redirects, who sees credentials, what is tried again
//! download  an image, continued where an earlier download of it was interrupted
//! partial   what such a download leaves on disk
//! limits    what is too slow, too long, too large
//! proxy     which proxy a request goes through
//! aws       signatures of requests to S3
//! cache     what the headers say about keeping an answer
//! ```

mod aws;
mod cache;
mod client;
mod download;
mod error;
mod limits;
mod partial;
mod proxy;
mod request;

pub(crate) use client::{Client, Document, Reply, Schemes};
pub(crate) use download::Answer;
pub(crate) use error::HttpError;
pub(crate) use partial::Partial;
pub(crate) use request::pauses;
