//! `rkt ps`, `rkt stats` and `rkt wait`: running pods, seen from outside.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{thread, time::Duration};

use rkt_tests::{Rkt, args, run, wait_until};
use rustix::process::Signal;
use serde_json::Value;

#[test]
fn the_processes_of_a_pod_are_listed_by_app() {
    let rkt = Rkt::new();
    let first = rkt.image("first", |image| image.sh("sleep 1001 & echo up; exec sleep 1002"));
    let second = rkt.image("second", |image| image.user("7", "7").exec(&["/bin/sleep", "1003"]));
    let mut pod = rkt.start(args![&first, &second]);
    pod.wait_for("up");
    pod.process("sleep 1003");
    let list = rkt.rkt(["ps", "--format=json", pod.uuid()]).success().json();
    let found = |command: &str| {
        let mut all = list.as_array().unwrap().iter();
        all.find(|process| process["command"] == command)
            .cloned()
            .unwrap_or_else(|| panic!("{command}: {list}"))
    };
    // Where the pod has no cgroups, nobody can tell whose a process is.
    let knows = found("/bin/sleep 1003")["app"] == "second";
    for (command, app, uid) in
        [("sleep 1001", "first", 0), ("sleep 1002", "first", 0), ("/bin/sleep 1003", "second", 7)]
    {
        let process = found(command);
        assert_eq!(process["uid"], uid, "{process}");
        assert_eq!(process["app"] == app, knows, "{process}");
        let pid = process["pid"].as_i64().unwrap();
        assert_eq!(pid, i64::from(pod.process(command).as_raw_nonzero().get()));
        assert_ne!(process["pod_pid"], process["pid"]);
    }
    let init = list.as_array().unwrap().iter().find(|process| process["pod_pid"] == 1).unwrap();
    assert_eq!((&init["app"], &init["pid"]), (&Value::Null, &pod.init().as_raw_nonzero().get().into()));
    let table = rkt.rkt(["top", pod.uuid()]).success();
    assert!(table.lines()[0].starts_with("APP\t"), "{table:?}");
    table.stdout_has("sleep 1002");
    let uuid = pod.uuid().to_owned();
    pod.signal(Signal::TERM);
    pod.wait();
    rkt.rkt(["ps", &uuid]).exits(254).stderr_has("is not running");
    rkt.rkt(["stats", "--no-stream", &uuid]).exits(254).stderr_has("is not running");
}

#[test]
fn what_apps_take_is_shown_once_or_until_the_pod_ends() {
    let rkt = Rkt::new();
    let busy = rkt.image("busy", |image| image.sh("echo up; while :; do :; done"));
    let idle = rkt.image("idle", |image| image.sh("exec sleep 1000"));
    let mut pod = rkt.start(args![&busy, &idle]);
    pod.wait_for("up");
    pod.process("sleep 1000");
    let once = || rkt.rkt(["stats", "--no-stream", "--format=json", pod.uuid()]).success().json();
    let list = once();
    if list.as_array().unwrap().is_empty() {
        // Without cgroups nobody can tell whose a process is.
        return;
    }
    let of = |name: &str| list.as_array().unwrap().iter().find(|app| app["app"] == name).cloned().unwrap();
    assert!(of("busy")["cpu_percent"].as_f64() > of("idle")["cpu_percent"].as_f64(), "{list}");
    assert!(of("idle")["memory"].as_u64() > Some(0), "{list}");
    assert_eq!(of("idle")["pids"], 1);
    let table = rkt.rkt(["stats", "--no-stream", pod.uuid()]).success();
    assert_eq!(table.lines().len(), 3, "{table:?}");
    let uuid = pod.uuid().to_owned();
    let watch = thread::spawn({
        let mut command = rkt.command(["stats", "--interval=50ms", "--no-legend", &uuid]);
        move || run(&mut command)
    });
    thread::sleep(Duration::from_millis(400));
    pod.signal(Signal::TERM);
    pod.wait();
    let seen = watch.join().unwrap().success();
    assert!(seen.lines().len() >= 4, "{seen:?}");
    let wrong = rkt.rkt(["stats", "--interval=never", &uuid]).exits(254);
    wrong.stderr_has("never");
}

#[test]
fn waiting_ends_with_the_pod_and_tells_its_status() {
    let rkt = Rkt::new();
    let image =
        rkt.image("waited", |image| image.sh("echo up; while ! [ -e /go/now ]; do sleep 0.02; done; exit 5"));
    let volume = format!("--volume=go,kind=host,source={}", rkt.files().display());
    let mut pod = rkt.start(args![volume, &image, "--mount=volume=go,target=/go"]);
    pod.wait_for("up");
    let waiting = thread::spawn({
        let mut command = rkt.command(["wait", pod.uuid()]);
        move || run(&mut command)
    });
    thread::sleep(Duration::from_millis(200));
    assert!(!waiting.is_finished());
    rkt.file("now", "");
    let end = waiting.join().unwrap().success();
    end.stdout_is("5\n");
    let uuid = pod.uuid().to_owned();
    assert_eq!(pod.wait().status, 5);
    wait_until("the lock", || rkt.rkt(["status", &uuid]).stdout.contains("state=exited"));
    rkt.rkt(["wait", &uuid, "00000000"]).exits(254).stdout_is("5\n").stderr_has("no matches found");
}
