//! `rkt events`: what happens to pods, as it happens.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use rkt_tests::{Launcher, Rkt, args};
use rustix::process::Signal;
use serde_json::Value;

/// A running `rkt events`. What machined does goes on beside the rest, and is kept apart.
struct Events {
    machines: Vec<Value>,
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Events {
    /// Starts it, and waits until it tells what happens.
    fn start(rkt: &Rkt) -> Events {
        let mut command: Command = rkt.command(args!["events", "--format=json"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let watches = format!("/proc/{}/fdinfo", child.id());
        // All places of pods are watched, and what is there already was looked at.
        rkt_tests::wait_until("six watches", || {
            let Ok(files) = fs::read_dir(&watches) else { return false };
            let watched = files.flatten().map(|file| fs::read_to_string(file.path()).unwrap_or_default());
            watched.map(|text| text.matches("inotify wd:").count()).sum::<usize>() >= 6
        });
        Events { machines: Vec::new(), child, lines }
    }

    /// What has happened to pods up to an event.
    fn until(&mut self, event: &str) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        while all.last().is_none_or(|last| last["event"] != event) {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "the end came before {event:?}: {all:?}");
            let told: Value = serde_json::from_str(&line).unwrap();
            let is_machined = told["machine"].is_string();
            if is_machined { &mut self.machines } else { &mut all }.push(told);
        }
        all
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn words(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

#[test]
fn the_life_of_a_pod_is_told() {
    let rkt = Rkt::new();
    let image = rkt.image("lives", |image| image.sh("exit 7"));
    rkt.run_pod(args![&image]).exits(7);
    let mut events = Events::start(&rkt);
    let file = rkt.files().join("uuid");
    let save = format!("--uuid-file-save={}", file.display());
    rkt.run_pod(args![&save, "--pod-name=told", &image]).exits(7);
    let uuid = fs::read_to_string(&file).unwrap();
    // What is gone before it was looked at cannot be told any more.
    let mut told = events.until("exited");
    rkt.rkt(args!["rm", &uuid]).success();
    told.extend(events.until("removed"));
    assert_eq!(words(&told), ["created", "started", "exited", "removed"]);
    assert!(told.iter().all(|event| event["name"] == uuid.as_str()), "{told:?}");
    assert_eq!(told[2]["app_statuses"]["lives"], 7);
    assert_eq!((&told[2]["pod_name"], &told[3]["pod_name"]), (&"told".into(), &"told".into()));
    // One that is prepared first.
    let uuid = rkt.rkt(args!["prepare", &image]).success().stdout.trim().to_owned();
    rkt.rkt(args!["run-prepared", "--net=none", &uuid]).exits(7);
    let told = events.until("exited");
    assert_eq!(words(&told), ["created", "prepared", "started", "exited"]);
    rkt.rkt(args!["gc", "--grace-period=0s"]).success();
    let told = events.until("removed");
    assert_eq!(words(&told), ["removed"]);
}

#[test]
fn a_pod_that_becomes_a_machine_is_told_so() {
    let rkt = Rkt::new();
    if rkt.launcher() == Launcher::Direct {
        return;
    }
    let image = rkt.image("machine", |image| image.sh("echo up; sleep 1000"));
    let mut early = rkt.start(args![&image]);
    early.wait_for("up");
    let name = format!("m{}", &early.uuid()[..8]);
    let mut events = Events::start(&rkt);
    let mut pod = rkt.start(args![format!("--pod-name={name}"), &image]);
    pod.wait_for("up");
    let machines = [format!("rkt-{}", early.uuid()), name.clone()];
    let uuids = [early.uuid().to_owned(), pod.uuid().to_owned()];
    for pod in [early, pod] {
        rkt.rkt(args!["stop", pod.uuid()]).success();
        pod.wait();
    }
    rkt.rkt(args!["run", "--net=none", "--pod-name=after", &image, "--exec=/bin/true"]).success();
    // All that was told before.
    while events.until("exited").last().unwrap()["pod_name"] != "after" {}
    let of = |index: usize| -> Vec<&str> {
        let own = events.machines.iter().filter(|event| event["machine"] == machines[index].as_str());
        own.inspect(|event| assert_eq!(event["name"], uuids[index].as_str()))
            .map(|event| event["event"].as_str().unwrap())
            .collect()
    };
    assert_eq!(of(0), ["unregistered"]);
    assert_eq!(of(1), ["registered", "unregistered"]);
}

#[test]
fn the_end_of_pods_that_are_killed_is_told() {
    let rkt = Rkt::new();
    let image = rkt.image("killed", |image| image.sh("echo up; exec sleep 1000"));
    let mut early = rkt.start(args![&image]);
    early.wait_for("up");
    let mut events = Events::start(&rkt);
    let mut pod = rkt.start(args![&image]);
    pod.wait_for("up");
    for pod in [early, pod] {
        let uuid = pod.uuid().to_owned();
        pod.signal(Signal::KILL);
        pod.wait();
        let told = events.until("exited");
        assert_eq!(told.last().unwrap()["name"], uuid.as_str(), "{told:?}");
    }
}

#[test]
fn it_ends_when_nobody_reads_and_sleeps_until_then() {
    let rkt = Rkt::new();
    let mut events = Events::start(&rkt);
    let switches = || {
        let status = fs::read_to_string(format!("/proc/{}/status", events.child.id())).unwrap();
        status.lines().find(|line| line.starts_with("voluntary")).unwrap().to_owned()
    };
    let before = switches();
    std::thread::sleep(std::time::Duration::from_millis(700));
    assert_eq!(switches(), before, "it woke up");
    let (reader, _) = std::io::pipe().unwrap();
    drop(std::mem::replace(&mut events.lines, BufReader::new(std::os::fd::OwnedFd::from(reader).into())));
    assert!(events.child.wait().unwrap().success());
}
