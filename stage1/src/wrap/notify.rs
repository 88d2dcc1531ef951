//! The sockets at which apps say how they are, and the service manager that is told.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use libsystemd::daemon::{self, NotifyState};
use rkt_pod::{layout, stage1::NOTIFIES};
use rustix::{
    fs::{AtFlags, CWD, Mode},
    io::Errno,
    net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType},
    time::ClockId,
};

use super::{merged::Merged, sockets::Named};
use crate::{output, pod::PodApp};

/// Where an app finds its socket, as in a service of systemd's.
pub(crate) const SOCKET: &str = "/run/systemd/notify";

/// Bytes of a message, at most; what is longer is cut.
const LARGEST: usize = 4096;

/// How the apps of a pod are, and who wants to know.
#[derive(Debug)]
pub(crate) struct Notify {
    /// Whether a service manager listens.
    told: bool,
    merged: Merged,
    /// The apps' sockets, by their index.
    sockets: Vec<Option<OwnedFd>>,
    /// How long the service manager waits for a sign of life.
    watchdog: Option<Duration>,
    /// When we give one, where no app does.
    next_sign: Option<Instant>,
    /// What the service manager shows of the pod as long as no app says anything else.
    status: String,
    has_status: bool,
}

/// What an app gets that speaks for itself.
#[derive(Debug, Default)]
pub(crate) struct Taking {
    /// Its socket in the pod's directory, which is mounted at [`SOCKET`].
    pub(crate) socket: Option<String>,
    /// Variables of its environment.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// The sockets at which a service manager listens for it.
    pub(crate) listen: Vec<Named>,
}

impl Notify {
    /// For this pod.
    pub(crate) fn new(uuid: &str) -> Notify {
        let told = std::env::var_os("NOTIFY_SOCKET").is_some();
        let watchdog = daemon::watchdog_enabled(false).filter(|interval| told && *interval > Duration::ZERO);
        Notify {
            told,
            merged: Merged::default(),
            sockets: Vec::new(),
            watchdog,
            next_sign: None,
            status: format!("Pod {uuid} runs"),
            has_status: false,
        }
    }

    /// Says where the pod's apps are, which the service's own status does not show.
    pub(crate) fn is_in(&mut self, slice: Option<&str>) {
        if let Some(slice) = slice {
            self.status = format!("{} in {slice}", self.status);
        }
    }

    /// Adds an app, whose index is the next one, and makes its socket where its image or the pod says that it speaks
    /// for itself.
    pub(crate) fn add(&mut self, app: &PodApp) -> Result<Taking> {
        let annotation =
            app.runtime.annotations.get(NOTIFIES).or_else(|| app.image.annotations.get(NOTIFIES));
        let speaks = annotation == Some("true");
        let path = format!("{}/{}", layout::NOTIFY, self.sockets.len());
        self.merged.add(app.name(), speaks);
        if !speaks {
            self.sockets.push(None);
            return Ok(Taking::default());
        }
        let socket =
            listen(&path).with_context(|| format!("app {:?}: make its notify socket", app.name()))?;
        self.sockets.push(Some(socket));
        let mut environment = vec![("NOTIFY_SOCKET", SOCKET.to_owned())];
        environment.extend(self.watchdog.map(|interval| ("WATCHDOG_USEC", interval.as_micros().to_string())));
        Ok(Taking { socket: Some(path), environment, listen: Vec::new() })
    }

    /// Whether some app speaks for itself.
    pub(crate) fn speaks(&self) -> bool {
        self.merged.speaks()
    }

    /// Whether all apps are ready.
    pub(crate) fn is_ready(&self) -> bool {
        self.merged.is_ready()
    }

    /// The apps' sockets, each with its app's index.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let open = |(app, socket): (usize, &'_ Option<OwnedFd>)| socket.is_some().then_some(app);
        let apps = self.sockets.iter().enumerate().filter_map(open);
        apps.filter_map(|app| self.sockets[app].as_ref().map(|socket| (app, socket.as_fd())))
    }

    /// Takes in what an app has said.
    pub(crate) fn hear(&mut self, app: usize) {
        let Some(Some(socket)) = self.sockets.get(app) else { return };
        let mut buffer = [0; LARGEST];
        // Descriptors that come along are closed by the kernel: there is no room for them.
        let Ok((length, _)) = rustix::net::recv(socket, &mut buffer, RecvFlags::DONTWAIT) else { return };
        let said = self.merged.heard(app, &String::from_utf8_lossy(&buffer[..length]));
        self.tell(said);
    }

    /// The sandbox of an app is built.
    pub(crate) fn built(&mut self, app: usize) {
        let said = self.merged.built(app);
        self.tell(said);
    }

    /// An app has ended. What it said last waits at its socket.
    pub(crate) fn ended(&mut self, app: usize) {
        self.hear(app);
        let said = self.merged.ended(app);
        self.tell(said);
    }

    /// The pod is about to end.
    pub(crate) fn stopping(&mut self) {
        self.tell(vec!["STOPPING=1".to_owned()]);
    }

    /// The apps were told to reload. Those that speak for themselves say when they do and have done it.
    pub(crate) fn reloaded(&mut self) {
        if !self.speaks() && self.is_ready() {
            let now = rustix::time::clock_gettime(ClockId::Monotonic);
            let now = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
            self.tell(vec!["RELOADING=1".to_owned(), format!("MONOTONIC_USEC={now}")]);
            self.tell(vec!["READY=1".to_owned()]);
        }
    }

    /// When [`Notify::sign`] is to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.next_sign
    }

    /// Gives a sign of life where it is time and no app does: that the supervisor lives is all that is known then.
    pub(crate) fn sign(&mut self) {
        let now = Instant::now();
        if self.next_sign.is_some_and(|next| next <= now) {
            self.tell(vec!["WATCHDOG=1".to_owned()]);
            self.next_sign = self.watchdog.map(|interval| now + interval / 2);
        }
    }

    fn tell(&mut self, mut said: Vec<String>) {
        if !self.told || said.is_empty() {
            return;
        }
        self.has_status |= said.iter().any(|line| line.starts_with("STATUS="));
        if said.iter().any(|line| line == "READY=1") {
            if !self.has_status {
                said.push(format!("STATUS={}", self.status));
            }
            if !self.merged.speaks() && self.next_sign.is_none() {
                self.next_sign = self.watchdog.map(|interval| Instant::now() + interval / 2);
            }
        }
        let states: Vec<NotifyState> = said.into_iter().map(NotifyState::Other).collect();
        if let Err(error) = daemon::notify(false, &states) {
            output::say(&format!("warning: tell the service manager: {error}"));
            self.told = false;
        }
    }
}

/// Makes a socket in the pod's directory, the working directory. Whoever has a way to it may write to it: that is who
/// owns the pod, and the app that it is mounted in.
fn listen(path: &str) -> Result<OwnedFd> {
    match rustix::fs::mkdir(layout::NOTIFY, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(0o666), AtFlags::empty())?;
    Ok(socket)
}
