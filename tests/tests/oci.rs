//! Docker and OCI images: from layouts and archives, with layers that are shared and stacked.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::PathBuf,
};

use rkt_tests::{
    Rkt,
    archive::{Archive, Header},
    args,
    layers::{OciImage, busybox_layer, digest, gzip},
};
use serde_json::{Value, json};

fn layer() -> Archive {
    Archive::new()
}

fn file(name: &str) -> Header {
    Header::file(name)
}

/// A layout with an image of busybox and these layers.
fn layout(rkt: &Rkt, layers: &[Archive], script: &str, config: &Value) -> String {
    let all: Vec<Archive> = std::iter::once(busybox_layer()).chain(layers.iter().cloned()).collect();
    let path = rkt.files().join("layout");
    OciImage::new(&all, script, config).lay_out(&path, &["v1"]);
    format!("oci:{}:v1", path.display())
}

fn trees(rkt: &Rkt) -> BTreeSet<String> {
    let entries = fs::read_dir(rkt.data().join("cas/tree")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn manifest(rkt: &Rkt, image: &str) -> Value {
    let text = rkt.rkt(["image", "cat-manifest", image]).success().stdout;
    serde_json::from_str(&text).unwrap()
}

/// Runs the image's script on an overlay, and on a copy.
fn both(rkt: &Rkt, image: &str, want: &str) {
    rkt.run_pod(args![image]).success().stdout_is(want);
    rkt.run_pod(args!["--no-overlay", image]).success().stdout_is(want);
}

// APPC-164
#[test]
fn layers_are_stacked_and_deletions_delete() {
    let rkt = Rkt::new();
    let below = layer()
        .entry(Header::directory("d"), "")
        .entry(file("d/changed"), "below\n")
        .entry(file("d/gone"), "below\n")
        .entry(file("d/kept"), "below\n")
        .entry(Header::directory("emptied"), "")
        .entry(file("emptied/gone"), "below\n")
        .entry(Header::directory("removed"), "")
        .entry(file("removed/gone"), "below\n")
        .entry(Header::directory("again"), "")
        .entry(file("again/gone"), "below\n");
    let above = layer()
        .entry(file("d/changed"), "above\n")
        .entry(file("d/.wh.gone"), "")
        .entry(file("emptied/.wh..wh..opq"), "")
        .entry(file("emptied/new"), "above\n")
        .entry(file(".wh.removed"), "")
        .entry(file(".wh.again"), "")
        .entry(Header::directory("again"), "")
        .entry(file("again/new"), "above\n");
    let script = "cd /; for f in d/* emptied/* again/*; do echo $f $(cat $f); done; ls -d removed 2>&1";
    let image = layout(&rkt, &[below, above], script, &json!({"WorkingDir": "/"}));
    let want = "d/changed above\nd/kept below\nemptied/new above\nagain/new above\n";
    for options in [&[][..], &["--no-overlay"]] {
        let mut all = options.to_vec();
        all.push(&image);
        let end = rkt.run_pod(all).exits(1);
        assert!(end.stdout.starts_with(want), "{end:?}");
        assert!(end.stdout.contains("removed: No such file"), "{end:?}");
    }
}

#[test]
fn images_share_the_layers_that_they_have_in_common() {
    let rkt = Rkt::new();
    let path = rkt.files().join("layout");
    let common = [busybox_layer(), layer().entry(Header::directory("c"), "").entry(file("c/x"), "common\n")];
    let with = |name: &str| {
        let own = layer().entry(Header::directory("own"), "").entry(file("own/x"), format!("{name}\n"));
        OciImage::new(&[&common[..], &[own]].concat(), "cat /c/x /own/x", &json!({})).lay_out(&path, &[name]);
    };
    with("a");
    with("b");
    for name in ["a", "b"] {
        let image = format!("oci:{}:{name}", path.display());
        rkt.run_pod(args![&image]).success().stdout_is(&format!("common\n{name}\n"));
    }
    assert_eq!(trees(&rkt).len(), 4, "{:?}", trees(&rkt));
    // A tag that is there means another image than one that is not; without one it is not clear which is meant.
    let without = rkt.rkt(args!["fetch", format!("oci:{}", path.display())]);
    without.exits(254).stderr_has("which image of the layout is meant? It has: a, b");
    let wrong = rkt.rkt(args!["fetch", format!("oci:{}:c", path.display())]);
    wrong.exits(254).stderr_has("no image \"c\" in the layout, only: a, b");
}

#[test]
fn the_second_run_reads_nothing_of_the_image() {
    let rkt = Rkt::new();
    let image = layout(&rkt, &[], "echo ran", &json!({}));
    rkt.run_pod(args![&image]).success();
    let blobs = rkt.files().join("layout/blobs/sha256");
    for entry in fs::read_dir(&blobs).unwrap() {
        let path = entry.unwrap().path();
        let start = fs::read(&path).unwrap();
        // What is no document is a layer.
        if start.first() != Some(&b'{') {
            fs::remove_file(path).unwrap();
        }
    }
    rkt.run_pod(args![&image]).success().stdout_is("ran\n");
}

#[test]
fn the_configuration_becomes_a_manifest() {
    let rkt = Rkt::new();
    let config = json!({
        "Env": ["PATH=/bin", "A=b=c", "nothing"], "WorkingDir": "/tmp", "User": "alice:1001",
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "Volumes": {"/data": {}, "/var/lib/x": {}},
        "Labels": {"maintainer": "somebody"}, "StopSignal": "SIGQUIT",
    });
    let image = layout(&rkt, &[], "id; echo $A; ls -d $PWD", &config);
    rkt.run_pod(args![&image]).success().stdout_is("uid=1000(alice) gid=1001(alice)\nb=c\n/tmp\n");
    let manifest = manifest(&rkt, "layout:v1");
    let app = &manifest["app"];
    assert_eq!(app["exec"], json!(["/bin/sh", "-c", "id; echo $A; ls -d $PWD"]));
    assert_eq!((&app["user"], &app["group"]), (&json!("alice"), &json!("1001")));
    assert_eq!(app["workingDirectory"], "/tmp");
    assert_eq!(app["environment"].as_array().unwrap().len(), 2);
    let points = json!([
        {"name": "volume-data", "path": "/data"}, {"name": "volume-var-lib-x", "path": "/var/lib/x"},
    ]);
    assert_eq!(app["mountPoints"], points);
    assert_eq!(app["ports"][0]["name"], "53-udp");
    assert_eq!(app["ports"][1]["port"], 80);
    assert_eq!(app["userLabels"]["maintainer"], "somebody");
    let annotation = |name: &str| {
        let all = manifest["annotations"].as_array().unwrap();
        all.iter().find(|each| each["name"] == name).map(|each| each["value"].as_str().unwrap().to_owned())
    };
    assert_eq!(annotation("appc.io/docker/entrypoint").unwrap(), r#"["/bin/sh","-c"]"#);
    assert_eq!(annotation("appc.io/docker/repository").unwrap(), "layout");
    assert_eq!(annotation("appc.io/docker/stopsignal").unwrap(), "SIGQUIT");
    assert_eq!(annotation("created").unwrap(), "2026-01-02T03:04:05Z");
    assert!(annotation("appc.io/docker/imageid").unwrap().starts_with("sha256:"));
}

#[test]
fn archives_and_layouts_are_the_same_images() {
    let rkt = Rkt::new();
    let layers = [busybox_layer(), layer().entry(Header::directory("x"), "")];
    let image = OciImage::new(&layers, "ls -d /x", &json!({}));
    let save = image.save(&["test.invalid/saved:v1"], &layers);
    let plain = rkt.file("save.tar", &save);
    let compressed = rkt.file("compressed", gzip(&save));
    let run = |argument: &str| rkt.run_pod(args![argument]).success().stdout_is("/x\n");
    run(&format!("docker-archive:{}", plain.display()));
    run(&format!("docker-archive:{}:test.invalid/saved:v1", plain.display()));
    run(plain.to_str().unwrap());
    run(compressed.to_str().unwrap());
    let list = rkt.rkt(["image", "list", "--fields=name", "--no-legend"]).success();
    assert_eq!(list.lines(), ["test.invalid/saved:v1"]);
    let wrong = rkt.rkt(args!["fetch", format!("docker-archive:{}:other", plain.display())]);
    wrong.exits(254).stderr_has("no image \"other\" in the archive, only: test.invalid/saved:v1");
    // The layout as a tar.
    let path = rkt.files().join("lay");
    image.lay_out(&path, &["v2"]);
    let tar = rkt.files().join("lay.tar");
    rkt_tests::run(std::process::Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(&path).arg("."))
        .success();
    run(&format!("oci-archive:{}:v2", tar.display()));
    run(tar.to_str().unwrap());
    assert_eq!(trees(&rkt).len(), 2, "layers are shared whatever they come in");
}

#[test]
fn an_implicit_volume_starts_with_what_the_image_has() {
    let rkt = Rkt::new();
    let data =
        layer().entry(Header::directory("data").mode(0o751), "").entry(file("data/seed"), "from the image\n");
    let script = "cat /data/seed; stat -c %a /data; touch /data/new";
    let image = layout(&rkt, &[data], script, &json!({"Volumes": {"/data": {}}}));
    rkt.run_pod(args![&image]).success().stdout_is("from the image\n751\n");
    let explicit = args!["--volume=volume-data,kind=empty", &image];
    rkt.run_pod(explicit).exits(0).stderr_has("seed");
}

#[test]
fn a_layer_without_directories_takes_those_below_as_they_are() {
    let rkt = Rkt::new();
    let below = layer()
        .entry(Header::directory("secret").mode(0o711), "")
        .entry(Header::directory("usr"), "")
        .entry(Header::directory("usr/lib").mode(0o750), "")
        .entry(file("usr/lib/old"), "old\n")
        .entry(Header::symlink("lib", "usr/lib"), "");
    let above = layer()
        .entry(file("secret/x"), "x\n")
        .entry(file("lib/new"), "new\n")
        .entry(Header::hard_link("copy", "usr/lib/old"), "");
    let script = "stat -c '%a' /secret /usr/lib; cat /lib/old /usr/lib/new /copy; ls -l /lib | cut -c1";
    let script = script.replace(" | cut -c1", "");
    let image = layout(&rkt, &[below, above], &script, &json!({}));
    let end = rkt.run_pod(args![&image]).success();
    assert!(end.stdout.starts_with("711\n750\nold\nnew\nold\n"), "{end:?}");
    assert!(end.stdout.contains("/lib -> usr/lib"), "{end:?}");
}

#[test]
fn a_layer_that_is_there_twice_is_stacked_once() {
    let rkt = Rkt::new();
    let empty = layer();
    let one = layer().entry(Header::directory("x"), "").entry(file("x/y"), "one\n");
    let two = layer().entry(Header::directory("x"), "").entry(file("x/y"), "two\n");
    let image = layout(&rkt, &[empty.clone(), one.clone(), empty, two, one], "cat /x/y", &json!({}));
    both(&rkt, &image, "one\n");
}

#[test]
fn many_layers_are_stacked() {
    let rkt = Rkt::new();
    let layers: Vec<Archive> = (0..60)
        .map(|n| layer().entry(Header::directory("n"), "").entry(file("n/x"), format!("{n}\n")))
        .collect();
    let image = layout(&rkt, &layers, "cat /n/x", &json!({}));
    both(&rkt, &image, "59\n");
}

#[test]
fn case_06_deletions_in_one_layer_conflict_with_nothing_outside() {
    let rkt = Rkt::new();
    let outside = rkt.file("outside", "kept\n");
    for (number, bad) in [
        layer().entry(file(".wh..."), ""),
        layer().entry(file("../.wh.etc"), ""),
        layer()
            .entry(Header::symlink("a", rkt.files().to_str().unwrap()), "")
            .entry(file("a/.wh.outside"), ""),
        layer().entry(Header::symlink("a", "/"), "").entry(file("a/.wh..wh..opq"), ""),
        layer().entry(Header::device("etc-passwd", 0, 0), ""),
        layer().entry(file(".wh.x/y"), ""),
    ]
    .into_iter()
    .enumerate()
    {
        let path = rkt.files().join(format!("bad-{number}"));
        OciImage::new(&[busybox_layer(), bad], "true", &json!({})).lay_out(&path, &["x"]);
        let end = rkt.rkt(args!["fetch", format!("oci:{}", path.display())]).exits(254).stderr_has("layer 2");
        assert_eq!(end.stderr.lines().count(), 1, "{end:?}");
    }
    assert_eq!(fs::read_to_string(outside).unwrap(), "kept\n");
    assert_eq!(fs::read_dir(rkt.data().join("cas/tmp")).unwrap().count(), 0);
}

#[test]
fn case_02_a_layer_never_writes_through_a_link_of_its_own_or_below() {
    let rkt = Rkt::new();
    let outside = rkt.files().join("outside");
    fs::create_dir(&outside).unwrap();
    let link = || Header::symlink("l", outside.to_str().unwrap());
    // In one layer: refused.
    let path = rkt.files().join("one");
    let bad = layer().entry(link(), "").entry(file("l/x"), "escaped");
    OciImage::new(&[busybox_layer(), bad], "true", &json!({})).lay_out(&path, &["x"]);
    rkt.rkt(args!["fetch", format!("oci:{}", path.display())]).exits(254).stderr_has("not a directory");
    // Over a layer below: it leads to a place inside the image.
    let below = layer().entry(link(), "");
    let above = layer().entry(file("l/x"), "inside\n");
    let script = format!("cat {}/x", outside.display());
    both(&rkt, &layout(&rkt, &[below, above], &script, &json!({})), "inside\n");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn what_does_not_fit_together_is_refused_and_leaves_nothing() {
    let rkt = Rkt::new();
    let good = OciImage::new(&[busybox_layer()], "true", &json!({}));
    let config = |diff_ids: Value| json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let wrong = json!([format!("sha256:{}", "0".repeat(64))]);
    let zero = gzip(&busybox_layer().finish());
    let cases: Vec<(&str, OciImage, &str)> = vec![
        ("hash", OciImage::of_blobs(std::slice::from_ref(&zero), &config(wrong)), "damaged, or was forged"),
        (
            "count",
            OciImage::of_blobs(std::slice::from_ref(&zero), &config(json!([]))),
            "has 1 layers, but its configuration",
        ),
        ("none", OciImage::of_blobs(&[], &config(json!([]))), "0 layers"),
        ("config", OciImage::of_blobs(&[zero], &json!({"os": 7})), "its configuration"),
        ("cut", cut(&good), "fewer than the"),
        ("html", html(&good), "layer 1"),
        ("many", many(), "where 1 to 500 can be"),
    ];
    for (name, image, reason) in cases {
        let path = rkt.files().join(name);
        image.lay_out(&path, &["x"]);
        let end = rkt.rkt(args!["fetch", format!("oci:{}", path.display())]).exits(254).stderr_has(reason);
        assert_eq!(end.stderr.lines().count(), 1, "{end:?}");
        assert_eq!(trees(&rkt).len(), 0, "{name}");
        assert_eq!(fs::read_dir(rkt.data().join("cas/tmp")).unwrap().count(), 0, "{name}");
    }
}

fn cut(good: &OciImage) -> OciImage {
    let mut image = good.clone();
    let layer = image.blobs.get_mut(&good.layers[0]).unwrap();
    layer.truncate(layer.len() - 1);
    image
}

fn html(good: &OciImage) -> OciImage {
    let mut image = good.clone();
    let size = image.blobs[&good.layers[0]].len();
    image.blobs.insert(good.layers[0].clone(), b"<html>".repeat(size)[..size].to_vec());
    image
}

/// A manifest of 10,000 layers, all the same.
fn many() -> OciImage {
    let tar = layer().finish();
    let diff_ids = vec![digest(&tar); 10_000];
    let config =
        json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    OciImage::of_blobs(&vec![gzip(&tar); 10_000], &config)
}

#[test]
fn deletions_are_stored_as_overlayfs_wants_them() {
    let rkt = Rkt::new();
    let below = layer().entry(Header::directory("d"), "").entry(file("d/x"), "");
    let above = layer().entry(Header::directory("d"), "").entry(file("d/.wh.x"), "");
    let image = layout(&rkt, &[below, above], "ls /d", &json!({}));
    rkt.run_pod(args![&image]).success().stdout_is("");
    let devices: Vec<PathBuf> = trees(&rkt)
        .iter()
        .map(|tree| rkt.data().join("cas/tree").join(tree).join("rootfs/d/x"))
        .filter(|path| fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_char_device()))
        .collect();
    assert_eq!(devices.len(), 1);
    assert_eq!(fs::symlink_metadata(&devices[0]).unwrap().rdev(), 0);
}

#[test]
fn images_without_signatures_need_to_be_allowed() {
    let rkt = Rkt::new();
    let image = layout(&rkt, &[], "true", &json!({}));
    for argument in [image.as_str(), "docker://localhost:1/x"] {
        let end = rkt.rkt(args!["--insecure-options=none", "fetch", argument]).exits(254);
        end.stderr_has("use --insecure-options=image");
    }
}
