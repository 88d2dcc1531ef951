//! rkt killed at every step of what it does in the store: the next command repairs what it finds.
//!
//! Only debug builds can be killed so. Steps of verifying signatures are in the tests of trust.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use rkt_pod::failpoint::names;
use rkt_tests::{
    Rkt,
    archive::{Archive, Header},
    args,
    layers::{OciImage, busybox_layer},
    run,
};
use rusqlite::Connection;
use serde_json::json;

/// What is done, and the beginnings of the names of the steps that are on its way.
const GROUPS: [(&str, &[&str]); 6] = [
    ("index", &["index-"]),
    ("import", &["import-"]),
    ("layers", &["layers-"]),
    ("render", &["render-", "verify-"]),
    ("remove", &["remove-", "gc-"]),
    ("give", &["give-", "export-"]),
];

/// Those that only images with signatures come to.
const SIGNED: [&str; 2] = ["import-copied", "import-verified"];

fn steps(group: &str) -> Vec<&'static str> {
    let beginnings = GROUPS.iter().find(|(name, _)| *name == group).unwrap().1;
    let ours = |name: &&str| beginnings.iter().any(|b| name.starts_with(b)) && !SIGNED.contains(name);
    let found: Vec<&str> = names::STORE.into_iter().filter(ours).collect();
    assert!(!found.is_empty(), "{group}");
    found
}

/// Whether rkt can be killed at a step at all.
fn can_be_killed() -> bool {
    cfg!(debug_assertions)
}

#[track_caller]
fn killed(rkt: &Rkt, step: &str, args: Vec<std::ffi::OsString>) {
    let end = run(rkt.command(args).env("RKT_FAILPOINT", step));
    assert_eq!(end.status, 128 + 9, "{step}: it was not killed\n{end:?}");
}

fn entries(path: &Path) -> Vec<PathBuf> {
    fs::read_dir(path).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

/// Checks that the store is whole, and that nothing was left.
#[track_caller]
fn whole(rkt: &Rkt, step: &str, image: &str, want: &str) {
    rkt.rkt(["image", "list"]).success();
    let id = rkt.rkt(["fetch", "--full", image]).success().stdout.trim().to_owned();
    rkt.run_pod([image]).success().stdout_is(want);
    rkt.rkt(["image", "verify", &id]).success().stdout_has("successfully verified");
    rkt.rkt(["image", "gc"]).success();
    rkt.run_pod([image]).success().stdout_is(want);
    for place in ["tmp", "imagelocks", "treestorelocks"] {
        let left = entries(&rkt.data().join("cas").join(place));
        // The last run may have locked something; nothing of the killed one is there.
        assert!(place != "tmp" || left.is_empty(), "{step}: {left:?}");
    }
}

#[test]
fn all_steps_are_in_a_group() {
    for name in names::STORE {
        let in_groups = GROUPS.iter().filter(|(_, b)| b.iter().any(|b| name.starts_with(b))).count();
        assert_eq!(in_groups, 1, "{name}");
    }
}

#[test]
fn case_32_killed_while_the_index_is_made_or_upgraded() {
    if !can_be_killed() {
        return;
    }
    let rkt = Rkt::new();
    let image = rkt.image("made", |image| image.sh("echo ran"));
    killed(&rkt, "index-made", args!["fetch", &image].into());
    whole(&rkt, "index-made", image.to_str().unwrap(), "ran\n");
    let index = Connection::open(rkt.data().join("cas/db/index.sqlite3")).unwrap();
    index.execute_batch("DROP TABLE layer; PRAGMA user_version = 2;").unwrap();
    drop(index);
    killed(&rkt, "index-upgraded", args!["image", "list"].into());
    whole(&rkt, "index-upgraded", image.to_str().unwrap(), "ran\n");
    assert_eq!(steps("index"), ["index-made", "index-upgraded"]);
}

#[test]
fn case_32_killed_while_an_image_is_imported() {
    if !can_be_killed() {
        return;
    }
    for step in steps("import") {
        let rkt = Rkt::new();
        let image = rkt.image("killed", |image| image.sh("echo ran"));
        killed(&rkt, step, args!["fetch", &image].into());
        whole(&rkt, step, image.to_str().unwrap(), "ran\n");
        // And once more where only the index tells.
        rkt.rkt(["image", "rm", "test.invalid/killed"]).success();
        killed(&rkt, step, args!["fetch", &image].into());
        rkt.rkt(["image", "gc", "--grace-period=0s"]).success();
        whole(&rkt, step, image.to_str().unwrap(), "ran\n");
    }
}

#[test]
fn case_32_killed_while_layers_are_imported() {
    if !can_be_killed() {
        return;
    }
    for step in steps("layers") {
        let rkt = Rkt::new();
        let path = rkt.files().join("layout");
        let layers = [busybox_layer(), Archive::new().entry(Header::file("own"), "own\n")];
        OciImage::new(&layers, "cat /own", &json!({})).lay_out(&path, &["v1"]);
        let image = format!("oci:{}:v1", path.display());
        killed(&rkt, step, args!["fetch", &image].into());
        whole(&rkt, step, &image, "own\n");
    }
}

#[test]
fn case_32_killed_while_an_image_is_rendered_or_mended() {
    if !can_be_killed() {
        return;
    }
    let rkt = Rkt::new();
    let below = rkt.empty_image("below", |image| image.file("below", "below\n", 0o644));
    rkt.rkt(args!["fetch", &below]).success();
    let above = rkt.image("above", |image| {
        image.sh("cat /below").field("dependencies", json!([{"imageName": "test.invalid/below"}]))
    });
    let above = above.to_str().unwrap();
    rkt.rkt(["fetch", "--pull-policy=new", above]).success();
    for step in steps("render") {
        rkt.rkt(["gc", "--grace-period=0s"]).success();
        let tree = entries(&rkt.data().join("cas/tree"));
        let tree = tree.iter().find(|tree| tree.join("rootfs/bin/busybox").exists()).unwrap();
        if step.starts_with("render-") {
            fs::remove_dir_all(tree).unwrap();
            killed(&rkt, step, args!["fetch", "--pull-policy=new", above].into());
        } else {
            fs::write(tree.join("rootfs/below"), "other\n").unwrap();
            killed(&rkt, step, args!["image", "verify", "test.invalid/above"].into());
        }
        rkt.run_pod([above]).success().stdout_is("below\n");
        rkt.rkt(["image", "verify", "test.invalid/above"]).success().stdout_has("successfully verified");
        rkt.rkt(["image", "gc"]).success();
        assert_eq!(entries(&rkt.data().join("cas/tmp")), Vec::<PathBuf>::new(), "{step}");
    }
}

#[test]
fn case_32_killed_while_images_are_removed() {
    if !can_be_killed() {
        return;
    }
    let rkt = Rkt::new();
    let image = rkt.image("removed", |image| image.sh("echo ran"));
    for step in steps("remove") {
        for command in [&["image", "rm", "test.invalid/removed"][..], &["image", "gc", "--grace-period=0s"]] {
            if step.starts_with("gc-") && command[1] == "rm" {
                continue;
            }
            rkt.rkt(args!["fetch", &image]).success();
            killed(&rkt, step, command.iter().map(Into::into).collect());
            rkt.rkt(["image", "list"]).success();
            rkt.rkt(["image", "gc", "--grace-period=0s"]).success();
            for kind in ["blob/sha512", "imageManifest/sha512"] {
                for shard in entries(&rkt.data().join("cas").join(kind)) {
                    assert_eq!(entries(&shard), Vec::<PathBuf>::new(), "{step}");
                }
            }
            for kind in ["tmp", "tree", "imagelocks"] {
                assert_eq!(entries(&rkt.data().join("cas").join(kind)), Vec::<PathBuf>::new(), "{step}");
            }
            killed(&rkt, "import-indexed", args!["fetch", &image].into());
            killed(&rkt, step, command.iter().map(Into::into).collect());
            whole(&rkt, step, image.to_str().unwrap(), "ran\n");
            rkt.rkt(["gc", "--grace-period=0s"]).success();
        }
    }
}

#[test]
fn case_32_killed_while_an_image_is_given() {
    if !can_be_killed() {
        return;
    }
    let rkt = Rkt::new();
    let image = rkt.image("given", |image| image);
    rkt.rkt(args!["fetch", &image]).success();
    let base = rkt.files().join("given");
    fs::create_dir(&base).unwrap();
    for step in steps("give") {
        let commands: &[&str] =
            if step.starts_with("export-") { &["export"] } else { &["render", "extract"] };
        for command in commands {
            let place = base.join("place");
            let args = || args!["image", *command, "--overwrite", "test.invalid/given", &place].to_vec();
            killed(&rkt, step, args());
            // It is not there, or it is whole.
            let is_whole = step == "give-placed";
            assert_eq!(place.exists(), is_whole, "{step} {command}");
            assert_eq!(place.join("manifest").exists(), is_whole, "{step} {command}");
            rkt.rkt(args()).success();
            assert_eq!(entries(&base), std::slice::from_ref(&place), "{step} {command}");
            let removed = if place.is_dir() { fs::remove_dir_all(&place) } else { fs::remove_file(&place) };
            removed.unwrap();
        }
    }
}
