//! PID 1 of the pod: owns its namespaces, reaps its orphans, and passes on who wants its end.
//!
//! It is started in new namespaces with two descriptors: 3, the pod's root as a detached mount, and 4, the control
//! socket to stage1; and 5, the files of the pod's journal, where it has one of its own. On the socket it says `R` when the namespaces are ready, or a [`Failure`] as JSON, and `P` when somebody
//! asks for the pod's end. It dies with stage1, and all of the pod dies with it.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
    mount::{MountAttrFlags, MountPropagationFlags, mount_change},
    net::{AddressFamily, SendFlags, SocketType},
    process::{DumpableBehavior, Signal, WaitOptions},
    thread::{CapabilitySet, CapabilitySets},
};

use crate::{
    control::exit,
    failure::{At, Result, failure},
    mounts, sys,
};

/// What stage1 asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    hostname: String,
    loopback: bool,
    /// Files below `/proc/sys`, and what is written to them.
    settings: Vec<(String, String)>,
    /// Where in the root the files of the pod's journal are mounted, which are descriptor 5.
    journal: Option<String>,
}

/// Runs until stage1 kills it or lets go of it. Returns otherwise where the namespaces cannot be made ready.
pub fn main() -> u8 {
    let Ok(control) = sys::inherited(4) else { return 254 };
    match prepare(&control) {
        Ok(signals) => {
            say(&control, b"R");
            serve(&control, &signals)
        }
        Err(failure) => {
            say(&control, &serde_json::to_vec(&failure).unwrap_or_default());
            254
        }
    }
}

fn say(control: &OwnedFd, message: &[u8]) {
    if rustix::net::send(control, message, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).is_err() {
        // stage1 is gone, and so are we in a moment.
    }
}

/// Returns where signals are read from.
fn prepare(control: &OwnedFd) -> Result<OwnedFd> {
    let options = parse(std::env::args().skip(1))?;
    let root = sys::inherited(3).at("take over", "the pod's root", exit::FDS)?;
    let journal = options.journal.as_ref().map(|_| sys::inherited(5)).transpose();
    let journal = journal.at("take over", "the pod's journal", exit::FDS)?;
    sys::close_from(if journal.is_some() { 6 } else { 5 }).at("close", "descriptors", exit::FDS)?;
    sys::block_signals().at("block", "signals", exit::FDS)?;
    // The pod's directories are for all to enter, whatever the umask of who started it.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    die_with_parent(control)?;
    // A page for a huge page's price is a bad deal for a process that holds a few kilobytes.
    rustix::thread::disable_transparent_huge_pages(true).at(
        "disable",
        "transparent huge pages",
        exit::FDS,
    )?;
    if !options.hostname.is_empty() {
        rustix::system::sethostname(options.hostname.as_bytes()).at(
            "set host name",
            &options.hostname,
            exit::NAMESPACE,
        )?;
    }
    if options.loopback {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None);
        socket.and_then(sys::loopback_up).at("bring up", "the loopback interface", exit::NAMESPACE)?;
    }
    let has_proc = build_root(&root, options.journal.as_deref().zip(journal))?;
    if !has_proc && let Some((file, _)) = options.settings.first() {
        let reason = "parts of the host's /proc are covered, so that a user namespace gets none";
        return Err(failure("set kernel setting", file, reason, exit::NAMESPACE));
    }
    options.settings.iter().try_for_each(|(file, value)| set(&root, file, value))?;
    let signals = sys::signal_descriptor().at("receive", "signals", exit::FDS)?;
    give_up_privileges()?;
    Ok(signals)
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options::default();
    for argument in arguments {
        match argument.split_once('=') {
            Some(("--hostname", name)) => name.clone_into(&mut options.hostname),
            Some(("--journal", path)) => options.journal = Some(path.to_owned()),
            Some(("--sysctl", setting)) => match setting.split_once('=') {
                Some((file, value)) => options.settings.push((file.to_owned(), value.to_owned())),
                None => return Err(failure("read argument", argument, "it has no value", exit::FDS)),
            },
            None if argument == "--loopback" => options.loopback = true,
            _ => return Err(failure("read argument", argument, "unknown", exit::FDS)),
        }
    }
    Ok(options)
}

/// Has the kernel kill us when stage1 ends, and makes sure that it has not ended before we asked for that.
fn die_with_parent(control: &OwnedFd) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).at(
        "die with",
        "stage1",
        exit::FDS,
    )?;
    let mut fds = [PollFd::from_borrowed_fd(control.as_fd(), PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut fds, Some(&now)).at("look at", "the control socket", exit::FDS)?;
    if fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
        return Err(failure("start", "the pod", "stage1 is gone", exit::FDS));
    }
    Ok(())
}

/// The pod's own root: what apps have in common, and where they find it. Read-only, and never seen on the host. Returns
/// whether it has a procfs, which is for kernel settings only: each app gets its own.
fn build_root(root: &OwnedFd, journal: Option<(&str, OwnedFd)>) -> Result<bool> {
    let status = exit::NAMESPACE;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).at(
        "make private",
        "the mounts of the pod",
        status,
    )?;
    let quiet = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let noexec = quiet | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    // In a user namespace there is a new procfs only while a whole one is in sight, which is the host's.
    let proc = match mounts::filesystem("proc", &[], noexec) {
        Err(Errno::PERM) => None,
        other => Some(other.at("make file system", "proc", status)?),
    };
    // Any place will do to attach the new root to: the old one vanishes at once.
    mounts::pod_root()
        .and_then(|old| mounts::place(old, "proc"))
        .and_then(|place| mounts::attach(root, place))
        .at("attach", "the pod's root", status)?;
    mounts::change_root(root).at("change to", "the pod's root", status)?;
    type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)], MountAttrFlags);
    let has_proc = proc.is_some();
    if let Some(proc) = proc {
        mounts::directory(root, "proc")
            .and_then(|place| mounts::attach(proc, place))
            .at("mount", "proc", status)?;
    }
    let table: [Row; 2] =
        [("dev/shm", "tmpfs", &[("mode", "1777")], quiet), ("dev/mqueue", "mqueue", &[], noexec)];
    for (path, kind, options, attributes) in table {
        let place = mounts::directory(root, path).at("make directory", path, status)?;
        let mount = mounts::filesystem(kind, options, attributes).at("make file system", kind, status)?;
        mounts::attach(mount, place).at("mount", path, status)?;
    }
    if let Some((path, files)) = journal {
        mounts::directory(root, path)
            .and_then(|place| mounts::attach(files, place))
            .at("mount", path, status)?;
    }
    sys::set_attributes(root, sys::Attributes::READ_ONLY.and(sys::Attributes::NO_DEVICES), false).at(
        "make read-only",
        "the pod's root",
        status,
    )?;
    Ok(has_proc)
}

/// Writes a kernel setting of our namespaces, through the procfs that we have mounted ourselves.
fn set(root: &OwnedFd, file: &str, value: &str) -> Result<()> {
    use rustix::fs::{OFlags, ResolveFlags};
    let status = exit::NAMESPACE;
    let path = format!("proc/sys/{file}");
    let opened = mounts::open_in_root(root, &path, OFlags::WRONLY, ResolveFlags::NO_SYMLINKS).at(
        "open kernel setting",
        file,
        status,
    )?;
    rustix::io::write(&opened, value.as_bytes()).at("set kernel setting", file, status).map(drop)
}

/// Reaping needs no privilege. Whoever is in the pod cannot look into us: neither at our memory nor at our program.
fn give_up_privileges() -> Result<()> {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none).at("drop", "capabilities", exit::CAPABILITIES)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).at(
        "hide",
        "init",
        exit::CAPABILITIES,
    )
}

/// How long nothing happens until we take the pod for one that stays.
const SETTLES: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Reaps, and tells stage1 when somebody wants the pod's end, for as long as stage1 holds its end of the socket.
fn serve(control: &OwnedFd, signals: &OwnedFd) -> u8 {
    // machined: halt, poweroff, reboot, kexec.
    let realtime = sys::first_realtime_signal();
    let wants_end = |signal| {
        matches!(signal, libc::SIGTERM | libc::SIGINT | libc::SIGPWR)
            || (realtime + 3..=realtime + 6).contains(&signal)
    };
    let mut fds = [PollFd::new(signals, PollFlags::IN), PollFd::new(control, PollFlags::empty())];
    let mut settles = Some(SETTLES);
    loop {
        match rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, settles.as_ref())) {
            Ok(0) => {
                settles = None;
                sys::memory::give_back();
                continue;
            }
            Ok(_) => {}
            Err(_) => return exit::FDS,
        }
        if !fds[1].revents().is_empty() {
            // stage1 has let go of us; our end is the pod's.
            return 0;
        }
        match sys::read_signal(signals) {
            Ok(libc::SIGCHLD) => while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {},
            Ok(signal) if wants_end(signal) => say(control, b"P"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Failure;

    #[test]
    fn arguments_are_few() {
        let parse = |arguments: &[&str]| parse(arguments.iter().map(|a| (*a).to_owned()));
        let settings = vec![("kernel/sem".to_owned(), "1 2=3".to_owned())];
        let journal = Some("a/b".to_owned());
        let want = Options { hostname: "a".to_owned(), loopback: true, settings, journal };
        let words = ["--hostname=a", "--loopback", "--sysctl=kernel/sem=1 2=3", "--journal=a/b"];
        assert_eq!(parse(&words).unwrap(), want);
        let Failure { step, object, .. } = parse(&["--x"]).unwrap_err();
        assert_eq!((step.as_str(), object.as_str()), ("read argument", "--x"));
    }
}
