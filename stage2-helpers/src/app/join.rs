//! Entering a running app: a command of the administrator's among the app's processes, with no more rights than they have.
//!
//! `app-exec --enter SPEC` is born in the pod's PID namespace and in the app's cgroup. What the spec says
//! of privileges is the app's own. Until they are dropped nothing of the app's files is opened.

use std::{
    ffi::OsString,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    process::{DumpableBehavior, Signal},
    thread::ThreadNameSpaceType,
};

use super::{
    POD_NAMESPACES, execute,
    identity::Identity,
    privileges::{self, Filter},
    receive,
};
use crate::{
    control::exit,
    failure::{At, Result, failure},
};

/// The argument that says that an app is to be entered.
pub(super) const FLAG: &str = "--enter";

/// Becomes the command. Returns only where that fails.
pub(super) fn run(arguments: &[OsString], control: &OwnedFd) -> Result<u8> {
    let [spec] = arguments else {
        return Err(failure("read", "arguments", "not what stage1 gives", exit::FDS));
    };
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let mut spec = receive::spec(Some(spec.as_os_str()))?;
    let entering = receive::entering(control)?;
    // The app sees this process from here on, and must not look into it.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).at(
        "hide",
        "app-exec",
        exit::FDS,
    )?;
    let mut namespaces = POD_NAMESPACES;
    if spec.own_cgroup {
        namespaces |= ThreadNameSpaceType::CONTROL_GROUP;
    }
    // While /proc is the host's: the app may have put something else in its place.
    privileges::mark(&spec)?;
    (spec.oom_score_adj, spec.selinux, spec.apparmor) = (None, None, None);
    spec.limits.clear();
    // Root and working directory become the app's root with it.
    rustix::thread::move_into_thread_name_spaces(entering.process.as_fd(), namespaces).at(
        "join",
        "the app's namespaces",
        exit::NAMESPACE,
    )?;
    privileges::settle(&spec, &entering.process, &entering.stdio, &Identity::ROOT)?;
    drop(entering);
    privileges::drop_all(&spec, &Identity::ROOT, Filter::ToLoad)?;
    die_with_stage1(control)?;
    Err(execute::app(&spec, &spec.exec))
}

/// Has the kernel kill the command when who waits for it ends, and makes sure that it has not ended before.
fn die_with_stage1(control: &OwnedFd) -> Result<()> {
    let (step, object) = ("die with", "rkt enter");
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).at(step, object, exit::FDS)?;
    let mut fds = [PollFd::new(control, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut fds, Some(&now)).at(step, object, exit::FDS)?;
    if fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
        return Err(failure(step, object, "it is gone already", exit::FDS));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_few() {
        let (control, _other) = rustix::net::socketpair(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::SEQPACKET,
            rustix::net::SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        for wrong in [&[][..], &["--what", "spec"], &["a", "b", "c"]] {
            let arguments: Vec<OsString> = wrong.iter().map(OsString::from).collect();
            assert_eq!(run(&arguments, &control).unwrap_err().object, "arguments", "{wrong:?}");
        }
    }
}
