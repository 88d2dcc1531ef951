//! The entry point `enter`: executes a command in an app that runs, with what the app has and no more.
//!
//! The command is a child of this process, which stays on the host: it passes on signals, the terminal and the exit status.
//! Nothing of the app's files is opened or executed here.

mod arguments;
mod streams;
mod target;

use std::{
    ffi::CString,
    fs,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use anyhow::{Context, Result};
use rkt_pod::layout;
use rustix::{
    event::{PollFd, PollFlags},
    fs::{MemfdFlags, SealFlags},
    io::Errno,
    process::{Signal, WaitId, WaitIdOptions},
    thread::LinkNameSpaceType,
};
use stage2::{control::Report, spec::AppSpec};

use crate::{
    init,
    launcher::{self, Control},
    output,
    sys::{self, CloneSpec, Namespaces, SignalFd, Signals},
};
use arguments::Arguments;
use streams::Streams;
use target::Target;

/// What the user sends us is for the command. Those of the terminal and of children are ours.
const SIGNALS: [i32; 12] = [
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGHUP,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGCONT,
    libc::SIGTSTP,
    libc::SIGWINCH,
    libc::SIGPIPE,
    libc::SIGCHLD,
];

/// Enters the app, and returns the exit status of the command.
pub(crate) fn main() -> Result<u8> {
    let arguments = arguments::parse(std::env::args_os().skip(1))?;
    let signals =
        Signals::block(&SIGNALS).and_then(|signals| signals.descriptor()).context("block signals")?;
    let app = arguments.app.as_str();
    let target = Target::find(arguments.pid, app)?;
    let mut streams = Streams::open()?;
    let spec = spec(&arguments, &streams)?;
    let child = Child::start(&target, &spec).with_context(|| format!("app {app:?}: start app-exec"))?;
    let stdio = streams.command_side()?;
    let process = target.process();
    let fds: Vec<BorrowedFd<'_>> = [process].into_iter().chain(stdio.iter().map(AsFd::as_fd)).collect();
    child.control.hand_over(&fds)?;
    drop(fds);
    drop(stdio);
    let status = child.watch(app, &mut streams, &signals);
    streams.finish(&signals);
    status
}

/// What the app was started with, but for the command, who executes it and where.
fn spec(arguments: &Arguments, streams: &Streams) -> Result<AppSpec> {
    let app = arguments.app.as_str();
    let path = std::path::Path::new(layout::SPECS).join(app);
    let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let mut spec: AppSpec = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
    spec.exec.clone_from(&arguments.command);
    spec.working_directory = "/".to_owned();
    spec.environment.retain(|variable| !variable.starts_with("TERM="));
    let term = std::env::var("TERM").unwrap_or_else(|_| "vt100".to_owned());
    spec.environment.push(format!("TERM={term}"));
    spec.terminal = streams.is_terminal();
    // Copied from the app's process, with its other limits, before anything of the app is in sight.
    spec.oom_score_adj = None;
    Ok(spec)
}

/// The command, or `app-exec` on its way to become it.
#[derive(Debug)]
struct Child {
    pidfd: OwnedFd,
    control: Control,
}

impl Child {
    /// Starts `app-exec` in the app's cgroup and PID namespace, with its limits. It waits for its descriptors.
    fn start(target: &Target, spec: &AppSpec) -> Result<Child> {
        let program = init::sealed_program(&init::helper("app-exec")?)?;
        let (control, theirs) = Control::pair()?;
        let file = sealed_file(&serde_json::to_vec(spec)?).context("pass on the app's spec")?;
        let null = init::open_null()?;
        let mut argv = vec![c"app-exec".to_owned(), c"--enter".to_owned()];
        let descriptors = [theirs.as_fd(), null.as_fd(), null.as_fd(), file.as_fd()];
        argv.push(CString::new(format!("/proc/self/fd/{}", descriptors.len() - 1))?);
        rustix::thread::move_into_link_name_space(target.pid_namespace(), Some(LinkNameSpaceType::ProcessID))
            .context("enter the pod's PID namespace")?;
        let (pid, pidfd) = sys::spawn(&CloneSpec {
            program: program.as_fd(),
            argv: &argv,
            environment: &[],
            descriptors: &descriptors,
            namespaces: Namespaces::default(),
            cgroup: target.cgroup(),
            map_users: None,
        })?;
        let child = Child { pidfd, control };
        if let Err(error) = target.give_limits(pid) {
            child.signal(Signal::KILL);
            return Err(error);
        }
        Ok(child)
    }

    fn signal(&self, signal: Signal) {
        if rustix::process::pidfd_send_signal(&self.pidfd, signal).is_err() {
            // It has just ended.
        }
    }

    /// Waits for its end, and returns its exit status.
    fn watch(&self, app: &str, streams: &mut Streams, signals: &SignalFd) -> Result<u8> {
        let mut failure = None;
        let mut reports = true;
        loop {
            let mut fds = vec![PollFd::new(&self.pidfd, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
            if reports {
                fds.push(PollFd::new(&self.control, PollFlags::IN));
            }
            let own = fds.len();
            let mut ends = Vec::new();
            for (end, fd, flags) in streams.descriptors() {
                ends.push(end);
                fds.push(PollFd::from_borrowed_fd(fd, flags));
            }
            match rustix::event::poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).context("wait for the command"),
            }
            let is_ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            for (end, _) in ends.into_iter().zip(&is_ready[own..]).filter(|(_, is_ready)| **is_ready) {
                streams.pump(end);
            }
            while let Some((signal, _)) = signals.next().context("read a signal")? {
                self.pass_on(signal, streams);
            }
            while reports {
                match self.control.next() {
                    Ok(Some(Report::Failed(reason))) => failure = Some(reason),
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => reports = false,
                }
            }
            if is_ready[0] {
                break;
            }
        }
        let waited = rustix::io::retry_on_intr(|| {
            rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED)
        });
        let status = waited.context("wait for the command")?.context("wait for the command")?;
        match failure {
            Some(failure) => {
                output::say(&format!("app {app:?}: {failure}"));
                Ok(failure.status)
            }
            None => Ok(launcher::status_of(&status)),
        }
    }

    fn pass_on(&self, signal: i32, streams: &Streams) {
        match signal {
            libc::SIGWINCH => streams.resize(),
            libc::SIGPIPE | libc::SIGCHLD => {}
            other => {
                if let Some(signal) = Signal::from_named_raw(other) {
                    self.signal(signal);
                }
            }
        }
    }
}

/// A file in memory that nobody changes any more.
fn sealed_file(content: &[u8]) -> Result<OwnedFd> {
    let file = rustix::fs::memfd_create("spec", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut rest = content;
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))?;
        rest = &rest[written..];
    }
    let all = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&file, all)?;
    Ok(file)
}
