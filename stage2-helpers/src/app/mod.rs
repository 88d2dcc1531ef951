//! `app-exec`: builds the sandbox of one app, then becomes the app.
//!
//! [`build`] is the sandbox, read from top to bottom: what happens stands in the order in which it happens, and each
//! step names what it was about when it fails.

mod api;
mod diagnose;
mod enter;
mod etc;
mod execute;
mod identity;
mod join;
mod lookup;
mod masks;
mod monitor;
mod privileges;
mod receive;
mod sealed;
mod sockets;
mod users;
mod volumes;

use std::{
    ffi::{OsStr, OsString},
    os::fd::OwnedFd,
};

use rustix::{
    net::SendFlags,
    process::DumpableBehavior,
    thread::{ThreadNameSpaceType, UnshareFlags},
};

use crate::{
    control::{Report, exit},
    failure::{At, Result},
    mounts,
    spec::AppSpec,
    sys,
};
use privileges::Filter;
use receive::Descriptors;

/// Becomes the app, or a command in a running one, or says on the control socket why not, and returns the exit status for it.
pub fn main() -> u8 {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Err(failure) = sealed::make_sure() {
        eprintln!("app-exec: {failure}");
        return failure.status;
    }
    let Ok(control) = sys::inherited(0).and_then(receive::out_of_the_way) else {
        return exit::FDS;
    };
    let done = match arguments.split_first() {
        Some((first, rest)) if first == OsStr::new(join::FLAG) => join::run(rest, &control),
        first => run(first.map(|(spec, _)| spec.as_os_str()), &control),
    };
    match done {
        Ok(status) => status,
        Err(failure) => {
            let status = failure.status;
            report(&control, &Report::Failed(failure));
            status
        }
    }
}

/// Tells stage1 something.
fn report(control: &OwnedFd, report: &Report) {
    let message = serde_json::to_vec(report).unwrap_or_default();
    if rustix::net::send(control, &message, SendFlags::NOSIGNAL).is_err() {
        // stage1 is gone; the pod's end follows.
    }
}

/// Returns where this process is not to become the app: beside it, or after it.
fn run(spec: Option<&OsStr>, control: &OwnedFd) -> Result<u8> {
    // What is made for an app is for all to enter, whoever started the pod with whatever umask.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let spec = receive::spec(spec)?;
    let mut descriptors = receive::descriptors(control)?;
    // They come last.
    let others = descriptors.mounts.len().saturating_sub(spec.listen.len());
    let sockets = descriptors.mounts.split_off(others);
    // Nobody in the pod may look into this process while it is more than the app will be.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).at(
        "hide",
        "app-exec",
        exit::FDS,
    )?;
    let console = if spec.terminal { Some(api::copy_of_terminal(&descriptors.stdio[0])?) } else { None };
    if spec.users.is_some() {
        privileges::mark(&spec)?;
    }
    let may_execute = match enter::pod(&spec, &descriptors, control)? {
        enter::Role::App(word) => word,
        enter::Role::Herald(status) => return Ok(status),
    };
    users::make_as_root(&spec)?;
    build(&spec, &descriptors, console)?;
    let identity = identity::resolve(&spec)?;
    privileges::settle(&spec, &descriptors.init, &descriptors.stdio, &identity)?;
    users::lock_mounts(&spec)?;
    if let Some(handler) = &spec.pre_start {
        monitor::pre_start(&spec, handler)?;
    }
    drop(descriptors);
    may_execute.wait()?;
    // systemd keeps a copy of the socket: its end is no sign.
    report(control, &Report::Built);
    if let Some(handler) = &spec.post_stop {
        return monitor::with_post_stop(&spec, handler, &identity, sockets, control);
    }
    let ready = privileges::drop_all(&spec, &identity, Filter::ToLoad);
    Err(match ready.and_then(|()| sockets::give(&spec, sockets, control)) {
        Ok(spec) => execute::app(&spec, &spec.exec),
        Err(failure) => failure,
    })
}

/// The app's own view of files: its root, and in it what the appc specification wants an app to find.
fn build(spec: &AppSpec, descriptors: &Descriptors, console: Option<OwnedFd>) -> Result<()> {
    let status = exit::NAMESPACE;
    let mut own = UnshareFlags::NEWNS;
    if spec.own_cgroup {
        own |= UnshareFlags::NEWCGROUP;
    }
    sys::unshare(own).at("make", "the app's namespaces", status)?;
    let root = &descriptors.root;
    let pod = mounts::pod_root().at("open", "the pod's root", status)?;
    // Where the root hangs until it is the root is of no matter; the pod's /proc is hidden by it, here only.
    mounts::place(&pod, "proc").and_then(|place| mounts::attach(root, place)).at(
        "attach",
        "the app's root",
        status,
    )?;
    // Only /dev, which is ours, has device nodes that work, whatever an image or an app makes.
    sys::set_attributes(root, sys::Attributes::NO_DEVICES, false).at("restrict", "the app's root", status)?;
    let scratch = etc::scratch(&pod)?;
    let kernel = api::mount_all(spec, root, &pod, console)?;
    etc::mount_all(spec, root, &scratch, &descriptors.mounts)?;
    volumes::mount_all(spec, root, &descriptors.mounts)?;
    api::close_devices(&kernel)?;
    if !spec.unprotected_paths {
        masks::protect(&kernel, &scratch)?;
    }
    if spec.read_only_root {
        sys::set_attributes(root, sys::Attributes::READ_ONLY, false).at(
            "make read-only",
            "the app's root",
            status,
        )?;
    }
    mounts::change_root(root).at("change to", "the app's root", status)
}

/// The namespaces of the pod that every app joins.
const POD_NAMESPACES: ThreadNameSpaceType = ThreadNameSpaceType::MOUNT
    .union(ThreadNameSpaceType::NETWORK)
    .union(ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION)
    .union(ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME);
