//! `rkt export`: apps of exited pods as images.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, os::unix::fs::MetadataExt};

use rkt_tests::{Rkt, args};
use rustix::process::Signal;
use serde_json::json;

/// Changes all that can be changed, and says afterwards what is there.
const CHANGE: &str = "echo new >/new; rm /etc/gone; echo changed >/etc/changed; rm -r /srv/old; mkdir /srv/old; touch /srv/old/fresh
    ln /new /etc/again; ln -s /nowhere /link; chown 7:8 /etc/kept; chmod 4711 /new; mkfifo /pipe";
const LOOK: &str =
    "cat /new /etc/changed; ls /srv/old; ls /etc/gone 2>/dev/null; readlink /link; stat -c '%u:%g' /etc/kept
    stat -c '%a %h' /new; [ -p /pipe ] && echo pipe; ls /proc | wc -l";

fn image(rkt: &Rkt) -> std::path::PathBuf {
    rkt.image("changed", |image| {
        let image =
            image.file("etc/gone", "x", 0o644).file("etc/changed", "x", 0o644).file("etc/kept", "x", 0o644);
        image
            .file("srv/old/deep/file", "x", 0o644)
            .sh(CHANGE)
            .field("annotations", json!([{"name": "a", "value": "b"}]))
    })
}

#[test]
fn an_app_as_it_was_left_is_an_image_that_runs() {
    let rkt = Rkt::new();
    let image = image(&rkt);
    for options in [&["--no-overlay=false"][..], &["--no-overlay"], &["--private-users=700000:65536"]] {
        let uuid = rkt.files().join("uuid");
        let save = format!("--uuid-file-save={}", uuid.display());
        rkt.run_pod(
            [&args![save][..], &options.iter().map(Into::into).collect::<Vec<_>>(), &args![&image]].concat(),
        )
        .success();
        let uuid = fs::read_to_string(uuid).unwrap();
        let file = rkt.files().join("exported.aci");
        rkt.rkt(args!["export", &uuid, &file]).success().stdout_is("");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o644);
        let again = rkt.rkt(args!["export", &uuid, &file]).exits(254);
        again.stderr_has("--overwrite");
        rkt.rkt(args!["export", "--overwrite", "--app=changed", &uuid, &file]).success();
        let end = rkt.run_pod(args![&file, "--name=again", "--exec=/bin/sh", "--", "-c", LOOK]).success();
        assert_eq!(
            end.lines()[..7],
            ["new", "changed", "fresh", "/nowhere", "7:8", "4711 2", "pipe"],
            "{options:?}"
        );
        let manifest = rkt.rkt(args!["image", "cat-manifest", "test.invalid/changed"]).success().json();
        assert_eq!(manifest["annotations"][0]["value"], "b");
        fs::remove_file(&file).unwrap();
        rkt.rkt(["image", "rm", "test.invalid/changed"]);
    }
    // Nothing is left beside the files.
    assert_eq!(fs::read_dir(rkt.files()).unwrap().count(), 1);
}

#[test]
fn what_runs_or_is_no_place_for_an_image_is_refused() {
    let rkt = Rkt::new();
    let image = rkt.image("runs", |image| image.sh("echo up; exec sleep 1000"));
    let mut pod = rkt.start(args![&image]);
    pod.wait_for("up");
    let file = rkt.files().join("out.aci");
    rkt.rkt(args!["export", pod.uuid(), &file]).exits(254).stderr_has("has not exited (it is running)");
    let uuid = pod.uuid().to_owned();
    pod.signal(Signal::TERM);
    pod.wait();
    rkt.rkt(args!["export", &uuid, rkt.files().join("out.tar")]).exits(254).stderr_has(".aci");
    rkt.rkt(args!["export", &uuid]).exits(254).stderr_has("UUID");
    rkt.rkt(args!["export", "--app=none", &uuid, &file])
        .exits(254)
        .stderr_has("has no app \"none\" (it has: runs)");
    rkt.rkt(args!["export", &uuid, "/none/out.aci"]).exits(254).stderr_has("/none");
    assert!(!file.exists());
    assert_eq!(fs::read_dir(rkt.files()).unwrap().count(), 1, "the file with the UUID alone");
}

#[test]
fn an_image_with_dependencies_becomes_one_without() {
    let rkt = Rkt::new();
    let base = rkt.image("base", |image| image.file("from-base", "base", 0o644));
    let id = rkt.rkt(args!["fetch", &base]).success().stdout.trim().to_owned();
    let upper = rkt.empty_image("upper", |image| {
        let dependencies = json!([{"imageName": "test.invalid/base", "imageID": id}]);
        let whitelist = json!(["/bin/busybox", "/bin/sh", "/from-base", "/from-upper"]);
        image
            .file("from-upper", "upper", 0o644)
            .sh("echo made >/made")
            .field("dependencies", dependencies)
            .field("pathWhitelist", whitelist)
    });
    let uuid = rkt.files().join("uuid");
    rkt.run_pod(args![format!("--uuid-file-save={}", uuid.display()), &upper]).success();
    let file = rkt.files().join("whole.aci");
    rkt.rkt(args!["export", format!("--uuid-file={}", uuid.display()), &file]).success();
    rkt.rkt(["image", "rm", "test.invalid/upper", "test.invalid/base"]);
    let look = "read a </from-base; read b </from-upper; read c </made; echo $a $b $c";
    rkt.run_pod(args![&file, "--exec=/bin/sh", "--", "-c", look]).success().stdout_is("base upper made\n");
}
