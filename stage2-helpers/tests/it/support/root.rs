//! Root file systems in memory, mounted nowhere.

use std::{
    fs,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::{PermissionsExt, symlink},
    },
    path::PathBuf,
};

use rustix::mount::MountAttrFlags;

const APPLETS: [&str; 25] = [
    "cat", "chmod", "chroot", "cut", "dd", "echo", "env", "false", "grep", "hostname", "id", "kill", "ln",
    "ls", "mkdir", "mknod", "mount", "readlink", "rm", "sh", "sleep", "stat", "touch", "true", "umount",
];

/// A file system in memory. What is in it is reached through its descriptor. It can be mounted once.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

impl Root {
    pub(crate) fn empty() -> Root {
        Root(stage2::mounts::filesystem("tmpfs", &[("mode", "0755")], MountAttrFlags::empty()).unwrap())
    }

    /// What stage0 lays out as the pod's own root.
    pub(crate) fn of_pod() -> Root {
        let root = Root::empty();
        root.directory("opt/stage2");
        root
    }

    /// An image of busybox and nothing else.
    pub(crate) fn busybox() -> Root {
        let root = Root::empty();
        root.directory("bin");
        fs::copy("/bin/busybox", root.path("bin/busybox")).expect("busybox-static is needed");
        for applet in APPLETS {
            root.link(&format!("bin/{applet}"), "busybox");
        }
        root
    }

    /// Where something in it is reached from this process.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{path}", self.0.as_raw_fd()))
    }

    pub(crate) fn directory(&self, path: &str) {
        fs::create_dir_all(self.path(path)).unwrap();
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        symlink(target, self.path(path)).unwrap();
    }

    pub(crate) fn file(&self, path: &str, content: impl AsRef<[u8]>) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
        fs::write(self.path(path), content).unwrap();
    }

    pub(crate) fn program(&self, path: &str, content: impl AsRef<[u8]>) {
        self.file(path, content);
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// What is in a directory, in order.
    pub(crate) fn list(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
