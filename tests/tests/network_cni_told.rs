//! What plugins of CNI are told besides of a pod that comes and goes: addresses that the user wants, and what is to be
//! collected.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rkt_tests::{Rkt, args, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};

fn net_d(rkt: &Rkt) -> PathBuf {
    let directory = rkt.base().join("local/net.d");
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// A network of the version with these plugins.
fn configure(rkt: &Rkt, name: &str, version: &str, plugins: &Value, further: (&str, bool)) {
    let mut list = json!({"name": name, "cniVersion": version, "plugins": plugins});
    list[further.0] = further.1.into();
    fs::write(net_d(rkt).join(format!("10-{name}.conflist")), list.to_string()).unwrap();
}

#[test]
fn addresses_that_the_user_wants_go_to_plugins_that_take_them() {
    let rkt = Rkt::on_lan();
    let plugins = json!([{"type": "bridge", "bridge": "cni-test0", "capabilities": {"ips": true}, "ipam": {"type": "static"}},
        {"type": "tuning", "capabilities": {"mac": true}}]);
    configure(&rkt, "p", "1.0.0", &plugins, ("disableCheck", false));
    let script =
        "ip -o addr show eth0 | grep -o -e 10.95.0.7/24 -e fd00:95::7/64; cat /sys/class/net/eth0/address";
    let image = rkt.image("shows", |image| image.sh(script));
    rkt.run_net(args!["--net=p:IP=10.95.0.7/24;MAC=02-11-22-33-44-55", &image])
        .success()
        .stdout_is("10.95.0.7/24\n02:11:22:33:44:55\n");
    rkt.run_net(args!["--net=p:IP=10.95.0.7/24;IP=[fd00:95::7]/64;MAC=02:11:22:33:44:56", &image])
        .success()
        .stdout_is("10.95.0.7/24\nfd00:95::7/64\n02:11:22:33:44:56\n");
}

/// A plugin that notes what it is asked to collect.
fn collector(rkt: &Rkt, name: &str, seen: &Path) {
    let answer = r#"{"cniVersion":"1.1.0","ips":[{"address":"10.97.0.9/24"}]}"#;
    let seen = seen.display();
    let script = format!(
        "#!/bin/sh\ncase $CNI_COMMAND in\nADD) echo '{answer}';;\n\
         GC) echo \"{name}$CNI_NETNS$CNI_CONTAINERID$CNI_IFNAME\" >{seen}; cat >>{seen};;\nesac\n"
    );
    let path = net_d(rkt).join(name);
    fs::write(&path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn plugins_are_asked_to_collect_what_pods_that_are_gone_have_left() {
    let rkt = Rkt::on_lan();
    let seen = rkt.files().join("seen");
    for (name, version) in [("new", "1.1.0"), ("old", "1.0.0")] {
        collector(&rkt, name, &seen);
        configure(&rkt, name, version, &json!([{"type": name}]), ("disableGC", false));
    }
    // Only version 1.1 of the interface has it.
    let asked = || {
        rkt.rkt(["net", "gc"]).success();
        let text = fs::read_to_string(&seen).unwrap();
        let (who, config) = text.split_once('\n').unwrap();
        assert_eq!(who, "new", "it is about no pod");
        serde_json::from_str::<Value>(config).unwrap()["cni.dev/valid-attachments"].clone()
    };
    let image = rkt.image("stays", |image| image.sh("echo up; exec sleep 1000"));
    let mut pod = rkt.start_net(args!["--net=new", &image]);
    pod.wait_for("up");
    assert_eq!(asked(), json!([{"containerID": pod.uuid(), "ifname": "eth0"}]));
    pod.signal(Signal::TERM);
    pod.wait();
    assert_eq!(asked(), json!([]));
    fs::remove_file(&seen).unwrap();
    configure(&rkt, "new", "1.1.0", &json!([{"type": "new"}]), ("disableGC", true));
    rkt.rkt(["net", "gc"]).success();
    assert!(!seen.exists(), "it was not to be asked");
    // What one says to be wrong is shown.
    configure(&rkt, "new", "1.1.0", &json!([{"type": "new"}]), ("disableGC", false));
    let fails = "#!/bin/sh\necho '{\"code\":7,\"msg\":\"not now\"}'; exit 1\n";
    fs::write(net_d(&rkt).join("new"), fails).unwrap();
    rkt.rkt(["net", "gc"]).exits(254).stderr_has("network \"new\": plugin \"new\": GC: not now");
}

/// A program that ends with the test.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn an_address_from_a_dhcp_server_beside_the_host() {
    let rkt = Rkt::on_lan();
    let files = rkt.files();
    let text = format!(
        "start 198.51.100.40\nend 198.51.100.49\ninterface lan0\nlease_file {0}/leases\npidfile {0}/udhcpd.pid\n\
         option subnet 255.255.255.0\noption router 198.51.100.2\noption dns 198.51.100.2\n",
        files.display()
    );
    fs::write(files.join("udhcpd.conf"), text).unwrap();
    fs::write(files.join("leases"), "").unwrap();
    let quiet = |command: &mut Command| {
        Service(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    };
    let server = quiet(rkt.lan().on_peer("busybox").args([
        "udhcpd".as_ref(),
        "-f".as_ref(),
        files.join("udhcpd.conf").as_os_str(),
    ]));
    let socket = files.join("dhcp.sock");
    let daemon = quiet(rkt.lan().on_host("/usr/lib/cni/dhcp").args([
        "daemon".as_ref(),
        "-socketpath".as_ref(),
        socket.as_os_str(),
    ]));
    wait_until("the daemon of the plugin", || socket.exists());
    let plugins = json!([{"type": "macvlan", "master": "lan0", "mode": "bridge",
        "ipam": {"type": "dhcp", "daemonSocketPath": socket}}]);
    configure(&rkt, "lan", "1.0.0", &plugins, ("disableCheck", false));
    let script = "ip -o -4 addr show eth0 | grep -o 198.51.100.4./24; ping -c 1 -W 2 198.51.100.2 >/dev/null && echo reached";
    let image = rkt.image("asks", |image| image.sh(script));
    let end = rkt.run_net(args!["--net=lan", &image, "--caps-retain=CAP_NET_RAW"]).success();
    let lines = end.lines();
    assert!(lines.len() == 2 && lines[0].starts_with("198.51.100.4") && lines[1] == "reached", "{end:?}");
    drop((server, daemon));
}
