//! Names of the files in a pod's directory, relative to it, and of the directories around it.
//!
//! They are those of rkt 1.30, so that tools that read pods keep working. Where this implementation adds a file, the
//! comment says so.

use std::path::{Path, PathBuf};

/// The default data directory.
pub const DATA_DIR: &str = "/var/lib/rkt";
/// The runtime directory: what need not survive a reboot.
pub const RUN_DIR: &str = "/run/rkt";
/// The vendor's configuration and programs.
pub const VENDOR_DIR: &str = "/usr/lib/rkt";
/// The administrator's configuration.
pub const LOCAL_CONFIG_DIR: &str = "/etc/rkt";

/// Below the data directory: one directory a [`crate::Place`], each with pods named by their UUID.
pub const PODS: &str = "pods";
/// Below the data directory: the image store.
pub const STORE: &str = "cas";

/// The layer below all layers of an app, in the data directory: empty places for what every app finds in its root.
pub const MOUNT_POINTS: &str = "cas/mount-points";
/// Below the data directory: lock files, `prepareLock` among them.
pub const LOCKS: &str = "locks";
/// Below [`LOCKS`]: held shared while a pod is prepared, exclusively while trees are collected.
pub const PREPARE_LOCK: &str = "prepareLock";
/// Below [`LOCKS`]: held exclusively while a pod gets a range of users. Ours.
pub const USERS_LOCK: &str = "privateUsers";
/// In [`LOCKS`]: held while a pod gets its name.
pub const NAMES_LOCK: &str = "podNames";

/// Below the data directory: `names/NAME/UUID`, an empty file for each pod that was given the name. It says where to look;
/// what counts is the name in the pod's directory. Ours.
pub const NAMES: &str = "names";

/// Empty: the pod has ended, and has left nothing outside its directory. Ours.
pub const ENDED: &str = "ended";

/// The pod manifest (JSON).
pub const MANIFEST: &str = "pod";
/// Empty; its mtime is when the pod was created.
pub const CREATED: &str = "pod-created";
/// PID of the pod's init in the host's PID namespace: decimal and a newline; its mtime is when the pod was started.
pub const PID: &str = "pid";
/// PID of the supervisor (stage1), as above. It holds the pod's lock for as long as it lives.
pub const PPID: &str = "ppid";
/// The pod's cgroup below the cgroup2 mount, without a leading slash. Direct launcher only.
pub const SUBCGROUP: &str = "subcgroup";
/// The name that the user gave to the pod. Ours.
pub const POD_NAME: &str = "pod-name";
/// Marker: the apps' roots are overlays.
pub const OVERLAY_PREPARED: &str = "overlay-prepared";
/// The users of the host that the pod's users are, as `BASE:COUNT`, where it has a user namespace.
pub const PRIVATE_USERS: &str = "private-users-prepared";
/// The path below which the pod's apps find the metadata service.
pub const METADATA_TOKEN: &str = "mds-token";
/// The socket at which the supervisor of a pod whose apps come and go is told to start and stop them.
pub const CONTROL: &str = "control";
/// The socket at which the supervisor attaches others to the streams of apps ([`crate::attach`]).
pub const ATTACH: &str = "attach";
/// Held while the manifest of a pod that runs is changed.
pub const CHANGE_LOCK: &str = "pod.lck";
/// Marker: the pod is known to the metadata service.
pub const METADATA_REGISTERED: &str = "mds-registered";
/// stage1's runtime parameters and what it did with them (JSON, [`crate::stage1::RuntimeState`]).
pub const RUNTIME: &str = "runtime-config";
/// A copy of each app's image manifest and the id of its rendered tree: `appsinfo/<app>/{manifest,treeStoreID}`.
pub const APPS_INFO: &str = "appsinfo";
/// In `appsinfo/<app>`: the image manifest.
pub const APP_MANIFEST: &str = "manifest";
/// In `appsinfo/<app>`: the id of the rendered tree that is the overlay's lower layer.
pub const APP_TREE_ID: &str = "treeStoreID";
/// Overlay directories: `overlay/<app>/{upper,work}`.
pub const OVERLAY: &str = "overlay";
/// Volumes of kind `empty`, by name.
pub const SHARED_VOLUMES: &str = "sharedVolumes";
/// Sockets at which apps say how they are, `notify/<index>`, for those that do. Ours.
pub const NOTIFY: &str = "notify";
/// Marker: all apps have said that they are ready, where some do ([`crate::stage1::RuntimeState::notifies`]). Ours.
pub const READY: &str = "ready";
/// The pod's root directory, as its init sees it.
pub const STAGE1_ROOTFS: &str = "stage1/rootfs";
/// In [`STAGE1_ROOTFS`]: one directory an app.
pub const STAGE2: &str = "opt/stage2";
/// In [`STAGE1_ROOTFS`]: one file an app that has ended, holding its exit status (128 + signal for a death by signal)
/// in decimal, without a newline.
pub const STATUS: &str = "rkt/status";
/// The apps' `/etc/resolv.conf`, where the command line says what is in it.
pub const RESOLV: &str = "stage1/rootfs/etc/rkt-resolv.conf";
/// The apps' `/etc/hosts`, where the command line says what is in it.
pub const HOSTS: &str = "stage1/rootfs/etc/rkt-hosts";
/// The specs that stage1 hands to `app-exec`: `specs/<app>`. Ours.
pub const SPECS: &str = "specs";
/// Without journald: the apps' output in the CRI log format, `logs/<app>.log`. Ours.
pub const LOGS: &str = "logs";

/// Where an app's root file system is, seen from the pod's directory: the tree itself without overlay, the place where
/// the overlay is mounted (in the pod's mount namespace) with it.
pub fn app_rootfs(app: &str) -> PathBuf {
    Path::new(STAGE1_ROOTFS).join(STAGE2).join(app).join("rootfs")
}

/// Where an app's exit status is kept, seen from the pod's directory.
pub fn app_status(app: &str) -> PathBuf {
    Path::new(STAGE1_ROOTFS).join(STATUS).join(app)
}

/// Marker beside an app's exit status: it was killed for lack of memory. App names have no dot. Ours.
pub fn app_out_of_memory(app: &str) -> PathBuf {
    Path::new(STAGE1_ROOTFS).join(STATUS).join(format!("{app}.oom"))
}

/// Marker beside an app's exit status: when it was started, in a pod whose apps come and go. Ours.
pub fn app_started(app: &str) -> PathBuf {
    Path::new(STAGE1_ROOTFS).join(STATUS).join(format!("{app}.started"))
}

/// The main process of an app that runs, as stage1 has noted it beside its spec. Ours.
pub fn app_process(app: &str) -> PathBuf {
    Path::new(SPECS).join(format!("{app}.process"))
}

/// The upper and the work directory of an app's overlay, seen from the pod's directory.
pub fn app_overlay(app: &str) -> (PathBuf, PathBuf) {
    let base = Path::new(OVERLAY).join(app);
    (base.join("upper"), base.join("work"))
}

/// The file an app's output is kept in where there is no journal, seen from the pod's directory.
pub fn app_log(app: &str) -> PathBuf {
    Path::new(LOGS).join(format!("{app}.log"))
}
