//! Pods from a manifest written by hand, and `cat-manifest`.

use std::path::PathBuf;

use rkt_tests::{Rkt, args};
use serde_json::{Value, json};

/// The image's whole id.
fn fetch(rkt: &Rkt, image: &PathBuf) -> String {
    rkt.rkt(args!["fetch", "--full", image]).success().stdout.trim().to_owned()
}

fn manifest(rkt: &Rkt, apps: &Value, volumes: &Value) -> String {
    let manifest = json!({"acVersion": "0.8.11", "acKind": "PodManifest", "apps": apps, "volumes": volumes,
        "isolators": [], "annotations": [{"name": "example.com/note", "value": "by hand"}], "ports": []});
    let file = rkt.file("pod.json", manifest.to_string());
    format!("--pod-manifest={}", file.display())
}

// APPC-175, APPC-176
#[test]
fn it_says_everything_about_the_pod() {
    let rkt = Rkt::new();
    let id = fetch(&rkt, &rkt.image("base", |image| image.sh("echo from the image")));
    let apps = json!([
        {"name": "own", "image": {"id": id}, "app": {
            "exec": ["/bin/sh", "-c", "echo $GREETING; id -u; cat /data/x"], "user": "1000", "group": "1001",
            "environment": [{"name": "GREETING", "value": "hello"}]},
            "mounts": [{"volume": "data", "path": "/data"}]},
        {"name": "images", "image": {"id": id}, "readOnlyRootFS": true},
    ]);
    rkt.file("x", "content\n");
    let volumes = json!([{"name": "data", "kind": "host", "source": rkt.files(), "readOnly": true}]);
    let end = rkt.run_pod(args![manifest(&rkt, &apps, &volumes)]).success();
    let mut lines = end.lines();
    lines.sort_unstable();
    assert_eq!(lines, ["images: from the image", "own: 1000", "own: content", "own: hello"]);
    let uuid = rkt.only_pod();
    let kept = rkt.rkt(["cat-manifest", &uuid]).success().json();
    assert_eq!(kept["annotations"][0]["value"], "by hand");
    assert_eq!(kept["apps"][1]["name"], "images");
}

#[test]
fn flags_that_contradict_it_are_refused() {
    let rkt = Rkt::new();
    let image = rkt.image("base", |image| image);
    let id = fetch(&rkt, &image);
    let flag = manifest(&rkt, &json!([{"name": "a", "image": {"id": id}}]), &json!([]));
    let conflict = "conflicting flags set with --pod-manifest";
    rkt.run_pod(args![&flag, &image]).refused(&[conflict]);
    for other in ["--inherit-env", "--set-env=A=1", "--volume=x,kind=empty"] {
        rkt.run_pod(args![&flag, other]).refused(&[conflict]);
    }
}

// APPC-171, APPC-173
#[test]
fn one_without_apps_or_with_an_unknown_image_is_refused() {
    let rkt = Rkt::new();
    let known = fetch(&rkt, &rkt.image("base", |image| image));
    let unknown = format!("sha512-{}", "0".repeat(64));
    for (apps, word) in [
        (json!([]), "at least one app"),
        (json!([{"name": "a", "image": {"id": unknown}}]), "sha512-0000"),
        (json!([{"name": "a", "image": {"id": known}}, {"name": "a", "image": {"id": known}}]), "a"),
        (json!([{"name": "../up", "image": {"id": known}}]), "../up"),
        (json!("no array"), "apps"),
    ] {
        rkt.run_pod(args![manifest(&rkt, &apps, &json!([]))]).exits(254).stderr_has(word);
    }
    let nul = rkt.file("nul.json", "\0\0\0");
    rkt.run_pod(args![format!("--pod-manifest={}", nul.display())]).exits(254);
    rkt.run_pod(args!["--pod-manifest=/no/such/file"]).refused(&["/no/such/file"]);
}

#[test]
fn cat_manifest_shows_what_a_run_made() {
    let rkt = Rkt::new();
    let image = rkt.image("made", |image| image.env("A", "image"));
    rkt.run_pod(args!["--volume=v,kind=empty", &image, "--name=first", "--environment=A=flag"]).success();
    let uuid = rkt.only_pod();
    let shown = rkt.rkt(["cat-manifest", &uuid]).success();
    assert!(shown.stdout.contains("\n\t\"acKind\": \"PodManifest\""), "indented by tabs\n{shown:?}");
    let pod = shown.json();
    assert_eq!(pod["apps"][0]["name"], "first");
    assert_eq!(pod["apps"][0]["app"]["environment"], json!([{"name": "A", "value": "flag"}]));
    assert_eq!(pod["volumes"][0]["name"], "v");
    let compact = rkt.rkt(["cat-manifest", "--pretty-print=false", &uuid]).success();
    assert_eq!(compact.json(), pod);
    let file = rkt.file("uuid", &uuid);
    rkt.rkt(args!["cat-manifest", format!("--uuid-file={}", file.display())])
        .success()
        .stdout_is(&shown.stdout);
    rkt.rkt(["cat-manifest", "ffffffff"]).refused(&["no matches found for"]);
}
