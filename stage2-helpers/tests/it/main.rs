//! The helpers as they are started in earnest: a real `init` in real namespaces, and real `app-exec`s in it.
//!
//! The tests play stage1. All roots are file systems in memory that are mounted nowhere on the host, so nothing is left
//! behind, whatever fails. They need root, and pass over where they are not.
#![allow(clippy::unwrap_used)]

mod cases;
mod handlers;
mod identity;
mod pod;
mod sandbox;
mod support;
