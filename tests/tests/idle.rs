//! What a pod that does nothing costs: little memory, and no wake-up.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, thread::sleep, time::Duration};

use rkt_tests::{Rkt, args, wait_until};
use rustix::process::{Pid, Signal};

/// A number of a process's status: kilobytes, or switches.
fn number(pid: Pid, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn what_only_the_start_needed_is_given_back_and_nobody_wakes_up() {
    let rkt = Rkt::new();
    let image = rkt.image("idle", |image| image.sh("echo up; exec sleep 1000"));
    let mut pod = rkt.start(args![&image]);
    pod.wait_for("up");
    let ours = [pod.supervisor(), pod.init()];
    let before = ours.map(|pid| number(pid, "RssFile:"));
    wait_until("memory is given back", || {
        ours.into_iter().zip(before).all(|(pid, before)| number(pid, "RssFile:") * 3 < before * 2)
    });
    let switches = || ours.map(|pid| number(pid, "voluntary_ctxt_switches:"));
    // What was given back is read again for the last time.
    sleep(Duration::from_millis(300));
    let before = switches();
    sleep(Duration::from_secs(2));
    assert_eq!(switches(), before, "somebody woke up");
    // All that was given back is there when it is needed.
    pod.signal(Signal::TERM);
    pod.wait().exits(0);
}
