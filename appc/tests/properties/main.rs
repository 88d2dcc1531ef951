//! What is printed and read again is what it was, for every type.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod manifests;
mod strategies;
mod types;
