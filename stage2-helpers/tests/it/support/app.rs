//! Apps: what is asked for, what runs, and what came of it.

use std::{
    io::{PipeReader, Read},
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    path::Path,
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitOptions};
use stage2::{
    control::{Failure, Report},
    spec::{AppSpec, Seccomp, VERSION},
};
use tempfile::TempDir;

const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETUID",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETFCAP",
    "CAP_SYS_CHROOT",
];

/// An app that runs a script, with the defaults of an app whose manifest says nothing.
pub(crate) fn spec(script: &str) -> AppSpec {
    let words = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    AppSpec {
        version: VERSION,
        pod: "00000000-0000-0000-0000-000000000000".to_owned(),
        app: "app".to_owned(),
        enter_pid_namespace: false,
        own_cgroup: false,
        users: None,
        read_only_root: false,
        mounts: Vec::new(),
        unprotected_paths: false,
        etc: Vec::new(),
        exec: words(&["/bin/sh", "-c", script]),
        environment: words(&["PATH=/usr/bin:/bin", "AC_APP_NAME=app", "container=rkt"]),
        working_directory: "/".to_owned(),
        user: "0".to_owned(),
        group: "0".to_owned(),
        group_falls_back_to_user: false,
        supplementary_gids: Vec::new(),
        capabilities: Some(words(&CAPABILITIES)),
        no_new_privileges: false,
        selinux: None,
        apparmor: None,
        seccomp: Seccomp::Default,
        limits: Vec::new(),
        oom_score_adj: None,
        pre_start: None,
        post_stop: None,
        listen: Vec::new(),
        terminal: false,
    }
}

/// An `app-exec`, or what it has become.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    pub(super) control: OwnedFd,
    pub(super) stdout: PipeReader,
    pub(super) stderr: PipeReader,
    pub(super) systemd: Option<Systemd>,
    pub(super) directory: TempDir,
}

/// How an app ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Exit status, or 128 + signal.
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) reports: Vec<Report>,
    /// What systemd was told.
    pub(crate) notices: Vec<String>,
}

impl Running {
    /// Reads a line that the app prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while self.stdout.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    pub(crate) fn kill(&self, signal: Signal) {
        rustix::process::pidfd_send_signal(&self.pidfd, signal).unwrap();
    }

    /// Waits for the end.
    pub(crate) fn finish(mut self) -> Outcome {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        self.stdout.read_to_end(&mut stdout).unwrap();
        self.stderr.read_to_end(&mut stderr).unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let mut reports = Vec::new();
        while let Some(message) = super::receive(&self.control) {
            reports.push(serde_json::from_slice(&message).unwrap());
        }
        let mut status = wait(self.pid);
        // The app is another process than the one that we started.
        for report in &reports {
            if let Report::Started { pid } = report {
                assert_eq!(status, 0, "the herald ends well: {reports:?}");
                status = wait(Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap());
            }
        }
        let notices = self.systemd.map(Systemd::notices).unwrap_or_default();
        drop(self.directory);
        Outcome { status, stdout: text(stdout), stderr: text(stderr), reports, notices }
    }
}

impl Outcome {
    /// What it printed; it must have ended well.
    pub(crate) fn success(self) -> String {
        assert_eq!(self.status, 0, "{self:?}");
        self.stdout
    }

    /// The failure that it reported.
    pub(crate) fn failure(&self) -> &Failure {
        let failure = self
            .reports
            .iter()
            .find_map(|report| if let Report::Failed(failure) = report { Some(failure) } else { None });
        failure.unwrap_or_else(|| panic!("it did not fail: {self:?}"))
    }

    /// The failure as users read it; the exit status must be its.
    pub(crate) fn refusal(&self) -> String {
        let failure = self.failure();
        assert_eq!(self.status, i32::from(failure.status), "{self:?}");
        failure.to_string()
    }
}

/// Waits for a child. A status as the shell has it.
fn wait(pid: Pid) -> i32 {
    let (_, status) = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()))
        .unwrap()
        .unwrap();
    status.exit_status().or(status.terminating_signal().map(|signal| 128 + signal)).unwrap()
}

/// What systemd is to an `app-exec` that it starts: a socket that is read.
#[derive(Debug)]
pub(crate) struct Systemd {
    path: String,
    reader: std::thread::JoinHandle<Vec<String>>,
}

impl Systemd {
    pub(super) fn listen(directory: &Path) -> Systemd {
        let path = directory.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        // Reading without room for descriptors closes those that come with a message, as systemd does.
        let reader = std::thread::spawn(move || {
            let mut notices = Vec::new();
            let mut buffer = [0; 1024];
            while let Ok(length) = socket.recv(&mut buffer) {
                notices.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
                if notices.last().is_some_and(|text| text == "BARRIER=1") {
                    break;
                }
            }
            notices
        });
        Systemd { path: path.to_str().unwrap().to_owned(), reader }
    }

    pub(super) fn variable(&self) -> String {
        format!("NOTIFY_SOCKET={}", self.path)
    }

    fn notices(self) -> Vec<String> {
        self.reader.join().unwrap()
    }
}
