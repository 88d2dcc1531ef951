//! Where each app's standard streams lead: `--stdin`, `--stdout`, `--stderr`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, os::unix::fs::MetadataExt, process::Stdio};

use rkt_tests::{Launcher, Outcome, Rkt, args, wait_until};
use serde_json::json;

fn log_of(rkt: &Rkt, uuid: &str, awaited: &str) -> Outcome {
    wait_until("the log", || rkt.rkt(["logs", uuid]).success().stdout.contains(awaited));
    rkt.rkt(["logs", uuid]).success()
}

#[test]
fn null_leads_nowhere_and_into_no_log() {
    let rkt = Rkt::new();
    let image = rkt.image("half", |image| image.sh("echo unheard; echo heard >&2; exit 3"));
    let end = rkt.run_pod(args![&image, "--stdout=null"]).exits(3).stdout_is("");
    assert_eq!(end.stderr, "heard\n");
    log_of(&rkt, &rkt.only_pod(), "heard").stdout_lacks("unheard");
}

#[test]
fn log_is_what_both_do_without_options() {
    let rkt = Rkt::new();
    let image = rkt.image("both", |image| image.sh("echo out; echo err >&2"));
    for words in [&[][..], &["--stdin=null", "--stdout=log", "--stderr=log"]] {
        let mut all = args![&image].to_vec();
        all.extend(words.iter().map(Into::into));
        let end = rkt.run_pod(all).success().stdout_is("out\n");
        assert_eq!(end.stderr, "err\n");
    }
}

#[test]
fn each_app_has_streams_of_its_own() {
    let rkt = Rkt::new();
    let image = rkt.image("two", |image| image.sh("echo out; echo err >&2"));
    let end = rkt
        .run_pod(args![&image, "--name=a", "--stderr=null", &image, "--name=b", "--stdout=null"])
        .success();
    assert_eq!((end.stdout.as_str(), end.stderr.as_str()), ("a: out\n", "b: err\n"));
}

#[test]
fn an_app_may_open_its_streams_again() {
    let rkt = Rkt::new();
    let script = "set -e; cat /dev/stdin; echo x >/dev/stdout; test -c /dev/stdout; echo ok >/dev/stderr";
    let image = rkt.image("again", |image| image.sh(script));
    let owner = || fs::metadata("/dev/null").map(|null| (null.uid(), null.gid(), null.mode())).unwrap();
    let before = owner();
    for users in ["--quiet", "--private-users"] {
        let end = rkt.run_pod(args![users, &image, "--user=1000", "--group=1000", "--stdout=null"]).success();
        assert_eq!((end.stdout.as_str(), end.stderr.as_str()), ("", "ok\n"), "{users}");
    }
    // Pipes are given to the app; this one is the host's.
    assert_eq!(owner(), before);
}

#[test]
fn nobody_has_to_read_what_leads_nowhere() {
    let rkt = Rkt::new();
    let image = rkt.image("much", |image| image.sh("seq 1 200000"));
    let mut command = rkt.command(rkt.run_args(args![&image, "--stdout=null"]));
    // Nobody reads from the pipe while the pod runs, and it is far too small.
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_prepared_pod_remembers_them() {
    let rkt = Rkt::new();
    let image = rkt.image("later", |image| image.sh("echo unheard; echo heard >&2"));
    let uuid = rkt.rkt(args!["prepare", &image, "--stdout=null"]).success().stdout.trim().to_owned();
    let manifest = rkt.rkt(["cat-manifest", &uuid]).success().json();
    assert_eq!(
        manifest["apps"][0]["annotations"],
        json!([{"name": "coreos.com/rkt/stage2/stdout", "value": "null"}])
    );
    let supervisor = format!("--supervisor={}", rkt.launcher().as_str());
    let end = rkt.rkt(["run-prepared", "--net=none", &supervisor, &uuid]).success().stdout_is("");
    assert_eq!(end.stderr, "heard\n");
    log_of(&rkt, &uuid, "heard").stdout_lacks("unheard");
}

#[test]
fn an_app_that_comes_later_has_them() {
    let rkt = Rkt::new();
    let image = rkt.image("late", |image| image.sh("echo unheard; echo heard >&2; exec sleep 1000"));
    let id = rkt.rkt(args!["fetch", &image]).success().stdout.trim().to_owned();
    let pod = rkt.start_command(&["app", "sandbox"], &[]);
    wait_until("the pod", || pod.read("runtime-config").is_some() && pod.dir().join("control").exists());
    rkt.rkt(["app", "add", pod.uuid(), &id, "--stdout=null"]).success();
    rkt.rkt(["app", "start", pod.uuid(), "--app=late"]).success();
    wait_until("its words", || pod.stderr_so_far().contains("late: heard"));
    assert_eq!(pod.stdout_so_far(), "");
    rkt.rkt(["stop", pod.uuid()]).success();
    pod.wait().success();
}

#[test]
fn with_the_terminal_the_apps_own_settings_do_not_count() {
    let rkt = Rkt::new();
    let image = rkt.image("inter", |image| image.sh("echo heard"));
    rkt.run_pod(args!["--interactive", &image, "--stdout=null"]).success().stdout_is("heard\n");
}

#[test]
fn what_cannot_be_had_is_refused_before_there_is_a_pod() {
    let rkt = Rkt::new();
    let image = rkt.image("wrong", |image| image.sh("echo ran"));
    for (option, word) in [
        ("--stdin", "log"),
        ("--stdin", "Stream"),
        ("--stdout", "interactive"),
        ("--stdout", ""),
        ("--stderr", "file"),
    ] {
        let flag = format!("{option}={word}");
        rkt.run_pod(args![&image, &flag]).refused(&[option, word, "null"]);
        rkt.rkt(args!["prepare", &image, &flag]).refused(&[option, word, "null"]);
    }
    rkt.run_pod(args!["--stdout=null", &image]).refused(&["--stdout", "must follow an image"]);
    rkt.run_pod(args![&image, "--annotation=coreos.com/rkt/stage2/stdout=file"])
        .refused(&["coreos.com/rkt/stage2/stdout=file"]);
    let id = rkt.rkt(args!["fetch", "--full", &image]).success().stdout.trim().to_owned();
    let manifest = json!({"acVersion": "0.8.11", "acKind": "PodManifest", "apps": [{"name": "a",
        "image": {"id": id}, "annotations": [{"name": "coreos.com/rkt/stage2/stderr", "value": "file"}]}]});
    let file = rkt.file("pod.json", manifest.to_string());
    rkt.run_pod(args![format!("--pod-manifest={}", file.display())]).refused(&["\"a\"", "stderr=file"]);
    assert_eq!(rkt.pods_on_disk(), Vec::<String>::new());
}

#[test]
fn an_app_without_output_has_an_empty_log() {
    let rkt = Rkt::new();
    let image = rkt.image("mute", |image| image.sh("echo out; echo err >&2"));
    rkt.run_pod(args![&image, "--stdout=null", "--stderr=null"]).success();
    let uuid = rkt.only_pod();
    rkt.rkt(["logs", &uuid]).success().stdout_lacks("out").stdout_lacks("err");
    if rkt.launcher() == Launcher::Direct {
        assert_eq!(fs::read_to_string(rkt.pod_dir(&uuid).join("logs/mute.log")).unwrap(), "");
    }
}
