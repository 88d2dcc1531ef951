//! The environment of an app: whose variable wins, and what is there without being asked for.

use rkt_tests::{Rkt, args};

const SHOW: &[&str] = &["/bin/env"];

// APPC-241, APPC-244
#[test]
fn defaults_and_what_the_executor_says() {
    let rkt = Rkt::new();
    let image = rkt.image("env", |image| image.exec(SHOW));
    let end = rkt.run_pod(args![&image]).success();
    for line in [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "USER=root",
        "LOGNAME=root",
        "HOME=/root",
        "SHELL=/bin/sh",
        "AC_APP_NAME=env",
        "container=rkt",
    ] {
        assert!(end.lines().contains(&line), "{line} is missing\n{end:?}");
    }
    assert!(end.value("TERM").is_some(), "{end:?}");
}

#[test]
fn nothing_of_the_callers_environment_gets_in() {
    let rkt = Rkt::new();
    let image = rkt.image("env", |image| image.exec(SHOW));
    let mut command = rkt.command(rkt.run_args(args![&image]));
    rkt_tests::run(command.env("SECRET", "leaked").env("LD_PRELOAD", "/nowhere.so"))
        .success()
        .stdout_lacks("SECRET")
        .stdout_lacks("LD_PRELOAD");
}

// APPC-108
#[test]
fn the_more_special_setting_wins() {
    let rkt = Rkt::new();
    let image =
        rkt.image("env", |image| image.exec(SHOW).env("A", "image").env("B", "image").env("C", "image"));
    let file = rkt.file("variables", "# comment\n; another\n\nB=file\nC=file\nD=file\n");
    let set_file = format!("--set-env-file={}", file.display());
    let end =
        rkt.run_pod(args![set_file, "--set-env=C=set", &image, "--environment=E=app", "--environment=A=app"]);
    let end = end.success();
    for (name, value) in [("A", "app"), ("B", "file"), ("C", "set"), ("D", "file"), ("E", "app")] {
        assert_eq!(end.value(name), Some(value), "{name}\n{end:?}");
    }
}

#[test]
fn inherit_env_fills_only_what_is_missing() {
    let rkt = Rkt::new();
    let image = rkt.image("env", |image| image.exec(SHOW).env("A", "image"));
    let mut command = rkt.command(rkt.run_args(args!["--inherit-env", &image]));
    let end = rkt_tests::run(command.env("A", "caller").env("B", "caller")).success();
    assert_eq!((end.value("A"), end.value("B")), (Some("image"), Some("caller")), "{end:?}");
}

#[test]
fn a_malformed_file_or_a_variable_given_twice_is_refused() {
    let rkt = Rkt::new();
    let image = rkt.image("env", |image| image.exec(SHOW));
    let file = rkt.file("variables", "NO_EQUALS_SIGN\n");
    rkt.run_pod(args![format!("--set-env-file={}", file.display()), &image]).exits(254);
    rkt.run_pod(args!["--set-env=A=1", "--set-env=A=2", &image]).exits(254);
}
