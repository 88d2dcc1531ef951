//! The harness of the functional tests: each drives the real `rkt` in a data directory of its own and fails where a
//! process, mount, unit, machine, cgroup or file of its pods is left behind.
//!
//! ```no_run
//! let rkt = rkt_tests::Rkt::new();
//! let image = rkt.image("hello", |image| image.exec(&["/bin/echo", "hello"]));
//! rkt.run_pod([image.as_os_str()]).success().stdout_is("hello\n");
//! ```
//!
//! Environment: `RKT_TEST_SUPERVISOR` is the launcher under test (`direct`, the default, or `systemd`),
//! `RKT_TEST_BIN_DIR` where the programs are (default: where cargo put them), `RKT_TEST_DIR` where the tests keep their
//! files (default: /var/tmp).

#![allow(clippy::unwrap_used, reason = "all of this crate is tests: a panic is how they fail")]

pub mod archive;
pub mod attack;
pub mod conformance;
mod firewalld;
pub mod gpg;
pub mod hostile;
mod image;
mod lan;
pub mod layers;
mod leaks;
pub mod metadata;
mod outcome;
mod place;
mod pod;
mod pty;
mod rkt;
pub mod server;
pub mod units;

pub use crate::{
    firewalld::Firewalld,
    image::Image,
    lan::{Lan, in_network_of},
    outcome::Outcome,
    place::{Launcher, host_busybox, is_testbed},
    pod::Pod,
    pty::Terminal,
    rkt::{Rkt, run, wait_until, wait_until_within},
};

/// Arguments of a command, of any types that a path or a word can have.
#[macro_export]
macro_rules! args {
    ($($argument:expr),* $(,)?) => { [$(::std::ffi::OsString::from($argument)),*] };
}
