//! The control socket between stage1 and `app-exec`: a `SOCK_SEQPACKET` pair whose other end is `app-exec`'s stdin.
//!
//! Before it starts `app-exec`, stage1 puts one message on the socket: a single byte ([`HELLO`]) with the descriptors
//! of [`FIXED_FDS`] and then those of the mounts. `app-exec` answers with [`Report`]s, one JSON object a message, and
//! the socket is closed by the exec of the app: an end without a [`Report::Failed`] means that the app runs.
//! While a post-stop handler is to come, the socket stays open and ends with [`Report::Exited`].

use serde::{Deserialize, Serialize};

/// The one byte of stage1's message.
pub const HELLO: u8 = 1;

/// The descriptors that come first in stage1's message, in this order: a pidfd of the pod's init, the app's root (a
/// detached mount), stdin, stdout, stderr.
pub const FIXED_FDS: usize = 5;

/// The descriptors of stage1's message where a running app is entered: a pidfd of the app's main process, stdin, stdout,
/// stderr.
pub const ENTERING_FDS: usize = 4;

/// What `app-exec` tells stage1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "report")]
pub enum Report {
    /// The process that will be the app, as the host sees it. Sent where `app-exec` entered the PID namespace.
    Started {
        /// PID in the host's namespace.
        pid: u32,
    },
    /// The sandbox is built: it can be entered. The app is executed next.
    Built,
    /// The sandbox could not be built, or the command not be executed.
    Failed(Failure),
    /// Something was done otherwise than asked, and the app runs all the same: one line for the user.
    Warning {
        /// The line.
        message: String,
    },
    /// The app has ended; its post-stop handler has run.
    Exited {
        /// Its exit status, or 128 + signal.
        status: i32,
    },
}

/// A step that failed: `step: object: why`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{step}{}{object}: {reason}", if .object.is_empty() { "" } else { " " })]
pub struct Failure {
    /// What was tried, as a verb with its kind of object: `exec`, `mount volume`, `look up user`.
    pub step: String,
    /// What it was tried on: a path, a name.
    pub object: String,
    /// Why it failed, in words: `No such file or directory`.
    pub reason: String,
    /// The exit status that stands for this step ([`exit`]).
    pub status: u8,
}

/// Exit statuses of a failed set-up: systemd's, which rkt's users know.
pub mod exit {
    /// The working directory.
    pub const CHDIR: u8 = 200;
    /// Descriptors, the spec.
    pub const FDS: u8 = 202;
    /// The command could not be executed.
    pub const EXEC: u8 = 203;
    /// Resource limits.
    pub const LIMITS: u8 = 205;
    /// Out-of-memory score.
    pub const OOM_ADJUST: u8 = 206;
    /// Standard streams, terminal.
    pub const STDIN: u8 = 208;
    /// Group or supplementary groups.
    pub const GROUP: u8 = 216;
    /// User.
    pub const USER: u8 = 217;
    /// Capabilities.
    pub const CAPABILITIES: u8 = 218;
    /// Namespaces, mounts.
    pub const NAMESPACE: u8 = 226;
    /// No new privileges.
    pub const NO_NEW_PRIVILEGES: u8 = 227;
    /// The system call filter.
    pub const SECCOMP: u8 = 228;
    /// The SELinux context.
    pub const SELINUX: u8 = 229;
    /// The AppArmor profile.
    pub const APPARMOR: u8 = 231;
    /// A pre-start handler failed.
    pub const PRE_START: u8 = 253;
}
