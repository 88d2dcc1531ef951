//! Limits that the kernel enforces. They need every controller of cgroup v2, which the testbed's virtual machine has.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    process::Command,
    time::{Duration, Instant},
};

use rkt_tests::{Launcher, Outcome, Rkt, args, run};

/// `rkt run` with all limits in force, or not at all. Without systemd rkt needs a cgroup of its own, as whoever wants
/// limits gives it.
fn run_pod(rkt: &Rkt, arguments: &[std::ffi::OsString]) -> Outcome {
    let mut all = args!["--strict-isolators"].to_vec();
    all.extend(arguments.iter().cloned());
    let inner = rkt.command(rkt.run_args(all));
    if rkt.launcher() == Launcher::Systemd {
        let mut inner = inner;
        return run(&mut inner);
    }
    let mut command = Command::new("systemd-run");
    command.args(["--scope", "--quiet", "--collect", "--property=Delegate=yes", "--"]);
    run(command.arg(inner.get_program()).args(inner.get_args()))
}

/// Takes so many mebibytes, and keeps them for a while.
fn hog(mebibytes: u32) -> String {
    format!("dd if=/dev/zero of=/dev/null bs={mebibytes}M count=1 && echo survived")
}

// APPC-274, APPC-275
#[test]
fn case_26_a_memory_hog_dies_at_its_limit_and_status_says_so() {
    let rkt = Rkt::new();
    let image = rkt.image("hog", |image| image.sh(&hog(200)));
    let end = run_pod(&rkt, &args![&image, "--memory=64Mi"]).exits(137).stdout_lacks("survived");
    end.stderr_has("app \"hog\": out of memory");
    let uuid = rkt.only_pod();
    let status = rkt.rkt(["status", &uuid]).success();
    status.stdout_has("app-hog=137\n").stdout_has("app-hog-oom-killed=true\n");
    let status = rkt.rkt(["status", "--format=json", &uuid]).success().json();
    assert_eq!(status["apps"][0]["oom_killed"], true, "{status}");
    rkt.collect();
    // With enough of it, nothing happens.
    run_pod(&rkt, &args![&image, "--memory=400Mi"]).success().stdout_has("survived");
    rkt.rkt(["status", &rkt.only_pod()]).success().stdout_lacks("oom");
}

#[test]
fn case_26_a_fork_bomb_stops_at_its_limit_and_another_app_lives() {
    let rkt = Rkt::new();
    let bomb = "(i=0; while [ $i -lt 100 ]; do sleep 3 & i=$((i+1)); done; echo not reached); exit 0";
    let bomb = rkt.image("bomb", |image| image.sh(bomb));
    let other = rkt.image("other", |image| image.sh("sleep 2; (echo still here)"));
    let end = run_pod(&rkt, &args![&bomb, "--pids-limit=20", &other]);
    assert!(end.stderr.contains("fork"), "{end:?}");
    end.stdout_has("other: still here").stdout_lacks("not reached");
}

// APPC-273, APPC-275
#[test]
fn a_processor_hog_gets_its_quota() {
    let rkt = Rkt::new();
    let spin = "timeout 4 sh -c 'while :; do :; done'; cat /sys/fs/cgroup/cpu.stat";
    let image = rkt.image("spin", |image| image.sh(spin));
    let start = Instant::now();
    let end = run_pod(&rkt, &args![&image, "--cpu=200m"]).success();
    let wall = start.elapsed();
    let usage = end.lines().iter().find_map(|line| line.strip_prefix("usage_usec ").map(str::to_owned));
    let used = Duration::from_micros(usage.unwrap().parse().unwrap());
    assert!(wall >= Duration::from_secs(4));
    assert!(used > wall / 20 && used < wall * 3 / 10, "{used:?} of {wall:?}");
}

// APPC-272
#[test]
fn a_pods_bound_holds_over_the_sum_of_its_apps() {
    let rkt = Rkt::new();
    // Each alone is well within its own limit and the pod's.
    let hold = "dd if=/dev/zero of=/dev/shm/$AC_APP_NAME bs=1M count=70 2>/dev/null && sleep 5 && echo kept";
    let first = rkt.image("first", |image| image.sh(hold));
    let second = rkt.image("second", |image| image.sh(hold));
    let both = args![&first, "--memory=100Mi", &second, "--memory=100Mi"];
    let mut bound = args!["--pod-memory=120Mi"].to_vec();
    bound.extend(both.iter().cloned());
    let end = run_pod(&rkt, &bound);
    assert_ne!(end.status, 0, "{end:?}");
    end.stderr_has("out of memory");
    rkt.collect();
    let end = run_pod(&rkt, &both).success();
    end.stdout_has("first: kept").stdout_has("second: kept");
}

// APPC-275
#[test]
fn writes_to_block_devices_are_held_back() {
    let rkt = Rkt::new();
    let write = "dd if=/dev/zero of=/noise bs=1M count=6 oflag=direct 2>/dev/null; echo written";
    let image = rkt.image("writer", |image| image.sh(write));
    let time = |arguments: &[std::ffi::OsString]| {
        let start = Instant::now();
        run_pod(&rkt, arguments).success().stdout_is("written\n");
        start.elapsed()
    };
    let free = time(&args![&image]);
    let held = time(&args![&image, "--block-bandwidth=1Mi"]);
    assert!(held > free + Duration::from_secs(3), "{held:?} and {free:?} without a limit");
}

/// `rkt run` as a service with these properties.
fn run_in_unit(rkt: &Rkt, properties: &[&str], arguments: &[std::ffi::OsString]) -> Outcome {
    let inner = rkt.command(rkt.run_args(arguments));
    let mut command = Command::new("systemd-run");
    command.args(["--wait", "--pipe", "--quiet", "--collect"]);
    command.args(properties.iter().map(|property| format!("--property={property}")));
    run(command.arg("--").arg(inner.get_program()).args(inner.get_args()))
}

#[test]
fn a_units_limits_hold_for_the_pod_that_it_wraps() {
    let rkt = Rkt::new();
    let image = rkt.image("hog", |image| image.sh(&hog(200)));
    let end = run_in_unit(&rkt, &["MemoryMax=100M"], &args![&image]).stdout_lacks("survived");
    assert_ne!(end.status, 0, "{end:?}");
    rkt.collect();
    run_in_unit(&rkt, &["MemoryMax=600M"], &args![&image]).success().stdout_has("survived");

    let bomb = "(i=0; while [ $i -lt 200 ]; do sleep 3 & i=$((i+1)); done; echo not reached); exit 0";
    let bomb = rkt.image("bomb", |image| image.sh(bomb));
    let end = run_in_unit(&rkt, &["TasksMax=50"], &args![&bomb]).stdout_lacks("not reached");
    assert!(end.stderr.contains("fork"), "{end:?}");

    // The second line is that of the children. What it takes to start is held back as well.
    let spin = rkt.image("spin", |image| image.sh("timeout 4 sh -c 'while :; do :; done'; times"));
    let end = run_in_unit(&rkt, &["CPUQuota=20%"], &args![&spin]).success();
    let user: f64 = end.lines()[1].split(['m', 's']).nth(1).unwrap().parse().unwrap();
    assert!((0.2..1.4).contains(&user), "{user} s of 4 s: {end:?}");
}
