//! Sockets that a service manager listens at for the pod's apps (sd_listen_fds(3)), and whose they are.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result};
use appc::schema::{PodManifest, Port};
use rustix::{
    io::FdFlags,
    net::{SocketType, sockopt},
};

use crate::{output, pod::PodApp, sys};

/// The first one.
const FIRST: i32 = 3;

/// Most sockets of one app.
const MOST: usize = 32;

/// A socket that we were given.
#[derive(Debug)]
struct Given {
    socket: OwnedFd,
    /// What the service manager calls it (`FileDescriptorName=`).
    name: String,
    /// Whether it is for packets, and its port.
    port: Option<(bool, u16)>,
}

/// Those that no app has yet.
#[derive(Debug, Default)]
pub(crate) struct Sockets(Vec<Given>);

/// A socket of an app's, with the name of the port that it is for.
pub(crate) type Named = (String, OwnedFd);

impl Sockets {
    /// Takes over the sockets that were passed to this process, before anything else is opened or started.
    pub(crate) fn from_environment() -> Result<Sockets> {
        let variable = |name| std::env::var(name).unwrap_or_default();
        if variable("LISTEN_PID") != std::process::id().to_string() {
            return Ok(Sockets::default());
        }
        let count: i32 = variable("LISTEN_FDS").parse().unwrap_or(0);
        let names = variable("LISTEN_FDNAMES");
        let mut names = names.split(':');
        let mut all = Vec::new();
        for number in FIRST..FIRST.saturating_add(count.clamp(0, 1024)) {
            // Looked at before it is owned: whoever lies about the number of sockets does no more harm than that.
            let exists = std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok();
            anyhow::ensure!(exists, "LISTEN_FDS={count}: descriptor {number} is not open");
            let socket = sys::inherited(number);
            rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC)
                .with_context(|| format!("take over socket {number}"))?;
            let name = names.next().unwrap_or_default().to_owned();
            let port = port_of(&socket);
            all.push(Given { socket, name, port });
        }
        Ok(Sockets(all))
    }

    /// Takes out those of an app: for each of its ports that is `socketActivated` the ones of that name, and the ones that listen at
    /// the port of the host that it has in the pod's manifest, or else at its own.
    pub(crate) fn of(&mut self, manifest: &PodManifest, app: &PodApp) -> Result<Vec<Named>> {
        let mut found = Vec::new();
        for port in app.app.ports.iter().filter(|port| port.socket_activated) {
            let before = found.len();
            let (theirs, rest) =
                std::mem::take(&mut self.0).into_iter().partition(|given| is_for(given, manifest, port));
            self.0 = rest;
            let theirs: Vec<Given> = theirs;
            found.extend(theirs.into_iter().map(|given| (port.name.as_str().to_owned(), given.socket)));
            if found.len() == before {
                output::say(&format!(
                    "warning: app {:?}: no socket was passed for its port {:?} (start rkt by a socket unit)",
                    app.name(),
                    port.name.as_str()
                ));
            }
        }
        anyhow::ensure!(found.len() <= MOST, "app {:?}: more than {MOST} sockets", app.name());
        Ok(found)
    }

    /// Says which sockets no app has asked for, and closes them.
    pub(crate) fn close(self) {
        for Given { name, port, .. } in self.0 {
            let port = port.map(|(_, port)| format!(", port {port}")).unwrap_or_default();
            output::say(&format!("warning: socket {name:?}{port}: no app has a socketActivated port for it"));
        }
    }
}

fn is_for(given: &Given, manifest: &PodManifest, port: &Port) -> bool {
    let packets = match port.protocol.as_str() {
        "udp" => true,
        "tcp" => false,
        _ => return given.name == port.name.as_str(),
    };
    let on_host = manifest.ports.iter().find(|exposed| exposed.name == port.name);
    let first = on_host.map_or(port.port, |exposed| exposed.host_port);
    let last = u32::from(first) + u32::from(port.count.max(1)) - 1;
    given.name == port.name.as_str()
        || given
            .port
            .is_some_and(|(kind, number)| kind == packets && number >= first && u32::from(number) <= last)
}

/// Whether a socket is for packets, and its port, where it has one.
fn port_of(socket: impl AsFd) -> Option<(bool, u16)> {
    let packets = sockopt::socket_type(&socket).ok()? == SocketType::DGRAM;
    let address = std::net::SocketAddr::try_from(rustix::net::getsockname(&socket).ok()?).ok()?;
    Some((packets, address.port()))
}
