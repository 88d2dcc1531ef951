//! Roots of apps: an overlay over the stored tree, or a copy of it.

use std::fs;

use rkt_tests::{Rkt, args};

#[test]
fn by_default_the_stored_tree_is_the_lower_layer() {
    let rkt = Rkt::new();
    let image = rkt.image("overlay", |image| image.sh("grep ' / ' /proc/mounts; echo x > /new"));
    rkt.run_pod(args![&image]).success().stdout_has("overlay");
    let dir = rkt.pod_dir(&rkt.only_pod());
    assert!(dir.join("overlay-prepared").exists());
    assert_eq!(fs::read_to_string(dir.join("overlay/overlay/upper/new")).unwrap(), "x\n");
}

// APPC-058, APPC-164
#[test]
fn no_overlay_copies_the_tree_with_all_that_belongs_to_it() {
    let rkt = Rkt::new();
    let image = rkt.image("copy", |image| {
        image
            .sh("grep -c '^overlay / ' /proc/mounts; stat -c '%n %a %u %g' /file /setuid /dir; readlink /link")
            .file("file", "content", 0o640)
            .owned_by(1000, 1001)
            .file("setuid", "", 0o4755)
            .directory("dir", 0o1777)
            .link("link", "../outside")
    });
    for flag in ["--no-overlay", "--no-overlay=true"] {
        let end = rkt.run_pod(args![flag, &image]).success();
        assert_eq!(
            end.lines(),
            ["0", "/file 640 1000 1001", "/setuid 4755 0 0", "/dir 1777 0 0", "../outside"],
            "{end:?}"
        );
    }
    let pods = rkt.pods_on_disk();
    assert!(!rkt.pod_dir(&pods[0]).join("overlay-prepared").exists());
}

#[test]
fn the_data_directory_may_have_any_name() {
    let rkt = Rkt::new();
    let image = rkt.image("odd", |image| image.sh("echo ran"));
    for name in ["a:b", "a,b", "a\\b", "a b", "ü"] {
        let dir = rkt.base().join(name);
        fs::create_dir(&dir).unwrap();
        let flag = format!("--dir={}", dir.display());
        let mut all = args![&flag].to_vec();
        all.extend(rkt.run_args(args![&image]));
        rkt.rkt(all).success().stdout_is("ran\n");
        rkt.rkt([flag.as_str(), "gc", "--grace-period=0s"]).success();
    }
}

#[test]
fn a_relative_data_directory_is_made_absolute() {
    let rkt = Rkt::new();
    let image = rkt.image("relative", |image| image.sh("echo ran"));
    let mut all = args!["--dir=here"].to_vec();
    all.extend(rkt.run_args(args![&image]));
    rkt_tests::run(rkt.command(all).current_dir(rkt.files())).success().stdout_is("ran\n");
    let flag = format!("--dir={}", rkt.files().join("here").display());
    rkt.rkt([flag.as_str(), "gc", "--grace-period=0s"]).success();
}
