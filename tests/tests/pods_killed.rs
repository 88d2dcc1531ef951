//! Pods of which `rkt`, stage1, init, `app-exec` or the app is killed, at every step of their lives: what is left is told
//! truthfully, what was written stays, and gc removes all.
//!
//! Only debug builds can be killed at a step.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    process::{Child, Stdio},
};

use rkt_pod::failpoint::names;
use rkt_tests::{Outcome, Rkt, args, run, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The steps at which stage1 has taken over, and the pod has not ended yet.
fn steps_of_stage1() -> impl Iterator<Item = &'static str> {
    let all = names::POD.into_iter().filter(|_| cfg!(debug_assertions));
    all.skip_while(|step| *step != "pod-loaded").take_while(|step| *step != "pod-ended")
}

/// The only pod, once nothing of it runs any more.
fn pod(rkt: &Rkt, step: &str) -> Option<Value> {
    let mut pods = Vec::new();
    wait_until(&format!("{step}: the end of the pod"), || {
        let list = rkt.rkt(["list", "--format=json"]).success().json();
        pods = list.as_array().cloned().unwrap_or_default();
        pods.iter().all(|pod| pod["state"] != "running")
    });
    assert!(pods.len() < 2, "{step}: {pods:?}");
    pods.pop()
}

fn status(rkt: &Rkt, pod: &Value, app: &str) -> Option<String> {
    let status = rkt.rkt(["status", pod["name"].as_str().unwrap()]).success();
    status.value(&format!("app-{app}")).map(str::to_owned)
}

/// Lets gc remove all, and checks that a pod of the same kind runs after that.
#[track_caller]
fn gone(rkt: &Rkt, step: &str, image: &std::path::Path) {
    rkt.collect();
    for place in ["embryo", "prepare", "prepared", "run", "exited-garbage", "garbage"] {
        let left = fs::read_dir(rkt.data().join("pods").join(place)).unwrap().count();
        assert_eq!(left, 0, "{step}: something is left in {place}");
    }
    rkt.run_pod(args![image]).exits(3);
    rkt.collect();
}

#[test]
fn case_29_whoever_makes_or_supervises_the_pod_is_killed() {
    let rkt = Rkt::new();
    let image = rkt.image("dies", |image| image.sh("echo ran; exit 3"));
    for step in names::POD.into_iter().filter(|_| cfg!(debug_assertions)) {
        let end =
            run(rkt.command(rkt.run_args(args!["--pod-name=named", &image])).env("RKT_FAILPOINT", step));
        assert_eq!(end.status, 128 + 9, "{step}: it was not killed\n{end:?}");
        let position = names::POD.iter().position(|name| *name == step).unwrap();
        let before = |other: &str| position < names::POD.iter().position(|name| *name == other).unwrap();
        let left = pod(&rkt, step);
        match left {
            None => assert!(before("pod-laid-out"), "{step}: no pod is listed"),
            Some(left) if before("pod-moved") => assert_eq!(left["state"], "aborted prepare", "{step}"),
            Some(left) => {
                assert_eq!(left["state"], "exited", "{step}");
                // What was written is told, and nothing that was not.
                let told = if before("pod-app-noted") { None } else { Some("3".to_owned()) };
                assert_eq!(status(&rkt, &left, "dies"), told, "{step}");
            }
        }
        gone(&rkt, step, &image);
    }
}

#[test]
fn case_29_who_prepares_a_pod_is_killed() {
    let rkt = Rkt::new();
    let image = rkt.image("prepares", |image| image.sh("exit 3"));
    for step in
        names::POD.into_iter().filter(|_| cfg!(debug_assertions)).take_while(|step| *step != "pod-executes")
    {
        let end = run(rkt.command(args!["prepare", &image]).env("RKT_FAILPOINT", step));
        assert_eq!(end.status, 128 + 9, "{step}: it was not killed\n{end:?}");
        let state = pod(&rkt, step).map(|pod| pod["state"].clone());
        match step {
            "pod-created" => assert_eq!(state, None),
            "pod-moved" => assert_eq!(state, Some("prepared".into())),
            _ => assert_eq!(state, Some("aborted prepare".into()), "{step}"),
        }
        rkt.rkt(["gc", "--grace-period=0s", "--expire-prepared=0s"]).success();
        gone(&rkt, step, &image);
    }
}

/// The pod's processes of this name: children of its supervisor, and what systemd has started.
fn victims(supervisor: Pid, uuid: &str, name: &str) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    let is_victim = |pid: Pid| {
        let read = |file: &str| {
            fs::read_to_string(format!("/proc/{}/{file}", pid.as_raw_nonzero())).unwrap_or_default()
        };
        let stat = read("stat");
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<i32>().ok());
        let is_child = parent == Some(supervisor.as_raw_nonzero().get());
        read("comm").trim() == name && (is_child || read("cgroup").contains(uuid))
    };
    pids.filter(|pid| is_victim(*pid)).collect()
}

fn is_stopped(process: &Child) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

/// Kills a process of the pod while stage1 is held up at a step. `None` where there is no such process then.
fn kill_at(rkt: &Rkt, step: &str, victim: &str, image: &std::path::Path) -> Option<Outcome> {
    let file = rkt.files().join("uuid");
    let save = format!("--uuid-file-save={}", file.display());
    let mut command = rkt.command(rkt.run_args(args![&save, image]));
    command.env("RKT_FAILPOINT_STOP", step).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut ended = false;
    wait_until(&format!("{step}: stage1 is held up"), || {
        ended = child.try_wait().unwrap().is_some();
        ended || is_stopped(&child)
    });
    assert!(!ended, "{step}: it ended before");
    let supervisor = Pid::from_child(&child);
    let uuid = fs::read_to_string(&file).unwrap();
    // Those that systemd starts come when they come.
    std::thread::sleep(std::time::Duration::from_millis(30));
    let found = victims(supervisor, &uuid, victim);
    for pid in &found {
        if kill_process(*pid, Signal::KILL).is_err() {
            // It has just ended.
        }
    }
    kill_process(supervisor, Signal::CONT).unwrap();
    let end = child.wait_with_output().unwrap();
    let outcome = Outcome::new(format!("{step}, killing {victim}"), &end);
    (!found.is_empty()).then_some(outcome)
}

/// Kills such a process at each step, and checks what is left.
fn each_step(victim: &str, status: &[i32]) {
    let rkt = Rkt::new();
    // It lives long enough to be killed.
    let image = rkt.image("victim", |image| image.sh("sleep 0.1; exit 3"));
    let mut killed = 0;
    for step in steps_of_stage1() {
        let Some(end) = kill_at(&rkt, step, victim, &image) else {
            rkt.collect();
            continue;
        };
        killed += 1;
        assert!(status.contains(&end.status), "{step}\n{end:?}");
        assert!(!end.stderr.is_empty() || end.status != 254, "{step}: it does not say why\n{end:?}");
        assert!(!end.stderr.contains("panicked"), "{step}\n{end:?}");
        assert_eq!(pod(&rkt, step).unwrap()["state"], "exited", "{step}");
        rkt.collect();
    }
    if cfg!(debug_assertions) {
        assert!(killed >= 3, "only {killed} steps have such a process");
    }
    rkt.run_pod(args![&image]).exits(3);
}

#[test]
fn case_29_init_is_killed() {
    // 226: the app does not get its namespaces any more. 143: systemd ends units of a scope that is gone.
    each_step("init", &[254, 226, 143, 137, 3]);
}

#[test]
fn case_29_app_exec_is_killed() {
    // 202: the one that is left cannot say any more which process is the app's.
    each_step("app-exec", &[254, 137, 202]);
}
