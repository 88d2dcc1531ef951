//! Giving up what the app does not get, in an order in which each step may still be done.

use std::{os::fd::OwnedFd, str::FromStr};

use caps::{CapSet, Capability};
use rustix::{
    fs::{FileType, Gid, OFlags, Uid},
    io::Errno,
    process::{Pid, Rlimit, Signal},
    thread::{CapabilitySet, CapabilitySets},
};

use super::{identity::Identity, users};
use crate::{
    control::exit,
    failure::{At, Result, failure, words},
    spec::{AppSpec, LIMITED, Seccomp},
    sys,
};

/// What is done once, whoever is executed then: standard streams, session, terminal, score, bounding set. `pod` is a pidfd
/// of a process in the pod's user namespace, which is joined where there is one.
pub(super) fn settle(spec: &AppSpec, pod: &OwnedFd, stdio: &[OwnedFd; 3], identity: &Identity) -> Result<()> {
    for (number, stream) in (0..).zip(stdio) {
        sys::place(stream, number).at("set up", "a standard stream", exit::STDIN)?;
        own_stream(spec, stream, identity)?;
    }
    // A unit's processes are born leading a session; then there is nothing to do.
    match rustix::process::setsid() {
        Ok(_) | Err(Errno::PERM) => {}
        Err(errno) => return Err(errno).at("make", "a session", exit::STDIN),
    }
    match sys::own_session_keyring() {
        // Where the kernel has no keys, or where a filter keeps them from us, the app has none either.
        Ok(()) | Err(Errno::NOSYS | Errno::PERM) => {}
        Err(errno) => return Err(errno).at("make", "a session keyring", exit::STDIN),
    }
    if spec.terminal {
        sys::take_terminal().at("take", "the terminal", exit::STDIN)?;
    }
    if spec.users.is_none() {
        mark(spec)?;
    }
    // What takes the host's privileges is done.
    users::enter(spec, pod)?;
    bound(spec)
}

/// Sets resource limits, the score by which the kernel chooses whom to kill for lack of memory, and the labels of the security
/// modules.
///
/// Of a pod with users of its own the procfs lets the host's root write nothing about itself: then this comes before the pod
/// is joined.
pub(super) fn mark(spec: &AppSpec) -> Result<()> {
    if let Some(score) = spec.oom_score_adj {
        let object = "the out-of-memory score";
        write_own("oom_score_adj", &score.to_string(), ("set", object, exit::OOM_ADJUST))?;
    }
    for (resource, (current, maximum)) in LIMITED.into_iter().zip(&spec.limits) {
        let limit = Rlimit { current: *current, maximum: *maximum };
        match rustix::process::setrlimit(resource, limit) {
            // Without the privilege to raise it, it is the lower one that it was.
            Ok(()) | Err(Errno::PERM) => {}
            Err(errno) => return Err(errno).at("limit", format!("{resource:?}"), exit::LIMITS),
        }
    }
    label(spec)
}

/// Sets what the security modules make of whoever is executed next.
fn label(spec: &AppSpec) -> Result<()> {
    if let Some(context) = &spec.selinux {
        let object = format!("SELinux context {context:?}");
        write_own("attr/exec", context, ("set", &object, exit::SELINUX))?;
    }
    if let Some(profile) = &spec.apparmor {
        let object = format!("AppArmor profile {profile:?}");
        // A directory of its own since Linux 5.8, where several modules may be active.
        let own = rustix::fs::access("/proc/self/attr/apparmor", rustix::fs::Access::EXISTS).is_ok();
        let file = if own { "attr/apparmor/exec" } else { "attr/exec" };
        write_own(file, &format!("exec {profile}"), ("set", &object, exit::APPARMOR))?;
    }
    Ok(())
}

/// Lets the app open `/dev/stdout` and its like: a pipe belongs to who made it, which is not the app. With users of its own
/// the pod's root is not who made it either, and a terminal, which is made for the app, is given to it as well.
fn own_stream(spec: &AppSpec, stream: &OwnedFd, identity: &Identity) -> Result<()> {
    let kind = rustix::fs::fstat(stream).map(|stat| FileType::from_raw_mode(stat.st_mode));
    let kind = kind.at("look at", "a standard stream", exit::STDIN)?;
    let own_users = spec.users.is_some();
    let is_ours = matches!(kind, FileType::Fifo)
        // Other devices, as /dev/null, are the host's.
        || (own_users && spec.terminal && rustix::termios::isatty(stream));
    if is_ours && (identity.uid != 0 || own_users) {
        let on_host = |id| users::on_host(spec, id).unwrap_or(id);
        let (uid, gid) = (on_host(identity.uid), on_host(identity.gid));
        rustix::fs::fchown(stream, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).at(
            "give to the app",
            "a standard stream",
            exit::STDIN,
        )?;
    }
    Ok(())
}

/// Writes a file of this process, through the host's procfs or the one that we have mounted ourselves: whatever else may be at
/// that path is refused.
fn write_own(file: &str, text: &str, (step, object, status): (&'static str, &str, u8)) -> Result<()> {
    const PROC_MAGIC: i64 = 0x9fa0;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::open(format!("/proc/self/{file}"), flags, rustix::fs::Mode::empty())
        .at(step, object, status)?;
    let fs = rustix::fs::fstatfs(&file).at(step, object, status)?;
    if fs.f_type != PROC_MAGIC {
        return Err(failure(step, object, "/proc is not procfs", status));
    }
    rustix::io::write(&file, text.as_bytes()).at(step, object, status).map(drop)
}

/// Drops from the bounding set what the app is not to have, ever.
fn bound(spec: &AppSpec) -> Result<()> {
    let Some(kept) = kept(spec)? else { return Ok(()) };
    for capability in caps::all() {
        // Unknown to this kernel: nobody can have it.
        let has = caps::has_cap(None, CapSet::Bounding, capability).unwrap_or(false);
        if has && !kept.contains(&capability) {
            caps::drop(None, CapSet::Bounding, capability)
                .map_err(|error| failure("drop capability", capability, error, exit::CAPABILITIES))?;
        }
    }
    Ok(())
}

fn kept(spec: &AppSpec) -> Result<Option<Vec<Capability>>> {
    let Some(names) = &spec.capabilities else { return Ok(None) };
    let parse = |name: &String| {
        let upper = name.to_ascii_uppercase();
        let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
        Capability::from_str(&full).map_err(|_| {
            failure("keep capability", format!("{name:?}"), "there is none of this name", exit::CAPABILITIES)
        })
    };
    names.iter().map(parse).collect::<Result<_>>().map(Some)
}

/// Whether the process has its system call filter already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    /// No.
    ToLoad,
    /// It has inherited it.
    Loaded,
}

/// Leaves this process, which stays as the app's parent, no more than the app has and what it takes to become the app
/// and to signal it: who gets hold of it has gained nothing.
pub(super) fn confine_parent(spec: &AppSpec) -> Result<()> {
    let status = exit::CAPABILITIES;
    let permitted = rustix::thread::capabilities(None).at("read", "capabilities", status)?.permitted;
    if spec.no_new_privileges {
        rustix::thread::set_no_new_privs(true).at("set", "no-new-privileges", exit::NO_NEW_PRIVILEGES)?;
    }
    let mut needed = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::KILL;
    match &spec.seccomp {
        Seccomp::Default => {
            sys::load_seccomp(sys::DEFAULT_FILTER).at("load", "the seccomp filter", exit::SECCOMP)?;
        }
        // The app's own filter may not let a parent do its work: the child loads it, right before it executes the app.
        Seccomp::Program(_) => needed |= CapabilitySet::SYS_ADMIN,
        Seccomp::Off => {}
    }
    let keep = target(spec, &Identity::ROOT, permitted)? | (needed & permitted);
    let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).at("set", "capabilities", status)
}

/// Has the kernel kill this process when `parent` ends. Comes after [`drop_all`], as the kernel forgets it when the
/// user changes.
pub(super) fn die_with(parent: Pid) -> Result<()> {
    let (step, object) = ("die with", "app-exec");
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).at(step, object, exit::FDS)?;
    if rustix::process::getppid() != Some(parent) {
        return Err(failure(step, object, "it is gone already", exit::FDS));
    }
    Ok(())
}

/// Becomes `identity` and drops the rest: the very last steps before the exec.
pub(super) fn drop_all(spec: &AppSpec, identity: &Identity, loading: Filter) -> Result<()> {
    let status = exit::CAPABILITIES;
    // The filter needs CAP_SYS_ADMIN where it must not imply no-new-privileges, so one capability outlives the user.
    rustix::thread::set_keep_capabilities(true).at("keep", "capabilities", status)?;
    sys::set_identity(identity.uid, identity.gid, &identity.groups).map_err(|(step, errno)| {
        let (object, status) =
            if step == "set user" { (identity.uid, exit::USER) } else { (identity.gid, exit::GROUP) };
        failure(step, object, words(errno), status)
    })?;
    let none = CapabilitySet::empty();
    let filter = CapabilitySets {
        effective: CapabilitySet::SYS_ADMIN,
        permitted: CapabilitySet::SYS_ADMIN,
        inheritable: none,
    };
    let all = rustix::thread::capabilities(None).at("read", "capabilities", status)?;
    if spec.no_new_privileges {
        rustix::thread::set_no_new_privs(true).at("set", "no-new-privileges", exit::NO_NEW_PRIVILEGES)?;
    }
    let target = target(spec, identity, all.permitted)?;
    enter_working_directory(spec)?;
    sys::close_on_exec_from(3).at("close", "descriptors", exit::FDS)?;
    sys::reset_signals().at("reset", "signals", exit::FDS)?;
    // Those that the app keeps stay permitted; only what the filter needs is added to what takes effect.
    let during = CapabilitySets { permitted: all.permitted, ..filter };
    match &spec.seccomp {
        Seccomp::Default if loading == Filter::ToLoad => {
            rustix::thread::set_capabilities(None, during).at("set", "capabilities", status)?;
            sys::load_seccomp(sys::DEFAULT_FILTER).at("load", "the seccomp filter", exit::SECCOMP)?;
        }
        // It is loaded by the last call before the exec ([`super::execute`]), which takes away what is not in the bounding
        // set: the filter need not let us drop it.
        Seccomp::Program(_) => {
            return rustix::thread::set_capabilities(None, during).at("set", "capabilities", status);
        }
        Seccomp::Default | Seccomp::Off => {}
    }
    let sets = CapabilitySets { effective: target, permitted: target, inheritable: none };
    rustix::thread::set_capabilities(None, sets).at("set", "capabilities", status)
}

/// What the process holds when it executes the app: root what its bounding set has, others nothing.
fn target(spec: &AppSpec, identity: &Identity, permitted: CapabilitySet) -> Result<CapabilitySet> {
    if identity.uid != 0 {
        return Ok(CapabilitySet::empty());
    }
    Ok(match kept(spec)? {
        None => permitted,
        Some(kept) => {
            let bits = kept.iter().fold(0_u64, |bits, capability| bits | capability.bitmask());
            CapabilitySet::from_bits_retain(bits) & permitted
        }
    })
}

/// Goes to the working directory as the app would, and makes sure that it is inside the app's root.
fn enter_working_directory(spec: &AppSpec) -> Result<()> {
    let path = &spec.working_directory;
    let step = "change to working directory";
    rustix::process::chdir(path.as_str()).at(step, path, exit::CHDIR)?;
    let here = rustix::process::getcwd(Vec::new()).at(step, path, exit::CHDIR)?;
    if !here.as_bytes().starts_with(b"/") {
        return Err(failure(step, path, "it is outside the app's root", exit::CHDIR));
    }
    // The path of an open descriptor, or through /proc of another process, is none of the app's own.
    let open = rustix::fs::openat2(
        rustix::fs::CWD,
        path.as_str(),
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
        rustix::fs::ResolveFlags::NO_MAGICLINKS,
    );
    open.at(step, path, exit::CHDIR).map(drop)
}
