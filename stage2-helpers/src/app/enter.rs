//! Joining the pod.
//!
//! A process becomes a member of a PID namespace by being born in it. The direct launcher starts us there. systemd starts
//! us outside: we then make a sibling of ourselves inside, which becomes the app and is systemd's child as we are. We are
//! its herald: we name it to systemd as the unit's main process, tell it when that is understood, and end.

use std::{
    env,
    io::ErrorKind,
    os::{
        fd::{AsFd, OwnedFd},
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::{Errno, IoSlice},
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags},
    pipe::PipeFlags,
    process::Pid,
    thread::ThreadNameSpaceType,
};

use super::{POD_NAMESPACES, receive::Descriptors, report};
use crate::{
    control::{Report, exit},
    failure::{At, Result, failure, words},
    spec::AppSpec,
    sys::{self, Fork},
};

/// How long systemd may take to read a message, in seconds.
const PATIENCE: i64 = 20;

/// The exit status of a process that was killed.
const KILLED: u8 = 128 + 9;

/// Which process we are now.
#[derive(Debug)]
pub(super) enum Role {
    /// The one that becomes the app.
    App(Word),
    /// The one that has announced it and is done.
    Herald(u8),
}

/// The herald's word that the app may be executed.
#[derive(Debug)]
pub(super) struct Word(Option<OwnedFd>);

impl Word {
    /// Waits for it. An app that ended before systemd knew it would be taken for none.
    pub(super) fn wait(self) -> Result<()> {
        let Some(pipe) = self.0 else { return Ok(()) };
        let mut byte = [0];
        let read = rustix::io::retry_on_intr(|| rustix::io::read(&pipe, &mut byte));
        match read.at("wait for", "systemd", exit::FDS)? {
            0 => Err(failure("announce", "the app to systemd", "app-exec ended before it could", exit::FDS)),
            _ => Ok(()),
        }
    }
}

/// Joins the pod's namespaces.
pub(super) fn pod(spec: &AppSpec, descriptors: &Descriptors, control: &OwnedFd) -> Result<Role> {
    let join = |namespaces| {
        rustix::thread::move_into_thread_name_spaces(descriptors.init.as_fd(), namespaces).at(
            "join",
            "the pod's namespaces",
            exit::NAMESPACE,
        )
    };
    if !spec.enter_pid_namespace {
        join(POD_NAMESPACES)?;
        return Ok(Role::App(Word(None)));
    }
    // systemd's socket is on the host, which is out of sight once we have joined.
    let systemd = notify_socket()?;
    join(POD_NAMESPACES | ThreadNameSpaceType::PROCESS_ID)?;
    let (word, tell) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).at("make", "a pipe", exit::FDS)?;
    match sys::fork(true).at("enter", "the pod's PID namespace", exit::NAMESPACE)? {
        Fork::Child => Ok(Role::App(Word(Some(word)))),
        Fork::Parent(app) => {
            // So that a word to a process that is gone is an error.
            drop(word);
            let pid = app.as_raw_nonzero().get().unsigned_abs();
            report(control, &Report::Started { pid });
            announce(&systemd, app)?;
            match rustix::io::write(&tell, &[1]) {
                Ok(_) => Ok(Role::Herald(0)),
                // It is dead: it has said why, or was killed with the pod.
                Err(Errno::PIPE) => Ok(Role::Herald(KILLED)),
                Err(errno) => Err(errno).at("tell", "the app", exit::FDS),
            }
        }
    }
}

fn notify_socket() -> Result<UnixDatagram> {
    let step = |error: std::io::Error| {
        failure("connect to", "systemd's notification socket", error.kind(), exit::FDS)
    };
    let name = env::var_os("NOTIFY_SOCKET").ok_or_else(|| step(ErrorKind::NotFound.into()))?;
    let address = match name.as_bytes().split_first() {
        Some((b'@', rest)) => SocketAddr::from_abstract_name(rest),
        _ => SocketAddr::from_pathname(&name),
    };
    let socket = UnixDatagram::unbound().map_err(step)?;
    socket.connect_addr(&address.map_err(step)?).map_err(step)?;
    Ok(socket)
}

/// Names the app's process to systemd, and waits until systemd has read it.
fn announce(systemd: &UnixDatagram, app: Pid) -> Result<()> {
    let object = "the app to systemd";
    let message = format!("MAINPID={}\nREADY=1", app.as_raw_nonzero());
    systemd.send(message.as_bytes()).map_err(|error| failure("announce", object, error.kind(), exit::FDS))?;
    let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).at("announce", object, exit::FDS)?;
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [theirs.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    rustix::net::sendmsg(systemd, &[IoSlice::new(b"BARRIER=1")], &mut ancillary, SendFlags::NOSIGNAL).at(
        "announce",
        object,
        exit::FDS,
    )?;
    drop(theirs);
    // systemd closes its copy when it comes to this message, after the one before.
    let mut fds = [PollFd::new(&ours, PollFlags::empty())];
    let timeout = Timespec { tv_sec: PATIENCE, tv_nsec: 0 };
    match rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&timeout))) {
        Ok(0) => Err(failure("announce", object, "no answer", exit::FDS)),
        Ok(_) => Ok(()),
        Err(errno) => Err(failure("announce", object, words(errno), exit::FDS)),
    }
}
