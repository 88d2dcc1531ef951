//! `rkt run` ends with its app's status; of several apps, with that of the first that fails.

use rkt_tests::{Rkt, args};

#[test]
fn one_app_gives_its_own_status() {
    let rkt = Rkt::new();
    let image = rkt.image("exit", |image| image.exec(&["/bin/sh"]));
    for status in [0, 1, 2, 42, 255] {
        rkt.run_pod(args![&image, "--", "-c", format!("exit {status}")]).exits(status);
    }
}

#[test]
fn death_by_signal_gives_128_and_the_signal() {
    let rkt = Rkt::new();
    let image = rkt.image("exit", |image| image.exec(&["/bin/sh"]));
    for (signal, status) in [("KILL", 137), ("TERM", 143), ("ABRT", 134)] {
        rkt.run_pod(args![&image, "--", "-c", format!("kill -{signal} $$")]).exits(status);
    }
}

#[test]
fn the_first_failing_app_decides_and_the_others_are_stopped() {
    let rkt = Rkt::new();
    let image = rkt.image("exit", |image| image.exec(&["/bin/sh"]));
    let pod = rkt.start(args![
        &image,
        "--name=well",
        "--",
        "-c",
        "sleep 0.5; exit 0",
        "---",
        &image,
        "--name=bad",
        "--",
        "-c",
        "sleep 1; exit 5",
        "---",
        &image,
        "--name=late",
        "--",
        "-c",
        "exec sleep 1000"
    ]);
    let uuid = pod.uuid().to_owned();
    pod.wait().exits(5);
    let status = rkt.rkt(["status", &uuid]).success().stdout_has("state=exited");
    assert_eq!(status.value("app-well"), Some("0"));
    assert_eq!(status.value("app-bad"), Some("5"));
    assert_eq!(status.value("app-late"), Some("143"), "stopped by SIGTERM");
}

#[test]
fn an_app_that_ends_well_lets_the_others_go_on() {
    let rkt = Rkt::new();
    let image = rkt.image("exit", |image| image.exec(&["/bin/sh"]));
    rkt.run_pod(args![
        &image,
        "--name=short",
        "--",
        "-c",
        "exit 0",
        "---",
        &image,
        "--name=long",
        "--",
        "-c",
        "sleep 1; echo still here"
    ])
    .success()
    .stdout_has("long: still here\n");
}

#[test]
fn rkt_itself_fails_with_254() {
    let rkt = Rkt::new();
    rkt.run_pod(["/nowhere/image.aci"]).refused(&["/nowhere/image.aci"]);
    rkt.run_pod([""]).exits(254);
    rkt.rkt(["run", "--no-such-flag"]).exits(254);
    rkt.rkt(["status", "0123abcd"]).refused(&["no matches found for \"0123abcd\""]);
}
