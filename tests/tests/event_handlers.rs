//! Event handlers: before an app starts and after it has ended, as root, in its sandbox.

use rkt_tests::{Rkt, args};
use serde_json::{Value, json};

fn handlers(pre_start: Option<&str>, post_stop: Option<&str>) -> Value {
    let handler = |name: &str, script: &str| json!({"name": name, "exec": ["/bin/sh", "-c", script]});
    let all: Vec<Value> = pre_start
        .map(|script| handler("pre-start", script))
        .into_iter()
        .chain(post_stop.map(|script| handler("post-stop", script)))
        .collect();
    Value::Array(all)
}

// APPC-221, APPC-222
#[test]
fn they_run_around_the_app_as_root_in_its_root() {
    let rkt = Rkt::new();
    let image = rkt.image("hooks", |image| {
        image.sh("echo app $(id -u) $(cat /made); true").user("alice", "wonder").with(
            "eventHandlers",
            handlers(Some("echo pre $(id -u); echo it > /made"), Some("echo post $(id -u)")),
        )
    });
    rkt.run_pod(args![&image]).success().stdout_is("pre 0\napp 1000 it\npost 0\n");
}

#[test]
fn the_apps_status_counts_not_the_handlers() {
    let rkt = Rkt::new();
    let image = rkt.image("hooks", |image| {
        image.sh("exit 7").with("eventHandlers", handlers(None, Some("echo post; exit 3")))
    });
    rkt.run_pod(args![&image]).exits(7).stdout_has("post");
}

// APPC-224
#[test]
fn a_pre_start_that_fails_keeps_the_app_from_starting() {
    let rkt = Rkt::new();
    let image = rkt.image("hooks", |image| {
        image.sh("echo started").with("eventHandlers", handlers(Some("exit 9"), None))
    });
    rkt.run_pod(args![&image])
        .exits(253)
        .stdout_lacks("started")
        .stderr_has("app \"hooks\"")
        .stderr_has("pre-start");
}

// APPC-222, APPC-223
#[test]
fn post_stop_runs_when_the_pod_is_stopped() {
    let rkt = Rkt::new();
    let image = rkt.image("hooks", |image| {
        image.sh("echo up; exec sleep 1000").with("eventHandlers", handlers(None, Some("echo post")))
    });
    let mut pod = rkt.start(args![&image]);
    pod.wait_for("up");
    pod.signal(rustix::process::Signal::TERM);
    pod.wait().success().stdout_has("post");
}
