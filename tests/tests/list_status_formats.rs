//! `rkt list` and `rkt status`: columns, values, JSON.

use std::time::{Duration, Instant};

use rkt_tests::{Rkt, args};
use rustix::process::Signal;

#[test]
fn list_has_rkts_columns() {
    let rkt = Rkt::new();
    let image = rkt.image("web", |image| image);
    rkt.run_pod(args![&image, "--name=one", &image, "--name=two"]).success();
    let uuid = rkt.only_pod();
    let cells =
        |line: &str| line.split('\t').filter(|c| !c.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let list = rkt.rkt(["list"]).success();
    let lines = list.lines();
    assert_eq!(lines.len(), 3, "{list:?}");
    assert_eq!(cells(lines[0]), ["UUID", "APP", "IMAGE NAME", "STATE", "CREATED", "STARTED", "NETWORKS"]);
    let first = cells(lines[1]);
    assert_eq!(first[..4], [&uuid[..8], "one", "test.invalid/web:1.0", "exited"]);
    assert!(first[4].ends_with("ago") || first[4] == "now", "{list:?}");
    assert_eq!(cells(lines[2]), ["two", "test.invalid/web:1.0"], "pod-wide cells only in the first row");

    let full = rkt.rkt(["list", "--full"]).success();
    let lines = full.lines();
    assert_eq!(cells(lines[0])[..4], ["UUID", "APP", "IMAGE NAME", "IMAGE ID"]);
    let row = cells(lines[1]);
    assert_eq!(row[0], uuid);
    assert!(row[3].starts_with("sha512-") && row[3].len() == 19, "{full:?}");

    let bare = rkt.rkt(["list", "--no-legend"]).success();
    assert_eq!(bare.lines().len(), 2);
    assert!(!bare.stdout.contains("UUID"));
}

#[test]
fn list_is_json_on_request() {
    let rkt = Rkt::new();
    rkt.rkt(["list", "--format=json"]).success().stdout_is("null\n");
    rkt.rkt(["list", "--no-legend"]).success().stdout_is("\n");
    let image = rkt.image("web", |image| image.sh("exit 3"));
    rkt.run_pod(args![&image]).exits(3);
    let list = rkt.rkt(["list", "--format=json"]).success();
    assert_eq!(list.lines().len(), 1, "one line\n{list:?}");
    let pods = list.json();
    assert_eq!(pods[0]["name"], rkt.only_pod().as_str());
    assert_eq!(pods[0]["state"], "exited");
    assert_eq!(pods[0]["app_names"], serde_json::json!(["web"]));
    assert_eq!(pods[0]["apps"][0]["state"], "exited");
    assert_eq!(pods[0]["apps"][0]["exit_code"], 3);
    let (created, started) =
        (pods[0]["created_at"].as_i64().unwrap(), pods[0]["started_at"].as_i64().unwrap());
    assert!(1_700_000_000 < created && created <= started, "seconds: {created} {started}");
    let pretty = rkt.rkt(["list", "--format=json-pretty"]).success();
    assert!(pretty.lines().len() > 5);
    assert_eq!(pretty.json(), pods);
    rkt.rkt(["list", "--format=yaml"]).exits(254);
}

#[test]
fn status_says_what_the_pod_does() {
    let rkt = Rkt::new();
    let image = rkt.image("web", |image| image.sh("echo up; exec sleep 1000"));
    let mut pod = rkt.start(args![&image]);
    pod.wait_for("up");
    let uuid = pod.uuid().to_owned();
    let status = pod.status();
    let keys: Vec<&str> = status.lines().iter().map(|line| line.split_once('=').unwrap().0).collect();
    let expected = ["state", "created", "started", "networks", "pid", "exited"];
    assert_eq!(keys[..expected.len()], expected, "{status:?}");
    assert_eq!((status.value("state"), status.value("exited")), (Some("running"), Some("false")));
    assert_eq!(status.value("pid"), Some(pod.init().as_raw_nonzero().to_string().as_str()));
    let year = &status.value("created").unwrap()[..4];
    assert!(year.parse::<u32>().is_ok_and(|year| year > 2000), "{status:?}");

    let json = rkt.rkt(["status", "--format=json", &uuid]).success().json();
    assert_eq!((&json["name"], &json["state"]), (&uuid.as_str().into(), &"running".into()));
    assert_eq!(json["apps"][0]["state"], "running");

    pod.signal(Signal::TERM);
    pod.wait().success();
    let status = rkt.rkt(["status", &uuid[..8]]).success();
    assert_eq!((status.value("state"), status.value("exited")), (Some("exited"), Some("true")));
    assert_eq!(status.value("app-web"), Some("143"));
}

#[test]
fn status_names_the_launcher_that_was_taken() {
    let rkt = Rkt::new();
    let image = rkt.image("web", |image| image);
    rkt.run_pod(args![&image]).success();
    let status = rkt.rkt(["status", &rkt.only_pod()]).success();
    assert!(status.stdout.contains(rkt.launcher().as_str()), "{status:?}");
}

#[test]
fn status_waits_for_the_end() {
    let rkt = Rkt::new();
    let image = rkt.image("web", |image| image.sh("echo up; sleep 1.5"));
    let mut pod = rkt.start(args![&image]);
    pod.wait_for("up");
    let uuid = pod.uuid().to_owned();
    let start = Instant::now();
    rkt.rkt(["status", "--wait=200ms", &uuid]).exits(254);
    assert!(start.elapsed() < Duration::from_secs(1), "the time-out counts");
    let status = rkt.rkt(["status", "--wait", &uuid]).success();
    assert_eq!(status.value("state"), Some("exited"));
    pod.wait().success();
}

#[test]
fn a_uuid_file_does_for_a_uuid() {
    let rkt = Rkt::new();
    let image = rkt.image("web", |image| image);
    let file = rkt.files().join("uuid-saved");
    rkt.run_pod(args![format!("--uuid-file-save={}", file.display()), &image]).success();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), rkt.only_pod(), "without a newline");
    let flag = format!("--uuid-file={}", file.display());
    rkt.rkt(["status", &flag]).success().stdout_has("state=exited");
    rkt.rkt(["rm", &flag]).success().stdout_is(&format!("\"{}\"\n", std::fs::read_to_string(&file).unwrap()));
    rkt.rkt(["status", "--uuid-file=/no/such/file"]).exits(1).stderr_has("/no/such/file");
    let empty = rkt.file("empty", "");
    rkt.rkt(args!["rm", format!("--uuid-file={}", empty.display())]).refused(&["UUID cannot be empty"]);
}

#[test]
fn version_names_rkt_and_appc() {
    let rkt = Rkt::new();
    let version = rkt.rkt(["version"]).success();
    assert!(version.stdout.contains("rkt Version: "), "{version:?}");
    assert!(version.lines().contains(&"appc Version: 0.8.11"), "{version:?}");
}
