//! Event handlers: what is executed before and after the app, as root, in the app's own sandbox.

use std::os::fd::OwnedFd;

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions, WaitStatus},
};

use super::{
    execute,
    identity::Identity,
    privileges::{self, Filter},
    report, sockets,
};
use crate::{
    control::{Failure, Report, exit},
    failure::{At, Result, failure},
    spec::AppSpec,
    sys::{self, Fork},
};

/// Runs the pre-start handler to its end. Where it fails, the app is not started.
pub(super) fn pre_start(spec: &AppSpec, handler: &[String]) -> Result<()> {
    let name = handler.first().map_or("", String::as_str);
    let refuse = |reason: String| failure("run pre-start handler", name, reason, exit::PRE_START);
    match run(spec, handler, Filter::ToLoad)? {
        Ok(0) => Ok(()),
        Ok(status) => Err(refuse(format!("it ended with status {status}"))),
        Err(failure) => Err(refuse(failure.to_string())),
    }
}

/// Executes a handler and waits for it. The inner error says that it could not be executed.
fn run(spec: &AppSpec, handler: &[String], filter: Filter) -> Result<std::result::Result<i32, Failure>> {
    let (ours, theirs) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at("make", "a pipe", exit::FDS)?;
    let us = rustix::process::getpid();
    match sys::fork(false).at("run", "an event handler", exit::FDS)? {
        Fork::Child => {
            let failure = execute_child(spec, handler, &Identity::ROOT, filter, us);
            let text = serde_json::to_vec(&failure).unwrap_or_default();
            if rustix::io::write(&theirs, &text).is_err() {
                // Its exit status tells as much.
            }
            std::process::exit(i32::from(failure.status))
        }
        Fork::Parent(child) => {
            drop(theirs);
            let status = wait(child).at("wait for", "an event handler", exit::FDS)?;
            let mut text = vec![0; 8192];
            let length = rustix::io::read(&ours, &mut text).unwrap_or(0);
            Ok(serde_json::from_slice(&text[..length]).map_or(Ok(status), Err))
        }
    }
}

/// Executes a command in a child of `parent`, which it does not outlive. Returns only on failure.
fn execute_child(
    spec: &AppSpec,
    command: &[String],
    identity: &Identity,
    filter: Filter,
    parent: Pid,
) -> Failure {
    let ready = privileges::drop_all(spec, identity, filter).and_then(|()| privileges::die_with(parent));
    match ready {
        Ok(()) => execute::app(spec, command),
        Err(failure) => failure,
    }
}

/// Runs the app as a child, then the post-stop handler, and returns the app's exit status.
pub(super) fn with_post_stop(
    spec: &AppSpec,
    handler: &[String],
    identity: &Identity,
    sockets: Vec<OwnedFd>,
    control: &OwnedFd,
) -> Result<u8> {
    sys::block_signals().at("block", "signals", exit::FDS)?;
    privileges::confine_parent(spec)?;
    let us = rustix::process::getpid();
    let status = match sys::fork(false).at("start", "the app", exit::FDS)? {
        Fork::Child => {
            let ready =
                privileges::drop_all(spec, identity, Filter::Loaded).and_then(|()| privileges::die_with(us));
            let failure = match ready.and_then(|()| sockets::give(spec, sockets, control)) {
                Ok(spec) => execute::app(&spec, &spec.exec),
                Err(failure) => failure,
            };
            let status = failure.status;
            report(control, &Report::Failed(failure));
            std::process::exit(i32::from(status))
        }
        Fork::Parent(app) => {
            drop(sockets);
            watch(app).at("wait for", "the app", exit::FDS)?
        }
    };
    let message = match run(spec, handler, Filter::Loaded)? {
        Ok(0) => None,
        Ok(status) => Some(format!("its post-stop handler ended with status {status}")),
        Err(failure) => Some(format!("its post-stop handler: {failure}")),
    };
    if let Some(message) = message {
        report(control, &Report::Warning { message });
    }
    report(control, &Report::Exited { status });
    Ok(u8::try_from(status & 0xff).unwrap_or(u8::MAX))
}

/// Waits for the app, and passes on to it what signals we get meanwhile.
fn watch(app: Pid) -> rustix::io::Result<i32> {
    loop {
        match sys::wait_signal() {
            Some(libc::SIGCHLD) => {
                if let Some((_, status)) = rustix::process::waitpid(Some(app), WaitOptions::NOHANG)? {
                    return Ok(number(status));
                }
            }
            Some(signal) => {
                if let Some(signal) = Signal::from_named_raw(signal)
                    && rustix::process::kill_process(app, signal) == Err(Errno::PERM)
                {
                    // It has become somebody whom we may not signal; systemd and stage1 may.
                }
            }
            None => {}
        }
    }
}

fn wait(child: Pid) -> rustix::io::Result<i32> {
    loop {
        match rustix::process::waitpid(Some(child), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(number(status)),
            Ok(None) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// An exit status as the shell has it.
fn number(status: WaitStatus) -> i32 {
    status.exit_status().or(status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(255)
}
