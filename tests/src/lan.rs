//! Hosts that are network namespaces: the one that rkt runs on, and a neighbour of it. The machine's own network is never
//! touched.

use std::{
    ffi::OsStr,
    fs,
    os::fd::AsFd,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
};

use rustix::{
    process::Pid,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::{
    outcome::Outcome,
    rkt::{run, wait_until},
};

/// Two hosts with a cable between them. Gone when it is dropped.
#[derive(Debug)]
pub struct Lan {
    host: Namespace,
    peer: Namespace,
}

/// A network namespace, held by a process that sleeps.
#[derive(Debug)]
struct Namespace(Child);

impl Namespace {
    fn new() -> Namespace {
        let child = Command::new("unshare")
            .args(["--net", "--", "sleep", "1000000"])
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare: apt-get install util-linux");
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        let theirs = PathBuf::from(format!("/proc/{}/ns/net", child.id()));
        wait_until("a network namespace", || fs::read_link(&theirs).is_ok_and(|theirs| theirs != own));
        Namespace(child)
    }

    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.0.id())).arg("--").arg(program);
        command
    }
}

impl Namespace {
    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(self.0.id().cast_signed(), work)
    }
}

/// Does something with a thread in the network namespace of a process: sockets that it makes are of that namespace.
pub fn in_network_of<T: Send>(process: Pid, work: impl FnOnce() -> T + Send) -> T {
    inside(process.as_raw_nonzero().get(), work)
}

fn inside<T: Send>(pid: i32, work: impl FnOnce() -> T + Send) -> T {
    let file = fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
    thread::scope(|scope| {
        let entered = scope.spawn(move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        });
        entered.join().unwrap()
    })
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Lan {
    /// The host's address.
    pub const HOST: &str = "198.51.100.1";
    /// The host's IPv6 address.
    pub const HOST6: &str = "2001:db8:77::1";
    /// The neighbour's address.
    pub const PEER: &str = "198.51.100.2";
    /// The neighbour's IPv6 address.
    pub const PEER6: &str = "2001:db8:77::2";
    /// The largest packet that the cable takes.
    pub const MTU: u32 = 1450;

    pub(crate) fn new() -> Lan {
        let lan = Lan { host: Namespace::new(), peer: Namespace::new() };
        let (peer, mtu) = (lan.peer.0.id().to_string(), Lan::MTU.to_string());
        let cable = [
            "link", "add", "lan0", "mtu", &mtu, "type", "veth", "peer", "name", "lan0", "mtu", &mtu, "netns",
            &peer,
        ];
        run(lan.on_host("ip").args(cable)).success();
        for (host, addresses, gateways) in [
            (&lan.host, [Lan::HOST, Lan::HOST6], [Lan::PEER, Lan::PEER6]),
            (&lan.peer, [Lan::PEER, Lan::PEER6], [Lan::HOST, Lan::HOST6]),
        ] {
            let ip = |words: &[&str]| drop(run(host.command("ip").args(words)).success());
            ip(&["link", "set", "lo", "up"]);
            for address in addresses {
                let prefix = if address.contains(':') { "64" } else { "24" };
                ip(&["addr", "add", &format!("{address}/{prefix}"), "dev", "lan0", "nodad"]);
            }
            ip(&["link", "set", "lan0", "up"]);
            // Only the host has a way out: the neighbour knows nothing of pods.
            if std::ptr::eq(host, &raw const lan.host) {
                gateways.iter().for_each(|gateway| ip(&["route", "add", "default", "via", gateway]));
            }
        }
        lan
    }

    /// A command on the host.
    pub fn on_host(&self, program: impl AsRef<OsStr>) -> Command {
        self.host.command(program)
    }

    /// A command on the neighbour.
    pub fn on_peer(&self, program: impl AsRef<OsStr>) -> Command {
        self.peer.command(program)
    }

    /// Does something with a thread on the host: sockets that it makes are the host's.
    pub fn as_host<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.host.inside(work)
    }

    /// Does something with a thread on the neighbour.
    pub fn as_peer<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.peer.inside(work)
    }

    /// Runs a line of shell on the host.
    #[track_caller]
    pub fn host_sh(&self, line: &str) -> Outcome {
        run(self.on_host("sh").args(["-c", line]))
    }

    /// Runs a line of shell on the neighbour.
    #[track_caller]
    pub fn peer_sh(&self, line: &str) -> Outcome {
        run(self.on_peer("sh").args(["-c", line]))
    }

    /// What pods have left on the host.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for (what, line) in [
            (
                "interface",
                "ip -oneline link | grep -v -E ': (lo|lan0|other0|cni-test[0-9]*|tunl0|sit0|ip6tnl0|gre0|gretap0|erspan0|ip6gre0|ip_vti0|ip6_vti0)[:@]'",
            ),
            ("route", "ip route | grep -v -E 'dev (lan0|other0)|linkdown'"),
            ("element of nftables", "nft list table inet rkt 2>/dev/null | grep -A3 'elements = '"),
        ] {
            let found = run(self.on_host("sh").args(["-c", line])).stdout;
            left.extend(found.lines().map(|line| format!("{what} {line}")));
        }
        left
    }
}
