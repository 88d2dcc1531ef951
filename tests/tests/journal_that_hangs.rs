//! A journald that takes nothing for a while. Runs alone: there is one journald for all tests.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::Path, process::Command, thread::sleep, time::Duration};

use rkt_tests::{Launcher, Rkt, args, run, wait_until, wait_until_within};

/// A journald that is stopped in the middle of whatever it does, until this is dropped.
struct Hung;

impl Hung {
    fn now() -> Hung {
        signal("STOP");
        Hung
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        signal("CONT");
    }
}

fn signal(name: &str) {
    let signal = format!("--signal={name}");
    run(Command::new("systemctl").args(["kill", &signal, "systemd-journald.service"])).success();
}

fn without_journal(rkt: &Rkt) -> bool {
    rkt.launcher() == Launcher::Direct
}

#[test]
fn what_a_pod_wrote_is_found_when_journald_comes_to_it_after_the_pods_end() {
    let rkt = Rkt::new();
    if without_journal(&rkt) {
        return;
    }
    let image = rkt.image("short", |image| image.sh("echo heard; echo '<4>warned' >&2"));
    let hung = Hung::now();
    rkt.run_pod(args![&image]).success().stdout_is("heard\n");
    drop(hung);
    let uuid = rkt.only_pod();
    wait_until("the log", || rkt.rkt(["logs", &uuid]).success().stdout == "heard\nwarned\n");
}

#[test]
fn case_38_an_app_waits_for_journald_and_loses_nothing() {
    let rkt = Rkt::new();
    if without_journal(&rkt) {
        return;
    }
    let image = rkt.image("flood", |image| image.sh("seq 1 20000; echo all written >&2"));
    let hung = Hung::now();
    let pod = rkt.start(args![&image]);
    sleep(Duration::from_secs(2));
    assert!(!pod.stderr_so_far().contains("all written"), "nobody has taken what was written");
    drop(hung);
    let uuid = pod.uuid().to_owned();
    pod.wait().success();
    let all: String =
        (1..=20000).map(|number| format!("{number}\n")).chain(["all written\n".to_owned()]).collect();
    wait_until("the whole log", || rkt.rkt(["logs", &uuid]).success().stdout.len() >= all.len());
    assert!(rkt.rkt(["logs", &uuid]).success().stdout == all, "each line is there once, in its order");
}

#[test]
fn case_38_a_journald_that_hangs_does_not_keep_a_pod_from_stopping() {
    let rkt = Rkt::new();
    if without_journal(&rkt) {
        return;
    }
    let image = rkt.image("endless", |image| image.sh("while :; do seq 1 100000; done"));
    let hung = Hung::now();
    let pod = rkt.start(args![&image]);
    sleep(Duration::from_secs(1));
    let status = pod.status();
    let init = status.stdout.lines().find_map(|line| line.strip_prefix("pid=")).unwrap();
    assert!(Path::new("/proc").join(init).exists());
    rkt.rkt(["stop", pod.uuid()]).success();
    wait_until_within(Duration::from_secs(9), "the end of its processes", || {
        !Path::new("/proc").join(init).exists()
    });
    // machined, which has to hear of it, waits for journald.
    drop(hung);
    pod.wait().success();
}

#[test]
fn the_journal_of_a_unit_has_what_a_short_pod_wrote() {
    let rkt = Rkt::new();
    if without_journal(&rkt) {
        return;
    }
    let image = rkt.image("short", |image| image.sh("echo heard in its unit"));
    let unit = format!("rkt-test-short-{}.service", std::process::id());
    let mut service = Command::new("systemd-run");
    service.args(["--quiet", "--wait", "--collect"]).arg(format!("--unit={unit}"));
    let inner = rkt.command(rkt.run_args(args![&image]));
    service.arg(inner.get_program()).args(inner.get_args());
    let hung = Hung::now();
    run(&mut service).success();
    drop(hung);
    wait_until("the journal of the unit", || {
        let journal =
            run(Command::new("journalctl").args(["--quiet", "--output=cat", "-u", &unit])).success();
        journal.stdout.matches("heard in its unit\n").count() == 1
    });
}
