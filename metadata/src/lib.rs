//! The metadata service (appc spec, app container metadata service): what apps can ask about themselves and their pod over
//! HTTP, at the URL in `AC_METADATA_URL`.
//!
//! Pods are made known at a Unix socket of root's ([`register`]) and get a token, which is the path below which their
//! apps ask. The service keeps nothing on disk but its key: what it knows it reads again from the pods that run.

mod api;
mod client;
mod error;
mod key;
mod pods;
mod registration;
mod reply;
mod server;
mod socket;

pub use client::{probe, register, unregister};
pub use error::{Error, Result};
pub use server::{Options, serve};

/// Where pods are made known.
pub const SOCKET: &str = "/run/rkt/metadata-svc.sock";

/// A new token for a pod: 128 random bits.
///
/// # Errors
/// Where the kernel gives none.
pub fn token() -> Result<String> {
    Ok(key::random::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}
