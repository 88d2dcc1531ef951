//! `rkt` through its command line, where no pod need run: usage, exit statuses, and what is shown of and done to pods
//! whose directories are made by hand.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod many;
mod pods;
mod support;
mod usage;
