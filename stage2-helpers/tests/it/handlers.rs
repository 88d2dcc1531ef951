//! Event handlers.

use rustix::process::Signal;
use stage2::control::Report;

use crate::support::{Pod, Root, is_root, spec};

fn shell(script: &str) -> Option<Vec<String>> {
    Some(["/bin/sh", "-c", script].map(str::to_owned).to_vec())
}

// APPC-221, APPC-242
#[test]
fn the_pre_start_handler_ends_before_the_app_begins() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let mut spec = spec("echo app $(id -u) $AC_APP_NAME");
    spec.user = "1000".to_owned();
    spec.pre_start = shell("sleep 0.1; echo handler $(id -u) $AC_APP_NAME");
    assert_eq!(pod.run(&Root::busybox(), &spec).success(), "handler 0 app\napp 1000 app\n");
}

// APPC-224
#[test]
fn a_pre_start_handler_that_fails_prevents_the_app() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let mut spec = spec("echo app");
    for (handler, reason) in [
        (shell("exit 3"), "run pre-start handler /bin/sh: it ended with status 3"),
        (shell("kill -9 $$"), "run pre-start handler /bin/sh: it ended with status 137"),
        (
            Some(vec!["/none".to_owned()]),
            "run pre-start handler /none: exec /none: No such file or directory",
        ),
    ] {
        spec.pre_start = handler;
        let outcome = pod.run(&Root::busybox(), &spec);
        assert_eq!((outcome.refusal().as_str(), outcome.stdout.as_str()), (reason, ""));
    }
}

// APPC-222
#[test]
fn the_post_stop_handler_runs_however_the_app_ends() {
    if !is_root() {
        return;
    }
    for joins in [false, true] {
        let pod = Pod::start();
        for (script, status) in [("true", 0), ("exit 5", 5), ("kill -KILL $$", 137)] {
            let mut spec = spec(script);
            spec.enter_pid_namespace = joins;
            spec.user = "1000".to_owned();
            spec.post_stop = shell("echo handler $(id -u)");
            let outcome = pod.run(&Root::busybox(), &spec);
            assert_eq!((outcome.status, outcome.stdout.as_str()), (status, "handler 0\n"), "{outcome:?}");
            assert!(outcome.reports.contains(&Report::Exited { status }), "{outcome:?}");
        }
    }
}

#[test]
fn a_post_stop_handler_that_fails_is_a_warning() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let mut spec = spec("exit 4");
    spec.post_stop = shell("exit 9");
    let outcome = pod.run(&Root::busybox(), &spec);
    let message = "its post-stop handler ended with status 9".to_owned();
    assert_eq!(outcome.reports, [Report::Built, Report::Warning { message }, Report::Exited { status: 4 }]);
    assert_eq!(outcome.status, 4);
}

#[test]
fn signals_reach_an_app_with_a_post_stop_handler() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let mut spec = spec("trap 'echo got it; exit 6' TERM; echo up; while :; do sleep 0.05; done");
    spec.post_stop = shell("echo handler");
    let mut running = pod.launch_app(&Root::busybox(), &spec, &[]);
    assert_eq!(running.line(), "up");
    running.kill(Signal::TERM);
    let outcome = running.finish();
    assert_eq!((outcome.status, outcome.stdout.as_str()), (6, "got it\nhandler\n"));
}

#[test]
fn an_app_does_not_outlive_the_parent_that_its_handler_needs() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    for user in ["0", "1000"] {
        let mut spec = spec("echo up; exec sleep 1000");
        spec.user = user.to_owned();
        spec.post_stop = shell("true");
        let mut running = pod.launch_app(&Root::busybox(), &spec, &[]);
        assert_eq!(running.line(), "up");
        running.kill(Signal::KILL);
        // Its output ends when the app has.
        assert_eq!(running.finish().status, 137);
    }
}
