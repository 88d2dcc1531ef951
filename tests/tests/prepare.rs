//! Pods that are prepared, and run later.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, process::Command};

use rkt_tests::{Launcher, Outcome, Rkt, args};

fn prepare(rkt: &Rkt, words: &[&str]) -> String {
    let mut all = vec!["prepare"];
    all.extend(words);
    let end = rkt.rkt(all).success();
    let uuid = end.stdout.trim().to_owned();
    assert_eq!(uuid.len(), 36, "{end:?}");
    uuid
}

fn run_prepared(rkt: &Rkt, words: &[&str]) -> Outcome {
    let supervisor = match rkt.launcher() {
        Launcher::Systemd => "--supervisor=systemd",
        Launcher::Direct => "--supervisor=direct",
    };
    rkt.rkt([&["run-prepared", "--net=none", supervisor], words].concat())
}

#[test]
fn a_prepared_pod_waits_and_runs_once() {
    let rkt = Rkt::new();
    let image = rkt.image("later", |image| image.sh("echo ran with $A and $*; exit 7"));
    let image = image.to_str().unwrap();
    let uuid = prepare(&rkt, &["--set-env=A=b", image, "--", "sh", "one", "two"]);
    rkt.rkt(["status", &uuid]).success().stdout_has("state=prepared");
    rkt.rkt(["list", "--no-legend"]).success().stdout_has("prepared");
    let manifest = rkt.rkt(["cat-manifest", &uuid]).success();
    manifest.stdout_has("\"value\": \"b\"");
    // What is prepared needs the image's file no more.
    fs::remove_file(image).unwrap();
    run_prepared(&rkt, &[&uuid[..8]]).exits(7).stdout_is("ran with b and one two\n");
    rkt.rkt(["status", &uuid]).success().stdout_has("state=exited");
    run_prepared(&rkt, &[&uuid]).exits(254).stderr_has("is not prepared");
    rkt.rkt(["rm", &uuid]).success();
}

#[test]
fn a_prepared_pod_is_removed_by_rm_and_in_time_by_gc() {
    let rkt = Rkt::new();
    let image = rkt.image("unused", |image| image);
    let image = image.to_str().unwrap();
    let removed = prepare(&rkt, &[image]);
    rkt.rkt(["rm", &removed]).success();
    run_prepared(&rkt, &[&removed]).exits(254).stderr_has("no matches found");
    let kept = prepare(&rkt, &["--no-overlay", image]);
    rkt.rkt(["gc"]).success();
    rkt.rkt(["status", &kept]).success().stdout_has("state=prepared");
    rkt.rkt(["gc", "--expire-prepared=0s"]).success();
    rkt.rkt(["status", &kept]).exits(254);
    assert_eq!(fs::read_dir(rkt.data().join("pods/prepared")).unwrap().count(), 0);
}

#[test]
fn of_many_who_run_a_prepared_pod_one_does() {
    let rkt = Rkt::new();
    let image = rkt.image("once", |image| image.sh("echo ran"));
    let uuid = prepare(&rkt, &["--quiet", image.to_str().unwrap()]);
    let run = || rkt.command(["run-prepared", "--net=none", "--supervisor=direct", &uuid]);
    let mut commands: Vec<Command> = (0..4).map(|_| run()).collect();
    let ends: Vec<Outcome> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            commands.iter_mut().map(|command| scope.spawn(move || rkt_tests::run(command))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let ran = ends.iter().filter(|end| end.stdout == "ran\n").count();
    assert_eq!(ran, 1, "{ends:?}");
    assert!(
        ends.iter().filter(|end| end.stdout.is_empty()).all(|end| end.stderr.contains("is not prepared"))
    );
    rkt.rkt(["rm", &uuid]).success();
}

#[test]
fn what_cannot_be_prepared_leaves_nothing() {
    let rkt = Rkt::new();
    let image = rkt.image("bad", |image| image);
    let image = image.to_str().unwrap();
    rkt.rkt(args!["prepare"]).exits(254).stderr_has("must provide at least one image");
    rkt.rkt(args!["prepare", "/no/such.aci"]).exits(254);
    rkt.rkt(args!["prepare", image, "--mount=volume=v,target=/v"]).exits(254).stderr_has("dangling");
    rkt.rkt(args!["prepare", "--net=none", image]).exits(254).stderr_has("--net");
    run_prepared(&rkt, &[]).exits(254).stderr_has("UUID");
    run_prepared(&rkt, &["00000000"]).exits(254).stderr_has("no matches found");
    for place in ["prepare", "prepared", "run", "garbage"] {
        let left = fs::read_dir(rkt.data().join("pods").join(place)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{place}");
    }
}

#[test]
fn old_names_of_policies_are_still_known() {
    let rkt = Rkt::new();
    rkt.image("stored", |image| image);
    let image = rkt.image("policy", |image| image);
    let image = image.to_str().unwrap();
    rkt.rkt(["fetch", image]).success();
    let name = "test.invalid/policy";
    rkt.rkt(["fetch", "--store-only", name]).success().stderr_has("deprecated");
    rkt.rkt(["fetch", "--no-store", name]).exits(254).stderr_has("deprecated").stderr_has("discovery");
    rkt.rkt(["fetch", "--no-store", "--store-only", name]).exits(254).stderr_has("exclude each other");
    rkt.rkt(["fetch", "--no-store", "--pull-policy=new", name]).exits(254).stderr_has("different things");
    rkt.rkt(["image", "fetch", image]).success();
}

#[test]
fn a_signature_is_of_the_image_before_it() {
    let rkt = Rkt::new();
    let (one, two) = (rkt.image("one", |image| image), rkt.image("two", |image| image));
    let (one, two) = (one.to_str().unwrap(), two.to_str().unwrap());
    let fetch = |words: &[&str]| rkt.rkt([&["--insecure-options=none", "fetch"], words].concat()).exits(254);
    fetch(&["--signature=/x.asc", one]).stderr_has("--signature must follow an image");
    fetch(&[one, "--signature=/x.asc", two]).stderr_has("signature /x.asc");
    fetch(&[one, "--signature=/x", "--signature=/y"]).stderr_has("once");
    rkt.rkt(["fetch", one, "--", "argument"]).exits(254);
}
