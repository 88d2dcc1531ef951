//! Networks of pods whose supervisor was killed, at every step of making and undoing them, and networks that somebody else
//! meddles with: gc, or the next pod, puts it right.
//!
//! Only debug builds can be killed at a step.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::TcpStream, path::PathBuf};

use rkt_pod::failpoint::names;
use rkt_tests::{Lan, Rkt, args, run, wait_until};
use rustix::process::{Signal, kill_process};
use serde_json::json;

/// Steps that only networks of plugins come to.
const PLUGINS: [&str; 1] = ["net-added"];

fn with_port(rkt: &Rkt, script: &str) -> PathBuf {
    let port = json!([{"name": "http", "protocol": "tcp", "port": 80, "count": 1, "socketActivated": false}]);
    rkt.image("web", |image| image.sh(script).with("ports", port))
}

fn steps() -> impl Iterator<Item = &'static str> {
    // Others than debug builds have none.
    names::NET.into_iter().filter(|name| cfg!(debug_assertions) && !PLUGINS.contains(name))
}

#[test]
fn gc_undoes_what_a_pod_had_at_any_step() {
    let rkt = Rkt::on_lan();
    let image = with_port(&rkt, "true");
    for step in steps() {
        let args =
            rkt.net_args(args!["--port=http:8080", "--pod-network-bandwidth=1M", "--pod-name=named", &image]);
        let end = run(rkt.command(args).env("RKT_FAILPOINT", step));
        assert_eq!(end.status, 128 + 9, "{step}: it was not killed\n{end:?}");
        rkt.collect();
        let names = rkt.data().join("networks/default/names");
        assert_eq!(std::fs::read_dir(names).into_iter().flatten().count(), 0, "{step}: its name is left");
        rkt.run_net(args!["--port=http:8080", &image]).success();
        rkt.collect();
    }
}

#[test]
fn gc_can_be_killed_at_any_step_itself() {
    let rkt = Rkt::on_lan();
    let image = with_port(&rkt, "true");
    for step in steps()
        .filter(|step| ["net-unfiltered", "net-unlinked", "net-forgotten", "net-released"].contains(step))
    {
        let args = rkt.net_args(args!["--port=http:8080", &image]);
        run(rkt.command(args).env("RKT_FAILPOINT", "net-told"));
        let end = run(rkt.command(["gc", "--grace-period=0s"]).env("RKT_FAILPOINT", step));
        assert_eq!(end.status, 128 + 9, "{step}: it was not killed\n{end:?}");
        rkt.collect();
    }
}

#[test]
fn the_next_pod_takes_over_address_and_port_of_a_dead_one_without_gc() {
    let rkt = Rkt::on_lan();
    let image = with_port(&rkt, "echo up; exec sleep 1000");
    for _ in 0..3 {
        let mut pod = rkt.start_net(args!["--net=default:IP=172.16.28.9", "--port=http:8080", &image]);
        pod.wait_for("up");
        kill_process(pod.supervisor(), Signal::KILL).unwrap();
        pod.wait();
    }
    let mut pod = rkt.start_net(args!["--port=http:8080", &image]);
    pod.wait_for("up");
    kill_process(pod.supervisor(), Signal::KILL).unwrap();
    pod.wait();
    // Nobody has called gc: the port is the new pod's all the same.
    let mut pod = rkt.start_net(args!["--port=http:8080", &image]);
    pod.wait_for("up");
    pod.signal(Signal::TERM);
    pod.wait();
}

#[test]
fn case_35_a_pod_that_restarts_all_the_time_leaves_nothing() {
    let rkt = Rkt::on_lan();
    let image = with_port(&rkt, "true");
    for _ in 0..15 {
        rkt.run_net(args!["--port=http:8080", &image]).success();
    }
    wait_until("interfaces, rules and addresses to be gone", || {
        let left = rkt.lan().host_sh("ip link | grep rkt-; nft list table inet rkt | grep 'elements ='");
        left.stdout.is_empty() && !rkt.rkt(["net", "list"]).success().stdout.contains('=')
    });
}

#[test]
fn case_41_an_exhausted_range_says_so_and_dead_pods_free_it() {
    let rkt = Rkt::on_lan();
    let conf = json!({"name": "small", "type": "rkt", "ipMasq": true, "ipam": {"subnet": "10.77.0.0/29"}});
    std::fs::create_dir(rkt.base().join("local/net.d")).unwrap();
    std::fs::write(rkt.base().join("local/net.d/10-small.conf"), conf.to_string()).unwrap();
    let image = with_port(&rkt, "echo up; exec sleep 1000");
    // Five at once get the five addresses that there are.
    let mut pods: Vec<_> = (0..5).map(|_| rkt.start_net(args!["--net=small", &image])).collect();
    let mut addresses = Vec::new();
    for pod in &mut pods {
        pod.wait_for("up");
        addresses.push(pod.status().value("networks").unwrap().to_owned());
    }
    addresses.sort();
    let want: Vec<String> = (2..=6).map(|last| format!("small:ip4=10.77.0.{last}")).collect();
    assert_eq!(addresses, want);
    let end = rkt.run_net(args!["--net=small", &image]);
    end.exits(254).stderr_has("network \"small\": all 5 addresses of 10.77.0.0/29 are taken");
    let dead = pods.pop().unwrap();
    kill_process(dead.supervisor(), Signal::KILL).unwrap();
    dead.wait();
    let mut next = rkt.start_net(args!["--net=small", &image]);
    next.wait_for("up");
    pods.push(next);
    for pod in pods {
        pod.signal(Signal::TERM);
        pod.wait();
    }
}

#[test]
fn case_42_a_firewall_that_drops_what_it_does_not_know_has_the_last_word() {
    let rkt = Rkt::on_lan();
    // As firewalld, or Docker by its policy, has it: what is dropped in one table is not saved by another.
    rkt.lan()
        .host_sh(
            "nft 'add table inet other; add chain inet other forward { type filter hook forward priority 10; policy drop; }'",
        )
        .success();
    let script = format!("ping -c 1 -W 2 {} >/dev/null && echo out || echo dropped", Lan::PEER);
    let image = rkt.image("ping", |image| image.sh(&script));
    let ping = || rkt.run_net(args![&image, "--caps-retain=CAP_NET_RAW"]).success();
    ping().stdout_is("dropped\n");
    let before = rkt.lan().host_sh("nft list table inet other").success().stdout;
    rkt.lan()
        .host_sh("nft add rule inet other forward iifname 'rkt-*' accept; nft add rule inet other forward oifname 'rkt-*' accept")
        .success();
    ping().stdout_is("out\n");
    rkt.lan().host_sh("nft flush chain inet other forward").success();
    let after = rkt.lan().host_sh("nft list table inet other").success().stdout;
    assert_eq!(before, after, "it is as its owner made it");
}

#[test]
fn case_42_reload_puts_flushed_rules_back() {
    let rkt = Rkt::on_lan();
    let image = with_port(&rkt, "mkdir /w; echo hi >/w/index.html; httpd -h /w; echo up; exec sleep 1000");
    let mut pod = rkt.start_net(args!["--port=http:8080", &image]);
    pod.wait_for("up");
    let lan = rkt.lan();
    let reached = || lan.as_peer(|| TcpStream::connect((Lan::HOST, 8080)).is_ok());
    assert!(reached());
    lan.host_sh("nft add table inet other; nft flush ruleset").success();
    assert!(!reached());
    rkt.rkt(["net", "check"]).exits(254).stderr_has("not in nftables any more");
    rkt.rkt(["net", "reload"]).success().stderr_has("4 entries").stderr_has("inet rkt");
    assert!(reached());
    rkt.rkt(["net", "check"]).success();
    // What others have stays as it is, and a second time changes nothing.
    lan.host_sh("nft add table inet other").success();
    rkt.rkt(["net", "reload"]).success();
    assert!(reached());
    lan.host_sh("nft list tables").success().stdout_has("table inet other");
    pod.signal(Signal::TERM);
    pod.wait();
}

#[test]
fn a_pod_ends_well_though_its_rules_were_flushed() {
    let rkt = Rkt::on_lan();
    let image = with_port(&rkt, "echo up; exec sleep 1000");
    let mut pod = rkt.start_net(args!["--port=http:8080", &image]);
    pod.wait_for("up");
    rkt.lan().host_sh("nft flush ruleset").success();
    pod.signal(Signal::TERM);
    let end = pod.wait().success();
    assert!(!end.stderr.contains("network"), "{end:?}");
}

#[test]
fn a_range_that_overlaps_with_the_hosts_networks_is_refused() {
    let rkt = Rkt::on_lan();
    std::fs::create_dir(rkt.base().join("local/net.d")).unwrap();
    let file = rkt.base().join("local/net.d/10-x.conf");
    let image = with_port(&rkt, "true");
    let write = |subnet: &str| {
        let conf = json!({"name": "x", "type": "rkt", "ipMasq": true, "ipam": {"subnet": subnet}});
        std::fs::write(&file, conf.to_string()).unwrap();
    };
    write("198.51.100.0/24");
    let end = rkt.run_net(args!["--net=x", &image]);
    end.exits(254)
        .stderr_has("network \"x\"")
        .stderr_has("overlaps with a network of this machine on interface lan0");
    write("172.16.28.0/23");
    rkt.run_net(args!["--net=x", &image]).refused(&["172.16.28.0/23", "172.16.28.0/24", "overlap"]);
}

#[test]
fn a_kernel_without_nftables_is_refused_by_name_before_anything_starts() {
    let rkt = Rkt::on_lan();
    let image = with_port(&rkt, "true");
    rkt.rkt(args!["fetch", &image]).success();
    let inner = rkt.command(rkt.net_args(args![&image]));
    let mut command = rkt.lan().on_host("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=socket"]);
    command.args(["-e", "inject=socket:error=EPROTONOSUPPORT:when=1"]);
    let end =
        run(command.arg(inner.get_program()).args(inner.get_args()).env("TMPDIR", rkt.base().join("tmp")));
    end.refused(&["nftables", "Protocol not supported"]);
    assert!(rkt.pods_on_disk().is_empty());
}
