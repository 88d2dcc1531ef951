//! Pods found by their names on the host itself, by way of systemd-machined.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, process::Command};

use rkt_tests::{Launcher, Outcome, Rkt, args, run, wait_until};
use rustix::process::Signal;

/// What programs of the host find by a name.
fn found(database: &str, name: &str) -> Outcome {
    run(Command::new("getent").args(["-s", "hosts:mymachines", database, name]))
}

#[test]
fn the_host_finds_pods_by_the_names_of_their_machines() {
    if Launcher::under_test() != Launcher::Systemd {
        eprintln!("passed over: pods are machines where systemd launches them");
        return;
    }
    let all = fs::read_to_string("/etc/nsswitch.conf").unwrap();
    let hosts = all.lines().find(|line| line.starts_with("hosts:")).unwrap();
    assert!(hosts.contains("mymachines"), "libnss-mymachines is not installed: {hosts}");
    let rkt = Rkt::on_lan();
    let image = rkt.image("stay", |image| image.sh("echo up; exec sleep 1000"));
    let mut plain = rkt.start_net(args!["--net=default:IP=172.16.28.60", "--hostname=elsewhere", &image]);
    let name = format!("getent-{}", std::process::id());
    let mut named = rkt.start_net(args![
        "--net=default:IP=172.16.28.61",
        format!("--pod-name={name}"),
        "--hostname=elsewhere",
        &image
    ]);
    plain.wait_for("up");
    named.wait_for("up");
    for (machine, v4, v6) in [
        (format!("rkt-{}", plain.uuid()), "172.16.28.60", "fd72:6b74:1::3c"),
        (name.clone(), "172.16.28.61", "fd72:6b74:1::3d"),
    ] {
        // Apps start while machined hears of the pod.
        wait_until("the machine", || found("ahosts", &machine).status == 0);
        found("ahosts", &machine).success().stdout_has(v4).stdout_has(v6);
        // As everybody asks.
        let asked = run(Command::new("getent").args(["hosts", &machine])).success();
        assert!(asked.stdout.contains(v4) || asked.stdout.contains(v6), "{asked:?}");
    }
    // A host name is the pod's own affair.
    assert_ne!(found("hosts", "elsewhere").status, 0);
    for pod in [plain, named] {
        pod.signal(Signal::TERM);
        pod.wait();
    }
    wait_until("the name to be gone", || found("hosts", &name).status != 0);
}
