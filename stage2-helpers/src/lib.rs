//! The programs that run in or beside a pod, and what stage1 tells them.
//!
//! `init` is PID 1 of the pod ([`pod_init`]); `app-exec` builds one app's sandbox and then becomes the app ([`app`]).
//! [`spec`] is the interface between stage1 and `app-exec`, [`control`] the socket between them.

pub mod app;
pub mod control;
pub mod failure;
pub mod mounts;
pub mod pod_init;
pub mod spec;
pub mod sys;
