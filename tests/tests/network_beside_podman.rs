//! Pods and podman's containers side by side on one host.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rkt_tests::{Lan, Outcome, Rkt, args, host_busybox, is_testbed, run, wait_until};
use rustix::process::Signal;
use serde_json::json;

fn get(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address.parse().unwrap(), Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.lines().last().map(str::to_owned)
}

/// A podman with a storage of its own, on the host of one test.
struct Podman<'a> {
    rkt: &'a Rkt,
    directory: PathBuf,
    /// What it writes its rules with.
    driver: &'static str,
}

impl<'a> Podman<'a> {
    /// `None` where it is not installed, or writes its rules by other means.
    fn new(rkt: &'a Rkt, driver: &'static str) -> Option<Podman<'a>> {
        let netavark = Path::new("/usr/lib/podman/netavark");
        if !netavark.exists() || !Path::new("/usr/bin/podman").exists() {
            assert!(!is_testbed(), "podman or netavark is missing in the testbed");
            return None;
        }
        // "netavark 1.14.0"; it knows nftables since 1.10.
        let version = run(Command::new(netavark).arg("--version")).success().stdout;
        let minor = version.trim().split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap_or(0);
        if driver == "nftables" && minor < 10 && version.contains(" 1.") {
            return None;
        }
        let directory = rkt.files().join("podman");
        fs::create_dir(&directory).unwrap();
        Some(Podman { rkt, directory, driver })
    }

    fn command(&self, words: &[&str]) -> Command {
        let at = |name: &str| self.directory.join(name).display().to_string();
        let config = self.directory.join("containers.conf");
        let network =
            format!("[network]\nnetwork_backend=\"netavark\"\nnetwork_config_dir={:?}\n", at("networks"));
        fs::write(&config, format!("[containers]\npids_limit=0\n{network}")).unwrap();
        let mut command = self.rkt.lan().on_host("podman");
        command
            .args(["--root", &at("root"), "--runroot", &at("run"), "--tmpdir", &at("tmp")])
            .args(["--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=none"])
            .args(words)
            .env("CONTAINERS_CONF", config)
            .env("NETAVARK_FW", self.driver);
        command
    }

    fn run(&self, words: &[&str]) -> Outcome {
        run(&mut self.command(words))
    }
}

impl Drop for Podman<'_> {
    fn drop(&mut self) {
        // Containers do not end with who has started them.
        self.run(&["rm", "--all", "--force", "--time=0"]);
    }
}

fn side_by_side(driver: &'static str) {
    let rkt = Rkt::on_lan();
    let lan = rkt.lan();
    let Some(podman) = Podman::new(&rkt, driver) else {
        eprintln!("passed over: no podman with netavark and {driver} is installed");
        return;
    };
    let root = rkt.files().join("container");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::create_dir_all(root.join("w")).unwrap();
    fs::write(root.join("w/index.html"), "container\n").unwrap();
    fs::copy(host_busybox(), root.join("bin/busybox")).unwrap();
    let archive = rkt.files().join("container.tar");
    run(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".")).success();
    podman.run(&["import", "--quiet", &archive.display().to_string(), "container"]).success();

    let image = rkt.image("web", |image| {
        let port =
            json!([{"name": "http", "protocol": "tcp", "port": 80, "count": 1, "socketActivated": false}]);
        image
            .sh("mkdir -p /w; echo pod >/w/index.html; httpd -h /w; echo up; exec sleep 1000")
            .with("ports", port)
    });
    let container = [
        "run",
        "--detach",
        "--name=web",
        "--cgroups=disabled",
        "--cap-add=NET_RAW",
        "--network=bridge",
        "--publish=8090:80",
    ];
    let serve = ["container", "/bin/busybox", "httpd", "-f", "-h", "/w"];
    let start = || podman.run(&[&container[..], &serve].concat()).success();
    let stop = || podman.run(&["rm", "--force", "--time=0", "web"]).success();
    let reached = |port: u16| {
        let by_peer = lan.as_peer(|| get(&format!("{}:{port}", Lan::HOST)));
        let by_host = lan.as_host(|| get(&format!("127.0.0.1:{port}")));
        (by_peer == by_host).then_some(by_peer).flatten()
    };
    let ping = |address: &str| format!("ping -c 1 -W 2 {address}");
    let out = rkt.image("out", |image| image.sh(&ping(Lan::PEER)));
    let both_get_out = || {
        rkt.run_net(args![&out]).success();
        let ping = format!("/bin/busybox {}", ping(Lan::PEER));
        let mut words = vec!["exec", "web"];
        words.extend(ping.split(' '));
        podman.run(&words).success();
    };

    // Whoever comes first, and whoever goes first.
    start();
    let mut pod = rkt.start_net(args!["--port=http:8080", &image]);
    pod.wait_for("up");
    wait_until("the container", || reached(8090).as_deref() == Some("container"));
    assert_eq!(reached(8080).as_deref(), Some("pod"));
    both_get_out();
    stop();
    assert_eq!(reached(8080).as_deref(), Some("pod"), "the container has gone");
    start();
    wait_until("the container", || reached(8090).as_deref() == Some("container"));
    assert_eq!(reached(8080).as_deref(), Some("pod"));
    rkt.rkt(["net", "reload"]).success();
    both_get_out();
    pod.signal(Signal::TERM);
    pod.wait();
    assert_eq!(reached(8090).as_deref(), Some("container"), "the pod has gone");
    assert_eq!(reached(8080), None);
    lan.host_sh("nft flush ruleset").success();
    podman.run(&["network", "reload", "web"]).success();
    rkt.rkt(["net", "reload"]).success();
    both_get_out();
    stop();
}

#[test]
fn podman_with_nftables_and_rkt_are_good_neighbours() {
    side_by_side("nftables");
}

#[test]
fn podman_with_iptables_and_rkt_are_good_neighbours() {
    side_by_side("iptables");
}
