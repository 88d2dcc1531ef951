//! The programs that run in or beside a pod, and what stage1 tells them.
//!
//! `init` is PID 1 of the pod ([`init`]); `app-exec` builds one app's sandbox and then becomes the app ([`sandbox`]).
//! [`spec`] is the interface between stage1 and `app-exec`, [`control`] the socket between them.

pub mod control;
pub mod spec;
