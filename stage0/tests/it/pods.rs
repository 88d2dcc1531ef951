//! What is shown of pods, and what is done to those that do not run.

use std::{
    fs,
    os::unix::fs::symlink,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{Data, lock, ran};

const A: &str = "aaaaaaaa-0000-4000-8000-000000000000";
const B: &str = "bbbbbbbb-0000-4000-8000-000000000000";
const C: &str = "cccccccc-0000-4000-8000-000000000000";

#[test]
fn the_list_has_a_row_for_each_app() {
    let data = Data::new();
    ran(&data.pod("run", A, &["web", "log"]), &[("web", 0)]);
    data.pod("prepared", B, &["one"]);
    data.pod("garbage", C, &["gone"]);
    let text = data.rkt(&["list", "--no-legend"]).exits(0).stdout;
    let cells: Vec<Vec<&str>> =
        text.lines().map(|line| line.split('\t').filter(|cell| !cell.is_empty()).collect()).collect();
    assert_eq!(cells[0][..4], ["aaaaaaaa", "web", "example.com/web:1.2", "exited"]);
    assert_eq!(cells[1], ["log", "example.com/log:1.2"]);
    assert_eq!(cells[2][..4], ["bbbbbbbb", "one", "example.com/one:1.2", "prepared"]);
    assert_eq!(cells.len(), 3);
    let full = data.rkt(&["list", "--full"]).exits(0).stdout;
    assert!(full.starts_with("UUID\t") && full.contains("IMAGE ID") && full.contains("+0000 UTC"), "{full}");
    assert!(full.contains(A) && full.contains("sha512-000000000000\t"), "{full}");
}

#[test]
fn an_empty_list_is_a_line_or_null() {
    let data = Data::new();
    assert_eq!(data.rkt(&["list", "--no-legend"]).exits(0).stdout, "\n");
    assert_eq!(data.rkt(&["list", "--format=json"]).exits(0).stdout, "null\n");
}

#[test]
fn lists_for_programs_are_arrays_of_pods() {
    let data = Data::new();
    ran(&data.pod("exited-garbage", A, &["web"]), &[("web", 7)]);
    let text = data.rkt(&["list", "--format=json"]).exits(0).stdout;
    let list: Value = serde_json::from_str(&text).unwrap();
    let pod = &list[0];
    assert_eq!(
        (&pod["name"], &pod["state"], &pod["app_names"][0]),
        (&A.into(), &"exited garbage".into(), &"web".into())
    );
    assert_eq!(pod["user_labels"]["team"], "blue");
    let seconds = pod["created_at"].as_i64().unwrap();
    let app = &pod["apps"][0];
    assert_eq!((&app["state"], &app["exit_code"]), (&"exited".into(), &7.into()));
    assert_eq!(app["created_at"].as_i64().unwrap() / 1_000_000_000, seconds);
    assert!(app["finished_at"].as_i64().unwrap() > 1_000_000_000_000_000_000);
    let pretty = data.rkt(&["list", "--format=json-pretty"]).exits(0).stdout;
    assert!(pretty.contains("\n\t\t\"name\": \""), "{pretty}");
    assert_eq!(
        serde_json::from_str::<Value>(&data.rkt(&["status", "--format=json", A]).exits(0).stdout).unwrap(),
        *pod
    );
}

#[test]
fn a_pod_that_is_broken_is_listed_and_told() {
    let data = Data::new();
    fs::write(data.pod("run", A, &["web"]).join("pod"), "{").unwrap();
    fs::remove_file(data.pod("exited-garbage", B, &["web"]).join("pod")).unwrap();
    fs::create_dir_all(data.path().join("data/pods/run/not-a-pod")).unwrap();
    symlink("/", data.path().join("data/pods/run").join(C)).unwrap();
    let list = data.rkt(&["list", "--no-legend"]).exits(0);
    assert!(list.stdout.starts_with("aaaaaaaa\t-\t") && list.stdout.lines().count() == 2, "{list:?}");
    assert!(list.stderr.contains("list: 2 error(s) encountered when listing pods:"), "{list:?}");
    data.rkt(&["status", A]).exits(0);
    data.rkt(&["cat-manifest", A]).exits(254).says("cat-manifest: ", "manifest");
    data.rkt(&["logs", A]).exits(254).says("logs: ", "manifest");
}

#[test]
fn status_lines_are_in_their_order() {
    let data = Data::new();
    let pod = data.pod("run", A, &["web", "log"]);
    ran(&pod, &[("web", 0), ("log", 137)]);
    let keys = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split('=').next().unwrap().to_owned()).collect()
    };
    let exited = data.rkt(&["status", A]).exits(0).stdout;
    assert_eq!(
        keys(&exited),
        ["state", "created", "started", "networks", "pid", "exited", "app-web", "app-log"]
    );
    assert!(exited.contains("state=exited\n") && exited.contains("exited=true\n"), "{exited}");
    assert!(exited.contains("pid=4242\n") && exited.contains("app-log=137\n"), "{exited}");
    let held = lock(&pod);
    let running = data.rkt(&["status", A]).exits(0).stdout;
    assert_eq!(keys(&running), ["state", "created", "started", "networks", "pid", "exited"]);
    assert!(running.contains("exited=false\n"), "{running}");
    drop(held);
    data.pod("prepared", B, &["web"]);
    assert_eq!(keys(&data.rkt(&["status", B]).exits(0).stdout), ["state", "created"]);
}

#[test]
fn uuids_are_prefixes_or_in_a_file() {
    let data = Data::new();
    data.pod("run", A, &["web"]);
    data.pod("run", "aaaaaaaa-0000-4000-8000-000000000001", &["web"]);
    data.pod("garbage", B, &["web"]);
    let file = data.path().join("uuid");
    fs::write(&file, format!("  {A}\n")).unwrap();
    let from_file = format!("--uuid-file={}", file.display());
    for words in [&["status", A][..], &["status", &A.to_uppercase()], &["status", &from_file]] {
        assert!(data.rkt(words).exits(0).stdout.starts_with("state=exited\n"));
    }
    let pretty = data.rkt(&["cat-manifest", &from_file]).exits(0).stdout;
    assert!(pretty.contains("\n\t\"apps\": ["), "{pretty}");
    let plain = data.rkt(&["cat-manifest", "--pretty-print=false", A]).exits(0).stdout;
    assert_eq!(plain.trim_end().lines().count(), 1);
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(value(&plain), value(&pretty));
    assert_eq!(value(&plain)["apps"][0]["name"], "web");
    for (words, part) in [
        (&["cat-manifest", "nothing"][..], "no matches found for \"nothing\""),
        (&["cat-manifest", B], "no matches found"),
        (&["cat-manifest", "aaaa"], "ambiguous uuid"),
        (&["cat-manifest", "../run"], "no matches found"),
        (&["status", A, &from_file], "--uuid-file"),
    ] {
        data.rkt(words).exits(254).says(&format!("{}: ", words[0]), part);
    }
    fs::write(&file, "\n").unwrap();
    data.rkt(&["cat-manifest", &from_file]).exits(254).says("cat-manifest: ", "UUID cannot be empty");
    // Told by the exit status, as rkt always did.
    data.rkt(&["status", "--uuid-file=/missing"]).exits(1);
    data.rkt(&["stop", "--uuid-file=/missing"]).exits(1);
    data.rkt(&["cat-manifest", "--uuid-file=/missing"]).exits(254);
}

#[test]
fn waiting_ends_with_the_pod_or_with_the_time() {
    let data = Data::new();
    let pod = data.pod("run", A, &["web"]);
    let held = lock(&pod);
    let start = Instant::now();
    data.rkt(&["status", "--wait=300ms", A]).exits(254).says("status: ", "timed out");
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert!(data.rkt(&["status", "--wait=0", A]).exits(0).stdout.starts_with("state=running\n"));
    drop(held);
    for flag in ["--wait", "--wait=true", "--wait=-1s", "--wait=1m", "--wait-ready"] {
        let held = lock(&pod);
        let release = thread::spawn(move || {
            thread::sleep(Duration::from_millis(200));
            drop(held);
        });
        let start = Instant::now();
        let status = data.rkt(&["status", flag, A]).exits(0);
        assert!(status.stdout.starts_with("state=exited\n"), "{flag} {status:?}");
        assert!(start.elapsed() >= Duration::from_millis(100), "{flag}");
        release.join().unwrap();
    }
}

#[test]
fn stop_passes_over_what_has_stopped() {
    let data = Data::new();
    data.pod("run", A, &["web"]);
    data.pod("prepared", B, &["web"]);
    let stopped = data.rkt(&["stop", A]).exits(0);
    assert_eq!(stopped.stdout, format!("pod \"{A}\" is already stopped\n"));
    let refused = data.rkt(&["stop", B, A, "missing"]).exits(254);
    assert!(refused.stdout.contains("already stopped"), "{refused:?}");
    assert!(
        refused.stderr.contains("is not running") && refused.stderr.contains("no matches found"),
        "{refused:?}"
    );
}

#[test]
fn rm_removes_what_does_not_work() {
    let data = Data::new();
    data.pod("run", A, &["web"]);
    data.pod("prepared", B, &["web"]);
    let held = lock(&data.pod("run", C, &["web"]));
    let removed = data.rkt(&["rm", A, C, "missing", B]).exits(254);
    assert_eq!(removed.stdout, format!("\"{A}\"\n\"{B}\"\n"));
    assert!(removed.stderr.contains("running") && removed.stderr.contains("no matches found"), "{removed:?}");
    assert!(removed.stderr.ends_with("rm: failed to remove one or more pods\n"), "{removed:?}");
    for place in ["prepared", "garbage", "exited-garbage"] {
        assert!(data.pods_in(place).is_empty(), "{place}");
    }
    assert_eq!(data.pods_in("run"), [C]);
    drop(held);
    data.rkt(&["rm", C]).exits(0);
}

#[test]
fn gc_marks_and_then_sweeps() {
    let data = Data::new();
    data.pod("run", A, &["web"]);
    let held = lock(&data.pod("run", B, &["web"]));
    data.pod("prepare", C, &["web"]);
    let marked = data.rkt(&["gc", "--mark-only"]).exits(0);
    assert!(marked.stderr.contains(&format!("gc: moving pod \"{A}\" to garbage\n")), "{marked:?}");
    assert!(marked.stderr.contains(&format!("gc: moving failed prepare \"{C}\" to garbage\n")), "{marked:?}");
    assert_eq!(
        (data.pods_in("run"), data.pods_in("exited-garbage")),
        (vec![B.to_owned()], vec![A.to_owned()])
    );
    assert_eq!(data.pods_in("garbage"), [C]);
    let kept = data.rkt(&["gc", "--grace-period=1h"]).exits(0);
    assert!(
        kept.stderr.contains(&format!("gc: pod \"{A}\" not removed: still within grace period")),
        "{kept:?}"
    );
    assert_eq!(kept.stdout, format!("Garbage collecting pod \"{C}\"\n"));
    data.pod("prepared", C, &["web"]);
    data.rkt(&["gc", "--grace-period=0s"]).exits(0);
    assert_eq!((data.pods_in("exited-garbage").len(), data.pods_in("prepared").len()), (0, 1));
    data.rkt(&["gc", "--expire-prepared=0"]).exits(0);
    assert_eq!((data.pods_in("prepared").len(), data.pods_in("garbage").len()), (0, 0));
    drop(held);
    data.rkt(&["gc", "--grace-period=0s"]).exits(0);
    assert!(data.pods_in("run").is_empty());
}

#[test]
fn case_34_the_lock_decides_who_collects() {
    let data = Data::new();
    let held = lock(&data.pod("exited-garbage", A, &["web"]));
    let garbage = lock(&data.pod("garbage", B, &["web"]));
    data.rkt(&["gc", "--grace-period=0s"]).exits(0);
    assert_eq!((data.pods_in("exited-garbage").len(), data.pods_in("garbage").len()), (1, 1));
    drop((held, garbage));
    for number in 0..40 {
        data.pod("run", &format!("dddddddd-0000-4000-8000-0000000000{number:02}"), &["web"]);
    }
    let collectors: Vec<_> = (0..4)
        .map(|_| {
            let mut command = data.command(&["gc", "--grace-period=0s"]);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    let mut collected = 0;
    for collector in collectors {
        let output = collector.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        collected += String::from_utf8(output.stdout).unwrap().lines().count();
    }
    assert_eq!(collected, 42, "each pod is collected by one of them");
    for place in ["run", "exited-garbage", "garbage"] {
        assert!(data.pods_in(place).is_empty(), "{place}");
    }
}

#[test]
fn nothing_outside_a_pod_is_removed_with_it() {
    let data = Data::new();
    let outside = data.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("keep"), "").unwrap();
    let pod = data.pod("run", A, &["web"]);
    for link in ["overlay", "sharedVolumes", "stage1/rootfs/link"] {
        symlink(&outside, pod.join(link)).unwrap();
    }
    data.rkt(&["rm", A]).exits(0);
    assert!(data.pods_in("run").is_empty() && outside.join("keep").exists());
}

#[test]
fn logs_are_shown_in_the_order_of_their_times() {
    let data = Data::new();
    let pod = data.pod("run", A, &["web", "log"]);
    data.rkt(&["logs", A]).exits(254).says("logs: ", "has not been started");
    fs::write(pod.join("runtime-config"), r#"{"supervisor":"direct","log":"files"}"#).unwrap();
    fs::create_dir(pod.join("logs")).unwrap();
    let time = |second: u32| format!("2026-01-02T03:04:{second:02}.000000000Z");
    let web = format!("{} stdout F one\n{} stderr P three\n{} stderr F  and\n", time(1), time(3), time(3));
    fs::write(pod.join("logs/web.log"), web).unwrap();
    fs::write(pod.join("logs/log.log"), format!("{} stdout F two\n", time(2))).unwrap();
    assert_eq!(data.rkt(&["logs", A]).exits(0).stdout, "web: one\nlog: two\nweb: three and\n");
    assert_eq!(data.rkt(&["logs", "--app=web", A]).exits(0).stdout, "one\nthree and\n");
    assert_eq!(data.rkt(&["logs", "-f", "--app=log", A]).exits(0).stdout, "two\n");
    data.rkt(&["logs", "--app=nothing", A]).exits(254).says("logs: ", "web, log");
    fs::remove_file(pod.join("logs/log.log")).unwrap();
    assert_eq!(data.rkt(&["logs", A]).exits(0).stdout, "web: one\nweb: three and\n");
}
