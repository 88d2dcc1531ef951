//! The tests' own promise: a test that leaves something behind fails, and says what.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    process::Command,
};

use rkt_tests::{Launcher, Rkt, args, run};

#[test]
fn what_a_test_leaves_behind_fails_it() {
    let rkt = Rkt::new();
    let image = rkt.image("leak", |image| image.sh("true"));
    rkt.run_pod(args![&image]).success();
    let uuid = rkt.only_pod();

    let mut process = Command::new("sleep").arg("1000").current_dir(rkt.files()).spawn().unwrap();
    let file = format!("/run/rkt-{uuid}");
    fs::create_dir(&file).unwrap();
    let mount = rkt.files().join("mount");
    fs::create_dir(&mount).unwrap();
    run(Command::new("mount").args(["-t", "tmpfs", "leak"]).arg(&mount)).success();
    let unit = format!("rkt-{uuid}-leak.service");
    let on_systemd = rkt.launcher() == Launcher::Systemd;
    if on_systemd {
        run(Command::new("systemd-run").args(["--quiet", "--unit", &unit, "sleep", "1000"])).success();
    }

    let panic = catch_unwind(AssertUnwindSafe(|| rkt.collect()));

    process.kill().unwrap();
    process.wait().unwrap();
    fs::remove_dir(&file).unwrap();
    run(Command::new("umount").arg(&mount)).success();
    if on_systemd {
        run(Command::new("systemctl").args(["stop", &unit])).success();
    }
    let panic = panic.expect_err("the harness saw nothing");
    let message = panic.downcast_ref::<String>().unwrap();
    for found in ["\nprocess ", "\nmount ", &format!("\nfile {file}")] {
        assert!(message.contains(found), "{found:?} is not in {message}");
    }
    assert_eq!(message.contains(&format!("\nunit {unit}")), on_systemd, "{message}");
}
