//! The networks that rkt makes itself: addresses, ways out and in, and what is left of them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{io::Write, net::TcpListener};

use rkt_tests::{Lan, Rkt, args};
use rustix::process::Signal;

/// A pod that stays.
const STAY: &str = "echo up; exec sleep 1000";

/// The pod's address in a network, as `rkt status` shows it.
fn address(status: &rkt_tests::Outcome, kind: &str, network: &str) -> String {
    let line = status.value("networks").unwrap();
    let start = format!("{network}:{kind}=");
    let found = line.split(", ").find_map(|item| item.strip_prefix(&start));
    found.unwrap_or_else(|| panic!("no {start} in {line:?}")).to_owned()
}

#[test]
fn the_default_network_is_what_a_pod_gets_unasked() {
    let rkt = Rkt::on_lan();
    let image =
        rkt.image("net", |image| image.sh("ip -o -4 addr; ip -o -6 addr; ip route; ip -6 route; ip link"));
    for net in [None, Some("--net"), Some("--net=default")] {
        let net = net.map(std::ffi::OsString::from);
        let end = rkt.run_net(net.into_iter().chain(args![&image])).success();
        for part in [
            "172.16.28.",
            "/24",
            "fd72:6b74:1::",
            "default via 172.16.28.1 dev eth0",
            "default via fd72:6b74:1::1",
        ] {
            assert!(end.stdout.contains(part), "{part}\n{end:?}");
        }
        let mtu = end.lines().into_iter().find(|line| line.contains("eth0@")).unwrap();
        assert!(
            mtu.contains(&format!("mtu {}", Lan::MTU)) && mtu.contains("UP"),
            "as the way out has it: {mtu}"
        );
        assert!(end.stdout.contains("127.0.0.1/8"), "{end:?}");
        assert!(!end.stdout.contains("eth1"), "{end:?}");
    }
}

#[test]
fn a_pod_reaches_the_neighbour_as_if_it_were_the_host() {
    let rkt = Rkt::on_lan();
    let image = rkt.image("net", |image| {
        image.sh(&format!("for a in {} {}; do nc -w 5 $a 7000; done", Lan::PEER, Lan::PEER6))
    });
    let listener = rkt.lan().as_peer(|| TcpListener::bind("[::]:7000").unwrap());
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, from) = listener.accept().unwrap();
            writeln!(stream, "{}", from.ip().to_canonical()).unwrap();
        }
    });
    let end = rkt.run_net(args![&image]).success();
    server.join().unwrap();
    end.stdout_is(&format!("{}\n{}\n", Lan::HOST, Lan::HOST6));
}

#[test]
fn pods_reach_each_other_and_the_host() {
    let rkt = Rkt::on_lan();
    let server = rkt.image("server", |image| {
        image.sh("mkdir -p /w; echo hello >/w/index.html; echo up; exec httpd -f -h /w")
    });
    let mut pod = rkt.start_net(args![&server]);
    pod.wait_for("up");
    let status = pod.status();
    let (v4, v6) = (address(&status, "ip4", "default"), address(&status, "ip6", "default"));
    let line = format!("wget -q -O - http://{v4}/; wget -q -O - http://[{v6}]/; nc -w 2 172.16.28.1 7001");
    let client = rkt.image("client", |image| image.sh(&line));
    let listener = rkt.lan().as_host(|| TcpListener::bind("172.16.28.1:7001").unwrap());
    let host = std::thread::spawn(move || writeln!(listener.accept().unwrap().0, "host").unwrap());
    rkt.run_net(args![&client]).success().stdout_is("hello\nhello\nhost\n");
    host.join().unwrap();
    rkt.lan()
        .host_sh(&format!("busybox wget -q -O - http://{v4}/; busybox wget -q -O - http://[{v6}]/"))
        .success()
        .stdout_is("hello\nhello\n");
    pod.signal(Signal::TERM);
    pod.wait().success();
}

#[test]
fn default_restricted_has_no_way_out() {
    let rkt = Rkt::on_lan();
    let image = rkt.image("net", |image| {
        image.sh(&format!(
            "ip route | grep default; ping -c 1 -W 1 {} || echo no; ip route add default via 172.31.0.1; \
             ping -c 1 -W 1 {} || echo still no; ping -c 1 -W 1 172.31.0.1 >/dev/null && echo gateway",
            Lan::PEER,
            Lan::PEER
        ))
    });
    let end = rkt
        .run_net(args!["--net=default-restricted", &image, "--caps-retain=CAP_NET_ADMIN,CAP_NET_RAW"])
        .success();
    let words: Vec<&str> =
        end.lines().into_iter().filter(|line| line.ends_with("no") || *line == "gateway").collect();
    assert_eq!(words, ["no", "still no", "gateway"], "{end:?}");
    assert!(!end.stdout.contains("default via"), "{end:?}");
}

#[test]
fn a_pod_may_be_in_several_networks() {
    let rkt = Rkt::on_lan();
    let image =
        rkt.image("net", |image| image.sh("ip -o -4 addr show eth0; ip -o -4 addr show eth1; ip route"));
    let end = rkt.run_net(args!["--net=default-restricted,default", &image]).success();
    let lines = end.lines();
    // In the order of the names of their files.
    assert!(lines[0].contains("172.31.") && lines[1].contains("172.16.28."), "{end:?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("default via")).count(), 1, "{end:?}");
    rkt.run_net(args!["--net=default,nowhere", &image]).refused(&["networks not found: nowhere"]);
    rkt.run_net(args!["--net=default,default", &image]).refused(&["given twice"]);
}

#[test]
fn list_status_and_json_show_networks() {
    let rkt = Rkt::on_lan();
    let image = rkt.image("net", |image| image.sh(STAY));
    let mut pod = rkt.start_net(args!["--net=default:IP=172.16.28.77", &image]);
    pod.wait_for("up");
    let status = pod.status();
    assert_eq!(status.value("networks"), Some("default:ip4=172.16.28.77, default:ip6=fd72:6b74:1::4d"));
    let interface = status.value("network-default-interface").unwrap().to_owned();
    assert!(interface.starts_with("eth0 (rkt-"), "{interface}");
    rkt.rkt(["list"]).success().stdout_has("default:ip4=172.16.28.77");
    let json = rkt.rkt(["status", "--format=json", pod.uuid()]).success().json();
    let network = &json["networks"][0];
    for (key, want) in [
        ("netName", "default"),
        ("ifName", "eth0"),
        ("ip", "172.16.28.77"),
        ("mask", "255.255.255.0"),
        ("args", "IP=172.16.28.77"),
        ("gateway", "172.16.28.1"),
        ("pluginPath", ""),
    ] {
        assert_eq!(network[key], want, "{key}: {json}");
    }
    let conf = std::fs::read_to_string(network["netConf"].as_str().unwrap()).unwrap();
    assert!(conf.contains("\"ipMasq\":true"), "{conf}");
    let list = rkt.rkt(["net", "list"]).success();
    assert!(list.stdout.contains("default-restricted") && list.stdout.contains(&pod.uuid()[..8]), "{list:?}");
    rkt.run_net(args!["--net=default:IP=172.16.28.77", &image]).refused(&["172.16.28.77", "in use"]);
    let uuid = pod.uuid().to_owned();
    pod.signal(Signal::TERM);
    pod.wait().success();
    let status = rkt.rkt(["status", &uuid]).success();
    assert_eq!(status.value("networks"), Some("default:ip4=172.16.28.77, default:ip6=fd72:6b74:1::4d"));
    assert!(!rkt.rkt(["net", "list"]).success().stdout.contains(&uuid[..8]), "the address is free again");
}

#[test]
fn a_pod_gets_the_ipv6_address_that_is_wished_for() {
    let rkt = Rkt::on_lan();
    let image = rkt.image("net", |image| image.sh(STAY));
    for (wish, other) in [
        ("IP=[fd72:6b74:1::4d]", "fd72:6b74:1::4d"),
        ("IP=fd72:6b74:1::4e", "fd72:6b74:1::4e"),
        ("IP=172.16.28.79;IP=[fd72:6b74:1::4f]", "fd72:6b74:1::4f"),
    ] {
        let mut pod = rkt.start_net(args![format!("--net=default:{wish}"), &image]);
        pod.wait_for("up");
        assert_eq!(address(&pod.status(), "ip6", "default"), other, "{wish}");
        rkt.run_net(args![format!("--net=default:IP=[{other}]"), &image]).refused(&[other, "in use"]);
        pod.signal(Signal::TERM);
        pod.wait().success();
    }
    for (wish, parts) in [
        ("default:IP=[fd72:6b74:1::1]", ["fd72:6b74:1::/64", "fd72:6b74:1::2 to fd72:6b74:1::fe"]),
        ("default:IP=[fd00::5]", ["IP=fd00::5 is not an address of", "fd72:6b74:1::/64"]),
        ("default:IP=172.16.28.79;IP=[fd72:6b74:1::4d]", ["same number", "goes with 172.16.28.77"]),
        (
            "default:IP=[fd72:6b74:1::5];IP=[fd72:6b74:1::6]",
            ["IP=fd72:6b74:1::5", "one address of each kind"],
        ),
        ("default:IP=[fd72:6b74:1::5", ["IP=[fd72:6b74:1::5", "only IPv6 addresses"]),
        (
            "default:IP=172.16.28.5:default-restricted",
            ["172.16.28.5:default-restricted", "only IPv6 addresses"],
        ),
        ("default:default-restricted:IP=172.16.28.5", ["default-restricted:IP", "only IPv6 addresses"]),
        ("default:fd00::5", ["fd00::5", "must be KEY=VALUE"]),
    ] {
        rkt.run_net(args![format!("--net={wish}"), &image]).refused(&parts);
    }
}

#[test]
fn nobody_speaks_in_the_name_of_another_pod() {
    let rkt = Rkt::on_lan();
    let image = rkt.image("net", |image| {
        image.sh("ping -c 1 -W 1 172.16.28.1 >/dev/null && echo own; ip addr add 172.16.28.99/32 dev eth0; \
                  ping -c 1 -W 1 -I 172.16.28.99 172.16.28.1 >/dev/null || echo not another; \
                  ip route add 127.0.0.0/9 via 172.16.28.1 2>/dev/null; true")
    });
    rkt.run_net(args![&image, "--caps-retain=CAP_NET_ADMIN,CAP_NET_RAW"])
        .success()
        .stdout_is("own\nnot another\n");
}

#[test]
fn a_pod_with_users_of_its_own_has_networks_like_others() {
    let rkt = Rkt::on_lan();
    let script = format!(
        "id -u; ip -o -4 addr show eth0 | grep -o 172.16.28; ping -c 1 -W 2 {} >/dev/null && echo out",
        Lan::PEER
    );
    let image = rkt.image("net", |image| image.sh(&script));
    let end = rkt.run_net(args!["--private-users", &image, "--caps-retain=CAP_NET_RAW"]).success();
    end.stdout_is("0\n172.16.28\nout\n");
}
