//! A minimal stage1.

mod app;
mod root;
mod spawn;

use std::{
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

pub(crate) use app::{Outcome, Running, spec};
pub(crate) use root::Root;
use rustix::{
    fs::{Mode, OFlags},
    io::IoSlice,
    net::{
        AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
        SocketType,
    },
    process::{Pid, Signal, WaitId, WaitIdOptions},
    thread::LinkNameSpaceType,
};
use stage2::{control::HELLO, spec::AppSpec};

const NAMESPACES: i32 =
    libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWNET;

/// How long anything may take, in seconds.
const PATIENCE: i64 = 20;

/// Whether the tests can run at all.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("passed over: it needs root");
    }
    root
}

/// A running pod. It ends with the value.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    control: OwnedFd,
    pub(crate) root: Root,
}

impl Pod {
    /// Starts init on the pod's root, and waits until it is ready.
    pub(crate) fn start() -> Pod {
        let pod = Pod::launch(Root::of_pod(), &["--hostname=testpod", "--loopback"]);
        assert_eq!(pod.hear(), b"R");
        pod
    }

    /// Starts init, whatever comes of it.
    pub(crate) fn launch(root: Root, arguments: &[&str]) -> Pod {
        let (control, theirs) = socket_pair();
        let null = null();
        let arguments: Vec<String> =
            ["init"].iter().chain(arguments).map(|text| (*text).to_owned()).collect();
        let descriptors = [null.as_fd(), null.as_fd(), null.as_fd(), root.as_fd(), theirs.as_fd()];
        let (pid, pidfd) =
            spawn::spawn(env!("CARGO_BIN_EXE_init"), &arguments, &[], &descriptors, NAMESPACES);
        Pod { pid, pidfd, control, root }
    }

    /// The next message of init; none where it has ended.
    pub(crate) fn hear(&self) -> Vec<u8> {
        receive(&self.control).unwrap_or_default()
    }

    /// Closes stage1's end of the control socket.
    pub(crate) fn hang_up(&mut self) {
        self.control = socket_pair().0;
    }

    pub(crate) fn signal(&self, signal: i32) {
        // SIGRTMIN+4 has no name.
        let status = std::process::Command::new("kill")
            .args([format!("-{signal}"), self.pid.as_raw_nonzero().to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    /// Starts an app as the direct launcher does, in the pod's PID namespace; or, where the spec says that it joins,
    /// as systemd does.
    pub(crate) fn launch_app(&self, root: &Root, spec: &AppSpec, volumes: &[BorrowedFd<'_>]) -> Running {
        let (control, theirs) = socket_pair();
        let (stdout, app_stdout) = std::io::pipe().unwrap();
        let (stderr, app_stderr) = std::io::pipe().unwrap();
        let null = null();
        let mut handed =
            vec![self.pidfd.as_fd(), root.as_fd(), null.as_fd(), app_stdout.as_fd(), app_stderr.as_fd()];
        handed.extend_from_slice(volumes);
        send(&control, &handed);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("spec");
        std::fs::write(&file, serde_json::to_vec(spec).unwrap()).unwrap();
        let systemd = spec.enter_pid_namespace.then(|| app::Systemd::listen(directory.path()));
        let environment: Vec<String> = systemd.iter().map(app::Systemd::variable).collect();
        let arguments = ["app-exec".to_owned(), file.to_str().unwrap().to_owned()];
        let inside = if systemd.is_none() { Some(InNamespace::enter(self.pid)) } else { None };
        let (pid, pidfd) = spawn::spawn(
            env!("CARGO_BIN_EXE_app-exec"),
            &arguments,
            &environment,
            &[theirs.as_fd(), null.as_fd(), null.as_fd()],
            0,
        );
        drop(inside);
        Running { pid, pidfd, control, stdout, stderr, systemd, directory }
    }

    /// Runs an app to its end.
    pub(crate) fn run(&self, root: &Root, spec: &AppSpec) -> Outcome {
        self.launch_app(root, spec, &[]).finish()
    }

    /// Runs a script to its end, in a new root, and returns what it printed.
    pub(crate) fn says(&self, script: &str) -> String {
        self.run(&Root::busybox(), &spec(script)).success()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        kill(&self.pidfd);
        // Init is gone when the pod's last process has been waited for, and that may be an app that is still to be.
        let pidfd = self.pidfd.try_clone().unwrap();
        std::thread::spawn(move || {
            rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).is_ok()
        });
    }
}

/// Kills a process that may have ended.
fn kill(pidfd: &OwnedFd) {
    let killed = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
    assert!(matches!(killed, Ok(()) | Err(rustix::io::Errno::SRCH)), "{killed:?}");
}

/// While it lives, children of this thread are born in a pod's PID namespace.
struct InNamespace(OwnedFd);

impl InNamespace {
    fn enter(pid: Pid) -> InNamespace {
        let open =
            |path: String| rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let own = open("/proc/thread-self/ns/pid".to_owned());
        let theirs = open(format!("/proc/{}/ns/pid", pid.as_raw_nonzero()));
        move_to(&theirs);
        InNamespace(own)
    }
}

impl Drop for InNamespace {
    fn drop(&mut self) {
        move_to(&self.0);
    }
}

fn move_to(namespace: &OwnedFd) {
    rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::ProcessID)).unwrap();
}

pub(crate) fn null() -> OwnedFd {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

fn socket_pair() -> (OwnedFd, OwnedFd) {
    let pair =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let (ours, theirs) = pair.unwrap();
    let timeout = Some(std::time::Duration::from_secs(PATIENCE.cast_unsigned()));
    rustix::net::sockopt::set_socket_timeout(&ours, rustix::net::sockopt::Timeout::Recv, timeout).unwrap();
    (ours, theirs)
}

fn send(control: &OwnedFd, descriptors: &[BorrowedFd<'_>]) {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(descriptors)));
    rustix::net::sendmsg(control, &[IoSlice::new(&[HELLO])], &mut ancillary, SendFlags::NOSIGNAL).unwrap();
}

/// The next message; none at the end.
fn receive(control: &OwnedFd) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 16 * 1024];
    match rustix::net::recv(control, buffer.as_mut_slice(), RecvFlags::empty()) {
        Ok((0, _)) | Err(rustix::io::Errno::CONNRESET) => None,
        Ok((length, _)) => Some(buffer[..length].to_vec()),
        Err(errno) => panic!("nothing heard: {errno}"),
    }
}
