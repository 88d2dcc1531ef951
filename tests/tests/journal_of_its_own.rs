//! `--journal=pod`: a journal that a pod has for itself, as long as the pod is there.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use rkt_tests::{Launcher, Outcome, Rkt, args, run, wait_until};
use rustix::process::Signal;

fn journalctl(words: &[&str]) -> Outcome {
    run(Command::new("journalctl").args(["--no-pager", "--quiet", "--output=cat"]).args(words))
}

/// The units of the pod's own journald that are there.
fn units(uuid: &str) -> String {
    let pattern = format!("systemd-journald*@rkt-{uuid}.*");
    run(Command::new("systemctl").args(["list-units", "--all", "--no-legend", "--plain", &pattern])).stdout
}

#[test]
fn what_apps_say_is_there_while_the_pod_runs_and_until_it_is_collected() {
    let rkt = Rkt::new();
    let image = rkt.image("says", |image| image);
    if rkt.launcher() == Launcher::Direct {
        rkt.run_pod(args!["--journal=pod", &image]).refused(&["--journal=pod", "only where systemd"]);
        return;
    }
    let go = rkt.files().join("go");
    run(Command::new("mkfifo").arg(&go)).success();
    let volume = format!("--volume=go,kind=host,source={}", go.display());
    let exec = "exec < /go; echo hello; echo '<3>bad' >&2; read go; echo bye";
    let command = args![
        "--journal=pod",
        &volume,
        &image,
        "--mount=volume=go,target=/go",
        "--exec=/bin/sh",
        "--",
        "-c",
        exec
    ];
    let pod = rkt.start(command);
    let uuid = pod.uuid().to_owned();
    // Somebody who writes and says nothing: the app is there from now on.
    let writer = std::fs::OpenOptions::new().write(true).open(&go).unwrap();
    let machine = format!("rkt-{uuid}");
    wait_until("lines in the pod's journal", || {
        journalctl(&["--namespace", &machine, "RKT_APP_NAME=says"]).stdout == "hello\nbad\n"
    });
    journalctl(&["-M", &machine, "RKT_APP_NAME=says"]).success().stdout_is("hello\nbad\n");
    journalctl(&["-M", &machine, "--priority=err"]).success().stdout_is("bad\n");
    journalctl(&["RKT_STREAM=stdout", &format!("RKT_POD_UUID={uuid}")]).stdout_is("");
    rkt.rkt(args!["logs", &uuid]).success().stdout_is("hello\nbad\n");
    assert!(units(&uuid).contains(".service"), "{}", units(&uuid));
    drop(writer);
    pod.wait().success();
    wait_until("the pod's journald ends", || units(&uuid).is_empty());
    rkt.rkt(args!["logs", &uuid]).success().stdout_is("hello\nbad\nbye\n");
    journalctl(&["--namespace", &machine, "RKT_STREAM=stdout"]).success().stdout_is("hello\nbye\n");
    // What is left of it after the pod is collected, the end of the test looks for.
}

#[test]
fn the_pod_of_a_service_loses_none_of_its_last_words() {
    let rkt = Rkt::new();
    if rkt.launcher() == Launcher::Direct {
        return;
    }
    let image =
        rkt.image("last", |image| image.sh("i=0; while [ $i -lt 500 ]; do echo $i; i=$((i+1)); done"));
    let file = rkt.files().join("uuid");
    let save = format!("--uuid-file-save={}", file.display());
    let command = rkt.command(rkt.run_args(args!["--journal=pod", &save, "--private-users", &image]));
    let mut unit = Command::new("systemd-run");
    unit.args(["--wait", "--collect", "--quiet", "--"]).arg(command.get_program()).args(command.get_args());
    run(&mut unit).success();
    let uuid = std::fs::read_to_string(&file).unwrap();
    let want: String = (0..500).map(|line| format!("{line}\n")).collect();
    rkt.rkt(args!["logs", uuid.trim()]).success().stdout_is(&want);
    wait_until("the pod's journald ends", || units(uuid.trim()).is_empty());
}

#[test]
fn of_a_pod_that_was_killed_gc_takes_journald_and_files() {
    let rkt = Rkt::new();
    if rkt.launcher() == Launcher::Direct {
        return;
    }
    let image = rkt.image("killed", |image| image.sh("echo up; exec sleep 1000"));
    let pod = rkt.start(args!["--journal=pod", &image]);
    let uuid = pod.uuid().to_owned();
    wait_until("a line in the pod's journal", || rkt.rkt(args!["logs", &uuid]).stdout == "up\n");
    pod.signal(Signal::KILL);
    pod.wait();
    rkt.rkt(args!["logs", &uuid]).success().stdout_is("up\n");
    let began = Instant::now();
    rkt.rkt(args!["gc", "--grace-period=0s"]).success();
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(units(&uuid), "");
    assert!(!Path::new(&format!("/run/systemd/journal.rkt-{uuid}")).exists());
}

#[test]
fn a_terminal_has_no_journal() {
    let rkt = Rkt::new();
    let image = rkt.image("terminal", |image| image);
    rkt.run_pod(args!["--journal=pod", "--interactive", &image]).exits(254).stderr_has("cannot be used with");
}
