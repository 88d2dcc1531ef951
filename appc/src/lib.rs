//! The App Container specification 0.8.11 as a library: types with their grammar and limits ([`types`]), image and pod
//! manifests ([`schema`]), isolators as typed values ([`isolator`]), images as streams ([`aci`])
//! and where they are ([`discovery`]); with the feature `openpgp`, images that are encrypted, and signatures; with the feature `names`,
//! an HTTP client whose names are looked up without the C library.
//!
//! Parsers take text or bytes and do no I/O. Errors name the place in the JSON document and the rule that it breaks.

pub mod aci;
pub mod discovery;
#[doc(hidden)]
pub mod fuzz;
pub mod isolator;
mod json;
#[cfg(feature = "names")]
pub mod names;
#[cfg(feature = "openpgp")]
pub mod openpgp;
pub mod schema;
pub mod types;

pub use json::{MAX_MANIFEST_SIZE, SchemaError};

/// The version of the specification that this library implements.
pub const SPEC_VERSION: &str = "0.8.11";
