//! Many at once: an image is stored once, rendered once, and nobody sees half of it.

use std::{fs, process::Child};

use rkt_tests::{Rkt, args};

fn trees(rkt: &Rkt) -> usize {
    fs::read_dir(rkt.data().join("cas/tree")).expect("the store has trees").flatten().count()
}

#[test]
fn twenty_runs_of_one_new_image_render_it_once() {
    let rkt = Rkt::new();
    let image = rkt.image("crowd", |image| image.sh("echo ran"));
    let mut children: Vec<Child> = (0..20)
        .map(|_| {
            let mut run = rkt.command(rkt.run_args(args![&image]));
            run.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children.drain(..) {
        let end = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&end.stderr);
        assert!(end.status.success(), "{stderr}");
        assert_eq!(String::from_utf8_lossy(&end.stdout), "ran\n", "{stderr}");
    }
    assert_eq!(trees(&rkt), 1);
    assert_eq!(rkt.rkt(["image", "list", "--no-legend"]).success().lines().len(), 1);
    assert_eq!(rkt.pods_on_disk().len(), 20);
}

#[test]
fn two_fetches_of_one_file_store_it_once() {
    let rkt = Rkt::new();
    let image = rkt.image("twins", |image| image.file("big", vec![7; 8 << 20], 0o644));
    let children: Vec<Child> = (0..4)
        .map(|_| {
            rkt.command(args!["fetch", "--full", &image])
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut ids: Vec<String> = children
        .into_iter()
        .map(|child| {
            let end = child.wait_with_output().unwrap();
            assert!(end.status.success());
            String::from_utf8(end.stdout).unwrap()
        })
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(rkt.rkt(["image", "list", "--no-legend"]).success().lines().len(), 1);
}

#[test]
fn case_34_gc_beside_starting_and_ending_pods() {
    let rkt = Rkt::new();
    let image = rkt.image("busy", |image| image.sh("echo ran"));
    let mut runs: Vec<Child> = Vec::new();
    for _ in 0..8 {
        let mut run = rkt.command(rkt.run_args(args![&image]));
        runs.push(run.stdout(std::process::Stdio::null()).spawn().unwrap());
        rkt.rkt(["gc", "--grace-period=0s", "--expire-prepared=0s"]).success();
    }
    for mut child in runs {
        assert!(child.wait().unwrap().success());
    }
}
