//! The stage2 interface: one JSON file an app, written by stage1, read by `app-exec SPEC`.
//!
//! Everything that belongs to the host or to an image is opened by stage1 and passed as a descriptor over the control
//! socket ([`crate::control`]); the spec holds only what is resolved inside the app's own root.

use rustix::process::Resource;
use serde::{Deserialize, Serialize};

/// The version of this interface. `app-exec` refuses any other.
pub const VERSION: u32 = 1;

/// The resources that have limits (getrlimit(2)).
pub const LIMITED: [Resource; 16] = [
    Resource::Cpu,
    Resource::Fsize,
    Resource::Data,
    Resource::Stack,
    Resource::Core,
    Resource::Rss,
    Resource::Nproc,
    Resource::Nofile,
    Resource::Memlock,
    Resource::As,
    Resource::Locks,
    Resource::Sigpending,
    Resource::Msgqueue,
    Resource::Nice,
    Resource::Rtprio,
    Resource::Rttime,
];

/// Everything that `app-exec` does for one app, in the order in which it does it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppSpec {
    /// [`VERSION`].
    pub version: u32,
    /// UUID of the pod, for messages.
    pub pod: String,
    /// Name of the app, for messages.
    pub app: String,
    /// Whether `app-exec` is outside the pod's PID namespace (systemd started it): it then makes a sibling of itself
    /// inside, names it to systemd as the unit's main process, and ends.
    pub enter_pid_namespace: bool,
    /// Whether the app has a cgroup of its own, in which `app-exec` already is: it then gets a cgroup namespace.
    pub own_cgroup: bool,
    /// The users of the host that the pod's users are, where it has a user namespace: `app-exec` then makes everything as
    /// the pod's root would, and joins the namespace when the sandbox is built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<Users>,
    /// Remount the root file system read-only when everything is in place. Volumes are not affected.
    pub read_only_root: bool,
    /// Volumes, in the order in which they are mounted.
    pub mounts: Vec<Mount>,
    /// Whether kernel paths are left as they are (`--insecure-options=paths`) instead of masked and read-only.
    pub unprotected_paths: bool,
    /// Files of `/etc` that the pod provides.
    pub etc: Vec<EtcFile>,
    /// The command: what is executed and its arguments. A first element without a slash is looked up in the `PATH` of
    /// [`AppSpec::environment`]; one with a slash that is not absolute is relative to the working directory.
    pub exec: Vec<String>,
    /// The whole environment, `NAME=value`.
    pub environment: Vec<String>,
    /// Absolute, inside the app's root. Not created.
    pub working_directory: String,
    /// Name, number, or absolute path of a file whose owner counts (appc spec, "user, group").
    pub user: String,
    /// As [`AppSpec::user`], for the group.
    pub group: String,
    /// Whether a group that is not found means "the user's id", as images converted from Docker's need it.
    pub group_falls_back_to_user: bool,
    /// Supplementary group ids.
    pub supplementary_gids: Vec<u32>,
    /// The capability bounding set: names like `CAP_CHOWN`. `None` leaves it as it is (`--insecure-options=capabilities`).
    pub capabilities: Option<Vec<String>>,
    /// Set the no-new-privileges bit.
    pub no_new_privileges: bool,
    /// The SELinux context that the app gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selinux: Option<String>,
    /// The AppArmor profile that confines the app. It is loaded already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apparmor: Option<String>,
    /// Which system calls the app may make.
    pub seccomp: Seccomp,
    /// Resource limits, soft and hard, of what [`LIMITED`] names, in its order; `None` is no limit. Where the list ends, they are
    /// left as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<(Option<u64>, Option<u64>)>,
    /// `oom_score_adj`, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Run as root in the app's sandbox, to its end and with success, before the app.
    pub pre_start: Option<Vec<String>>,
    /// Run as root in the app's sandbox when the app has ended. `app-exec` then stays as the app's parent.
    pub post_stop: Option<Vec<String>>,
    /// The names of the sockets that the app gets from descriptor 3 on, where a service manager listens for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listen: Vec<String>,
    /// Whether stdin is a terminal that becomes the app's controlling one, and `/dev/console`.
    pub terminal: bool,
}

/// Users of the host, and groups by the same numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Users {
    /// The pod's root.
    pub base: u32,
    /// How many there are.
    pub count: u32,
}

/// One volume in an app.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    /// Which of the descriptors after the fixed ones ([`crate::control::FIXED_FDS`]) is the detached mount, from 0.
    pub source: usize,
    /// The volume's name, for messages.
    pub volume: String,
    /// Absolute path in the app's root. Missing parents and the target are created (0755, root), inside the root only.
    pub target: String,
    /// Whether the mount and everything below it is read-only.
    pub read_only: bool,
}

/// A file of `/etc` with the pod's content, mounted read-only over the image's (which need not exist).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EtcFile {
    /// The name in `/etc`: `hosts`, `hostname`, `resolv.conf`, `machine-id`.
    pub name: String,
    /// The whole content, where `source` is absent.
    pub content: String,
    /// The index, among the descriptors of the mounts, of a file that has the content, and that others write to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<usize>,
    /// Only where the image has no such file, or an empty one.
    pub only_if_missing: bool,
}

/// The seccomp filter of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seccomp {
    /// The filter that was compiled at build time.
    Default,
    /// None (`--insecure-options=seccomp`, or an app that retains all calls).
    Off,
    /// The app's own: a program for the kernel, one instruction of eight bytes a number, as they lie in memory.
    Program(Vec<u64>),
}
