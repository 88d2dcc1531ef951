//! A data directory, pods made by hand, and the command.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use rustix::fs::FlockOperation;
use serde_json::json;
use tempfile::TempDir;

/// What `rkt` answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    /// Checks the exit status, and that nothing panicked.
    #[track_caller]
    pub(crate) fn exits(self, status: i32) -> Answer {
        assert_eq!(self.status, Some(status), "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        self
    }

    /// Checks that stderr is one line that starts and contains as given.
    #[track_caller]
    pub(crate) fn says(self, start: &str, part: &str) -> Answer {
        let one_line = self.stderr.trim_end().lines().count() == 1;
        assert!(one_line && self.stderr.starts_with(start) && self.stderr.contains(part), "{self:?}");
        self
    }
}

/// A data directory with its own configuration.
pub(crate) struct Data(TempDir);

impl Data {
    pub(crate) fn new() -> Data {
        Data(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The command with this data directory.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rkt"));
        command
            .arg(format!("--dir={}", self.path().join("data").display()))
            .arg(format!("--system-config={}", self.path().join("system").display()))
            .arg(format!("--local-config={}", self.path().join("local").display()))
            .args(arguments)
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        command
    }

    /// Runs it.
    pub(crate) fn rkt<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Answer {
        answer(&mut self.command(arguments))
    }

    /// A pod in a place, with an app of each name.
    pub(crate) fn pod(&self, place: &str, uuid: &str, apps: &[&str]) -> PathBuf {
        let path = self.path().join("data/pods").join(place).join(uuid);
        fs::create_dir_all(path.join("stage1/rootfs/rkt/status")).unwrap();
        let id = format!("sha512-{}", "0".repeat(64));
        let runtime = |app: &&str| {
            json!({
                "name": app,
                "image": {"name": format!("example.com/{app}"), "id": id, "labels": []},
                "app": {"exec": ["/bin/true"], "user": "0", "group": "0"},
                "mounts": [],
            })
        };
        let apps_json: Vec<_> = apps.iter().map(runtime).collect();
        let manifest = json!({
            "acKind": "PodManifest", "acVersion": "0.8.11", "apps": apps_json, "volumes": [], "isolators": [],
            "annotations": [], "ports": [], "userLabels": {"team": "blue"},
        });
        fs::write(path.join("pod"), manifest.to_string()).unwrap();
        fs::write(path.join("pod-created"), "").unwrap();
        for app in apps {
            let info = path.join("appsinfo").join(app);
            fs::create_dir_all(&info).unwrap();
            let image = json!({
                "acKind": "ImageManifest", "acVersion": "0.8.11", "name": format!("example.com/{app}"),
                "labels": [{"name": "version", "value": "1.2"}],
            });
            fs::write(info.join("manifest"), image.to_string()).unwrap();
        }
        path
    }

    /// The pods in a place.
    pub(crate) fn pods_in(&self, place: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path().join("data/pods").join(place)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Runs a command to its end.
pub(crate) fn answer(command: &mut Command) -> Answer {
    let Output { status, stdout, stderr } = command.output().unwrap();
    Answer {
        status: status.code(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// Marks a pod as one that ran: its supervisor and its init, and how its apps ended.
pub(crate) fn ran(pod: &Path, statuses: &[(&str, i32)]) {
    fs::write(pod.join("pid"), "4242\n").unwrap();
    for (app, status) in statuses {
        fs::write(pod.join("stage1/rootfs/rkt/status").join(app), status.to_string()).unwrap();
    }
}

/// Works on a pod: holds its lock.
pub(crate) fn lock(pod: &Path) -> File {
    let directory = File::open(pod).unwrap();
    rustix::fs::flock(&directory, FlockOperation::LockExclusive).unwrap();
    directory
}
