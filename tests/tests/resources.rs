//! Limits of apps and pods: what systemd shows of them, what is said where nothing can enforce them, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Stdio};

use rkt_tests::{Launcher, Rkt, args, run};
use serde_json::{Value, json};

/// Whether the kernel has a controller of cgroup v2 here.
fn has_controller(name: &str) -> bool {
    ["/sys/fs/cgroup/cgroup.controllers", "/sys/fs/cgroup/unified/cgroup.controllers"]
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .any(|given| given.split_whitespace().any(|controller| controller == name))
}

fn show(unit: &str, property: &str) -> String {
    let mut command = Command::new("systemctl");
    run(command.args(["show", "--value", "--property", property, unit])).success().stdout.trim().to_owned()
}

// APPC-124, APPC-273, APPC-274
#[test]
fn limits_are_properties_that_systemctl_shows() {
    let rkt = Rkt::new();
    if rkt.launcher() == Launcher::Direct {
        return;
    }
    let isolators = json!([
        {"name": "resource/memory", "value": {"limit": "1G", "request": "16Mi"}},
        {"name": "resource/cpu", "value": {"limit": "2", "request": "500m"}},
    ]);
    let image =
        rkt.image("limited", |image| image.sh("echo up; exec sleep 600").with("isolators", isolators));
    let mut pod = rkt.start(args![
        "--pod-memory=2Gi",
        "--pod-cpu=1",
        "--pod-pids-limit=500",
        "--pod-cpu-shares=2048",
        &image,
        "--memory=64Mi",
        "--pids-limit=50"
    ]);
    pod.wait_for("up");
    let status: Value = rkt.rkt(["status", "--format=json", pod.uuid()]).success().json();
    let runtime = &status["runtime"];
    let (unit, slice) = (runtime["units"][0].as_str().unwrap(), runtime["slice"].as_str().unwrap());
    for (of, property, value) in [
        (unit, "MemoryMax", "67108864"),
        (unit, "MemorySwapMax", "0"),
        (unit, "CPUQuotaPerSecUSec", "2s"),
        (unit, "CPUWeight", "20"),
        (unit, "TasksMax", "50"),
        (unit, "OOMPolicy", "kill"),
        (slice, "MemoryMax", "2147483648"),
        (slice, "CPUQuotaPerSecUSec", "1s"),
        (slice, "CPUWeight", "79"),
        (slice, "TasksMax", "500"),
    ] {
        assert_eq!(show(of, property), value, "{property} of {of}");
    }
    pod.signal(rustix::process::Signal::TERM);
    pod.wait();
}

// APPC-024, APPC-025, APPC-270, APPC-271
#[test]
fn what_cannot_be_enforced_is_named_and_refused_where_all_is_wanted() {
    let rkt = Rkt::new();
    let isolators = json!([
        {"name": "resource/memory", "value": {"limit": "1G"}},
        {"name": "resource/network-bandwidth", "value": {"default": true, "limit": "1M"}},
        {"name": "example.com/from-tomorrow", "value": {"any": "thing"}},
    ]);
    let image = rkt.image("wants", |image| image.sh("echo ran").with("isolators", isolators));
    let end = rkt.run_pod(args![&image]).success().stdout_is("ran\n");
    let end = end
        .stderr_has("warning: app \"wants\": resource/network-bandwidth: ")
        .stderr_has("warning: app \"wants\": example.com/from-tomorrow: ");
    let memory = "app \"wants\": resource/memory: ";
    assert_eq!(end.stderr.contains(memory), !has_controller("memory"), "{end:?}");
    let status = rkt.rkt(["status", "--format=json", &rkt.only_pod()]).success().json();
    let named = status["runtime"]["notEnforced"].as_array().unwrap();
    assert!(named.iter().any(|line| line.as_str().unwrap().contains("from-tomorrow")), "{named:?}");
    rkt.rkt(["status", &rkt.only_pod()]).success().stdout_has("not-enforced=app \"wants\": example.com/");
    // All or nothing.
    let end = rkt.run_pod(args!["--strict-isolators", &image]).exits(254);
    assert_eq!(end.stdout, "");
    end.stderr_has("nothing was started");
    // Nothing is said of an app that asks for nothing.
    let plain = rkt.image("plain", |image| image.sh("echo ran"));
    let end = rkt.run_pod(args!["--strict-isolators", &plain]).success().stdout_is("ran\n");
    assert!(!end.stderr.contains("warning"), "{end:?}");
}

// APPC-031
#[test]
fn amounts_that_are_none_are_refused_before_anything_is_started() {
    let rkt = Rkt::new();
    let image = rkt.image("refused", |image| image.sh("echo ran"));
    for (option, reason) in [
        ("--memory=-1", "could be counted"),
        ("--memory=0", "nothing to run with"),
        ("--memory=99999999999E", "could be counted"),
        ("--memory=much", "number"),
        ("--cpu=0.0", "nothing"),
        ("--cpu=100000000E", "could be counted"),
        ("--cpu-shares=1", "2"),
        ("--cpu-shares=many", "not a number"),
        ("--pids-limit=-5", "could be counted"),
        ("--block-iops=0", "nothing"),
    ] {
        let end = rkt.run_pod(args![&image, option]).exits(254).stderr_has(reason);
        assert_eq!(end.stderr.lines().count(), 1, "{end:?}");
        assert!(end.stderr.contains(option.split('=').next().unwrap()), "{end:?}");
    }
    rkt.run_pod(args!["--pod-memory=0", &image]).exits(254).stderr_has("--pod-memory");
    assert!(rkt.pods_on_disk().is_empty());
    let negative = json!([{"name": "resource/memory", "value": {"limit": "-64M"}}]);
    let image = rkt.image("negative", |image| image.sh("echo ran").with("isolators", negative));
    rkt.run_pod(args![&image]).exits(254).stderr_has("resource/memory").stderr_has("-64M");
    assert!(rkt.pods_on_disk().is_empty());
}

#[test]
fn resource_limits_are_those_of_who_starts_the_pod() {
    let rkt = Rkt::new();
    let look = "ulimit -Sn; ulimit -Hn; ulimit -c; ulimit -s; grep -c unlimited /proc/self/limits";
    let image = rkt.image("limits", |image| image.sh(look));
    let plain = rkt.command(rkt.run_args(args![&image]));
    let mut limited = Command::new("/bin/sh");
    let set = "ulimit -Sn 777; ulimit -Hn 5000; ulimit -c 0; ulimit -Ss 4096; grep -c unlimited /proc/self/limits; exec \"$@\"";
    limited.args(["-c", set, "sh"]).arg(plain.get_program()).args(plain.get_args()).stdin(Stdio::null());
    let end = run(&mut limited).success();
    let lines = end.lines();
    assert_eq!(lines[1..5], ["777", "5000", "0", "4096"], "{end:?}");
    assert_eq!(lines[0], lines[5], "all others, too: {end:?}");
}
