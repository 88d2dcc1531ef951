//! Images that are rendered from others.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use rkt_tests::{Image, Rkt, args};
use serde_json::{Value, json};

fn on(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"imageName": format!("test.invalid/{name}")})).collect()
}

/// An image of files that all have the image's name in them.
fn library(rkt: &Rkt, name: &str, files: &[&str], dependencies: &[&str]) -> PathBuf {
    let build = |image: Image| {
        let image = image.field("dependencies", on(dependencies));
        files.iter().fold(image, |image, file| image.file(file, format!("{name}\n"), 0o644))
    };
    let image = rkt.empty_image(name, build);
    rkt.rkt(args!["fetch", "--pull-policy=new", &image]).success();
    image
}

// APPC-151, APPC-152, APPC-164
#[test]
fn the_upper_image_wins_and_dependencies_stand_in_their_order() {
    let rkt = Rkt::new();
    library(&rkt, "d", &["f/all", "f/bd", "f/dc", "f/d"], &[]);
    library(&rkt, "b", &["f/all", "f/bd", "f/b"], &[]);
    library(&rkt, "c", &["f/all", "f/dc", "f/c"], &["d"]);
    // A on B and on C, which is on D: the order is B, D, C, A.
    let image = rkt.image("a", |image| {
        image
            .sh("cd /f; for file in *; do echo $file: $(cat $file); done")
            .file("f/all", "a\n", 0o644)
            .field("dependencies", on(&["b", "c"]))
    });
    let want = "all: a\nb: b\nbd: d\nc: c\nd: d\ndc: c\n";
    rkt.run_pod(args![&image]).success().stdout_is(want);
    rkt.run_pod(args!["--no-overlay", &image]).success().stdout_is(want);
}

// APPC-154
#[test]
fn a_shared_dependency_is_there_once_for_each_way() {
    let rkt = Rkt::new();
    library(&rkt, "d", &["f/x", "f/d"], &[]);
    library(&rkt, "b", &["f/x"], &["d"]);
    library(&rkt, "c", &["f/c"], &["d"]);
    // D, B, D, C: what B has replaced is D's again.
    let image = rkt.image("a", |image| image.sh("cat /f/x /f/c /f/d").field("dependencies", on(&["b", "c"])));
    rkt.run_pod(args![&image]).success().stdout_is("d\nc\nd\n");
}

// APPC-155, APPC-156, APPC-157, APPC-159
#[test]
fn a_whitelist_is_for_its_image_and_what_is_below() {
    let rkt = Rkt::new();
    library(&rkt, "d", &["f/one", "f/two", "f/three"], &[]);
    let middle = rkt.empty_image("m", |image| {
        image
            .file("f/four", "m\n", 0o644)
            .file("f/five", "m\n", 0o644)
            .field("dependencies", on(&["d"]))
            .field("pathWhitelist", json!(["/f/one", "/f/two", "/f/four"]))
    });
    rkt.rkt(args!["fetch", "--pull-policy=new", &middle]).success();
    library(&rkt, "beside", &["f/three"], &[]);
    let image = rkt.image("a", |image| image.sh("ls /f").field("dependencies", on(&["m", "beside"])));
    rkt.run_pod(args![&image]).success().stdout_is("four\none\nthree\ntwo\n");
}

// APPC-153, APPC-162
#[test]
fn files_take_the_place_of_directories_and_links_and_the_other_way_round() {
    let rkt = Rkt::new();
    let lower = rkt.empty_image("lower", |image| {
        image
            .file("was-directory/inside", "lower", 0o644)
            .file("was-file", "lower", 0o644)
            .link("was-link", "/etc")
            .directory("kept", 0o711)
            .file("kept/lower", "lower", 0o644)
    });
    rkt.rkt(args!["fetch", &lower]).success();
    let image = rkt.image("upper", |image| {
        image
            .sh("cat /was-directory /was-file/in /was-link/in; ls /etc/in 2>&1; stat -c %a /kept; ls /kept")
            .file("was-directory", "one\n", 0o644)
            .file("was-file/in", "two\n", 0o644)
            .file("was-link/in", "three\n", 0o644)
            .directory("kept", 0o750)
            .file("kept/upper", "upper", 0o644)
            .field("dependencies", on(&["lower"]))
    });
    let want = "one\ntwo\nthree\nls: /etc/in: No such file or directory\n750\nlower\nupper\n";
    rkt.run_pod(args![&image]).success().stdout_is(want);
}

// APPC-161
#[test]
fn circles_and_what_is_not_there_are_refused_by_name() {
    let rkt = Rkt::new();
    let image = rkt.empty_image("lonely", |image| image.field("dependencies", on(&["nowhere"])));
    rkt.rkt(args!["fetch", "--pull-policy=new", &image])
        .exits(254)
        .stderr_has("depends on test.invalid/nowhere");
    library(&rkt, "x", &["f"], &[]);
    library(&rkt, "y", &["f"], &["x"]);
    // A newer x that depends on y, which depends on x by its name.
    let again = rkt.empty_image("x", |image| {
        image.label("version", "2.0").field("dependencies", on(&["y"])).file("g", "x", 0o644)
    });
    let end = rkt.rkt(args!["fetch", "--pull-policy=new", &again]).exits(254);
    assert!(end.stderr.contains("on it again") || end.stderr.contains("depends on itself"), "{end:?}");
}

// APPC-125, APPC-128
#[test]
fn a_dependency_by_id_is_that_very_image() {
    let rkt = Rkt::new();
    let old = rkt.empty_image("lib", |image| image.label("version", "1.0").file("f/version", "1\n", 0o644));
    let id = rkt.rkt(args!["fetch", "--full", &old]).success().stdout.trim().to_owned();
    let new = rkt.empty_image("lib", |image| image.label("version", "2.0").file("f/version", "2\n", 0o644));
    rkt.rkt(args!["fetch", &new]).success();
    for (dependency, want) in [
        (json!([{"imageName": "test.invalid/lib", "imageID": id}]), "1\n"),
        (json!([{"imageName": "test.invalid/lib", "labels": [{"name": "version", "value": "2.0"}]}]), "2\n"),
    ] {
        let image = rkt.image("app", |image| image.sh("cat /f/version").field("dependencies", dependency));
        rkt.run_pod(args![&image]).success().stdout_is(want);
    }
}
