//! `--pod-name`: names that stand for UUIDs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use rkt_tests::{Launcher, Rkt, args, run, wait_until};
use serde_json::json;

/// A name that no other test has: machines are the whole system's.
fn name(rkt: &Rkt) -> String {
    let base = rkt.base().file_name().unwrap().to_str().unwrap().to_ascii_lowercase();
    format!("{base}-web")
}

#[test]
fn a_name_stands_for_the_pod_as_long_as_it_lives() {
    let rkt = Rkt::new();
    let image = rkt.image("named", |image| image.sh("echo up; exec sleep 1000"));
    rkt.run_pod(args![&image, "--exec=/bin/true"]).success();
    assert!(!rkt.rkt(["list"]).success().lines()[0].contains("NETWORKS\tNAME"));
    let name = name(&rkt);
    let option = format!("--pod-name={name}");
    let mut pod = rkt.start(args![&option, &image]);
    pod.wait_for("up");
    wait_until("the pod's state", || pod.read("runtime-config").is_some());
    let list = rkt.rkt(["list"]).success();
    assert!(list.lines()[0].ends_with("\tNAME"), "{list:?}");
    assert_eq!(list.lines().iter().filter(|line| line.ends_with(&name)).count(), 1, "{list:?}");
    rkt.rkt(["status", &name]).success().stdout_has(&format!("pod-name={name}\n"));
    let status = rkt.rkt(["status", "--format=json", &name]).success().json();
    assert_eq!((&status["pod_name"], &status["name"]), (&json!(name), &json!(pod.uuid())));
    let inside = rkt.rkt(["enter", &name, "/bin/hostname"]).success();
    assert_eq!(inside.stdout, format!("rkt-{}\n", pod.uuid()));
    if rkt.launcher() == Launcher::Systemd {
        let shown = run(Command::new("machinectl").args(["show", "--property=Leader", "--value", &name]));
        assert_eq!(shown.success().stdout.trim(), pod.init().as_raw_nonzero().to_string());
        assert_eq!(status["runtime"]["machine"], json!(name));
    }
    // It is this pod's alone.
    let end = rkt.run_pod(args![&option, &image]).exits(254);
    end.stderr_has(&name).stderr_has(pod.uuid());
    assert_eq!(rkt.pods_on_disk().len(), 2);
    let uuid = pod.uuid().to_owned();
    rkt.rkt(["stop", &name]).success();
    pod.wait();
    // Then it is free, and means the pod that has it now.
    rkt.rkt(["status", &name]).success().stdout_has("state=exited");
    let second = rkt.rkt(args!["prepare", &option, &image]).success().stdout.trim().to_owned();
    assert_ne!(second, uuid);
    rkt.rkt(["status", &name]).success().stdout_has("state=prepared");
    rkt.rkt(["rm", &name]).success();
    assert_eq!(rkt.rkt(["list", "--no-legend"]).success().lines().len(), 2);
}

#[test]
fn a_prepared_pod_gets_its_name_when_it_is_run() {
    let rkt = Rkt::new();
    let image = rkt.image("later", |image| image.sh("echo up; exec sleep 1000"));
    let name = name(&rkt);
    let uuid = rkt.rkt(args!["prepare", &image]).success().stdout.trim().to_owned();
    let supervisor = format!("--supervisor={}", rkt.launcher().as_str());
    let option = format!("--pod-name={name}");
    let words = ["run-prepared", "--net=none", &supervisor, &option, &uuid];
    let mut running = rkt.command(words).stdout(std::process::Stdio::null()).spawn().unwrap();
    wait_until("the pod by its name", || {
        run(&mut rkt.command(["status", &name])).stdout.contains("state=running")
    });
    wait_until("its init", || run(&mut rkt.command(["status", &uuid])).stdout.contains("pid="));
    rkt.rkt(["stop", &name]).success();
    running.wait().unwrap();
}

#[test]
fn what_is_no_name_is_refused_before_anything_is_made() {
    let rkt = Rkt::new();
    let image = rkt.image("none", |image| image.sh("true"));
    let uuid = "0a000000-0000-4000-8000-000000000001";
    for wrong in ["", "Web", "a/b", "-a", uuid, &"x".repeat(65)] {
        rkt.run_pod(args![format!("--pod-name={wrong}"), &image]).exits(254).stderr_has("--pod-name");
    }
    assert!(rkt.pods_on_disk().is_empty());
}
