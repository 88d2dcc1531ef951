//! `rkt app …`: pods whose apps come and go.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use rkt_tests::{Launcher, Outcome, Pod, Rkt, args, wait_until};
use rustix::process::Signal;
use serde_json::json;

/// Puts an image into the store, and returns its id.
fn stored(rkt: &Rkt, image: &Path) -> String {
    rkt.rkt(args!["fetch", image]).success().stdout.trim().to_owned()
}

fn sandbox<'a>(rkt: &'a Rkt, more: &[&str]) -> Pod<'a> {
    let pod = rkt.start_command(&["app", "sandbox"], more);
    wait_until("the pod's control socket", || pod.dir().join("control").exists());
    wait_until("the pod", || pod.read("runtime-config").is_some());
    pod
}

fn app(rkt: &Rkt, word: &str, pod: &Pod<'_>, name: &str) -> Outcome {
    rkt.rkt(["app", word, pod.uuid(), &format!("--app={name}")])
}

fn states(rkt: &Rkt, pod: &Pod<'_>) -> String {
    rkt.rkt(["app", "list", "--no-legend", pod.uuid()]).success().stdout.replace('\t', " ")
}

#[test]
fn apps_come_run_end_and_go_while_the_pod_runs() {
    let rkt = Rkt::new();
    let image = rkt.image("worker", |image| image.sh("echo started; exec sleep 1000"));
    let id = stored(&rkt, &image);
    let mut pod = sandbox(&rkt, &[]);
    assert_eq!(states(&rkt, &pod), "\n");
    rkt.rkt(["app", "add", pod.uuid(), &id]).success();
    rkt.rkt(["app", "add", pod.uuid(), &id, "--name=other", "--exec=/bin/sh", "--", "-c", "exit 3"])
        .success();
    assert_eq!(states(&rkt, &pod), "worker created\nother created\n");
    let twice = rkt.rkt(["app", "add", pod.uuid(), &id]).exits(254);
    twice.stderr_has("worker").stderr_has("--name");

    app(&rkt, "start", &pod, "worker").success();
    app(&rkt, "start", &pod, "other").success();
    pod.wait_for("worker: started");
    wait_until("the end of the other", || states(&rkt, &pod) == "worker running\nother exited\n");
    app(&rkt, "start", &pod, "worker").exits(254).stderr_has("runs already");
    let status = rkt.rkt(["app", "status", pod.uuid(), "--app=other", "--format=json"]).success().json();
    assert_eq!((&status["state"], &status["exit_code"]), (&json!("exited"), &json!(3)));
    assert!(status["started_at"].as_i64() <= status["finished_at"].as_i64(), "{status}");
    let inside =
        rkt.rkt(["app", "exec", "--app=worker", pod.uuid(), "/bin/sh", "-c", "echo kept >/file; hostname"]);
    assert_eq!(inside.success().stdout, format!("rkt-{}\n", pod.uuid()));

    // What it has written is there when it is started again.
    app(&rkt, "stop", &pod, "worker").success();
    assert_eq!(states(&rkt, &pod), "worker exited\nother exited\n");
    app(&rkt, "stop", &pod, "worker").exits(254).stderr_has("not running");
    app(&rkt, "start", &pod, "worker").success();
    rkt.rkt(["enter", "--app=worker", pod.uuid(), "/bin/cat", "/file"]).success().stdout_is("kept\n");
    app(&rkt, "rm", &pod, "worker").success();
    assert_eq!(states(&rkt, &pod), "other exited\n");
    app(&rkt, "start", &pod, "worker").exits(254).stderr_has("has no app \"worker\"");
    // A new one by the same name has nothing of it.
    rkt.rkt(["app", "add", pod.uuid(), &id]).success();
    app(&rkt, "start", &pod, "worker").success();
    assert_ne!(rkt.rkt(["enter", "--app=worker", pod.uuid(), "/bin/cat", "/file"]).status, 0);

    let uuid = pod.uuid().to_owned();
    rkt.rkt(["stop", &uuid]).success();
    assert_eq!(pod.wait().status, 0);
    rkt.rkt(["app", "list", &uuid]).success().stdout_has("worker\texited");
    rkt.rkt(["app", "stop", &uuid, "--app=worker"]).success().stdout_has("already stopped");
}

#[test]
fn an_app_that_cannot_be_started_is_named_and_the_pod_runs_on() {
    let rkt = Rkt::new();
    let image = rkt.image("broken", |image| image.exec(&["/none"]));
    let hostile = rkt.image("linked", |image| image.link("proc", "/etc").sh("true"));
    let (broken, linked) = (stored(&rkt, &image), stored(&rkt, &hostile));
    let pod = sandbox(&rkt, &[]);
    for (id, name) in [(&broken, "broken"), (&linked, "linked")] {
        rkt.rkt(["app", "add", pod.uuid(), id]).success();
        let end = app(&rkt, "start", &pod, name);
        if name == "linked" {
            end.exits(254).stderr_has("/proc");
        }
        wait_until("its end", || states(&rkt, &pod).contains(&format!("{name} exited")));
    }
    let status = rkt.rkt(["app", "status", pod.uuid(), "--app=broken"]).success();
    assert_eq!(status.value("exit_code"), Some("203"), "{status:?}");
    pod.signal(Signal::TERM);
    assert_eq!(pod.wait().status, 0);
}

#[test]
fn apps_have_volumes_limits_and_options_of_their_own() {
    let rkt = Rkt::new();
    let image = rkt.image("looker", |image| {
        image.sh("id -u; cat /shared/file /own/file; ulimit -c >/dev/null; echo $COLOR")
    });
    let id = stored(&rkt, &image);
    rkt.file("file", "content\n");
    let files = rkt.files();
    let mut pod = sandbox(&rkt, &[&format!("--volume=shared,kind=host,source={}", files.display())]);
    let own = format!("--mnt-volume=own,kind=host,source={},target=/own", files.display());
    let options = ["--mount=volume=shared,target=/shared", &own, "--user=7", "--environment=COLOR=red"];
    rkt.rkt([&["app", "add", pod.uuid(), &id], &options[..]].concat()).success();
    app(&rkt, "start", &pod, "looker").success();
    pod.wait_for("looker: red");
    assert!(pod.stdout_so_far().ends_with("looker: 7\nlooker: content\nlooker: content\nlooker: red\n"));
    let none =
        rkt.rkt(["app", "add", pod.uuid(), &id, "--name=none", "--mount=volume=none,target=/x"]).exits(254);
    none.stderr_has("volume \"none\" not found");
    assert_eq!(states(&rkt, &pod), "looker exited\n");
    pod.signal(Signal::TERM);
    pod.wait();
}

#[test]
fn what_does_not_fit_is_refused() {
    let rkt = Rkt::new();
    let image = rkt.image("plain", |image| image.sh("echo up; exec sleep 1000"));
    let id = stored(&rkt, &image);
    let mut immutable = rkt.start(args![&image]);
    immutable.wait_for("up");
    let uuid = immutable.uuid().to_owned();
    for words in [&["add", &uuid, &id][..], &["start", &uuid, "--app=plain"], &["rm", &uuid, "--app=plain"]] {
        rkt.rkt([&["app"], words].concat()).exits(254).stderr_has("immutable");
    }
    immutable.signal(Signal::TERM);
    immutable.wait();
    rkt.rkt(args!["app", "sandbox", "--net=none", &image]).exits(254).stderr_has("without apps");
    rkt.rkt(["app", "sandbox", "--net=none", "--interactive"]).exits(254).stderr_has("--interactive");
    let pod = sandbox(&rkt, &[]);
    rkt.rkt(["app", "add", pod.uuid()]).exits(254).stderr_has("exactly one image");
    rkt.rkt(["app", "add", pod.uuid(), "example.com/unknown"]).exits(254).stderr_has("example.com/unknown");
    app(&rkt, "start", &pod, "none").exits(254).stderr_has("has no app \"none\"");
    // Whoever says nothing, or nonsense, holds nobody up.
    let path = pod.dir().join("control");
    let socket = |text: &[u8]| {
        use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::empty(), None)
                .unwrap();
        rustix::net::connect(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        if !text.is_empty() {
            rustix::net::send(&socket, text, SendFlags::empty()).unwrap();
        }
        socket
    };
    let silent = socket(b"");
    let nonsense = socket(b"{\"start\": 7}");
    rkt.rkt(["app", "add", pod.uuid(), &id]).success();
    app(&rkt, "start", &pod, "plain").success();
    drop((silent, nonsense));
    pod.signal(Signal::TERM);
    assert_eq!(pod.wait().status, 0);
}

#[test]
fn a_sandbox_has_users_of_its_own_with_systemd_only() {
    let rkt = Rkt::new();
    if rkt.launcher() == Launcher::Direct {
        let end =
            rkt.rkt(["app", "sandbox", "--net=none", "--supervisor=direct", "--private-users"]).exits(254);
        end.stderr_has("--private-users");
        return;
    }
    let image =
        rkt.image("users", |image| image.sh("cat /proc/self/uid_map; touch /file && stat -c %u /file"));
    let id = stored(&rkt, &image);
    let pod = sandbox(&rkt, &["--private-users=700000:65536"]);
    rkt.rkt(["app", "add", pod.uuid(), &id]).success();
    for _ in 0..2 {
        app(&rkt, "start", &pod, "users").success();
        wait_until("its end", || states(&rkt, &pod).contains("users exited"));
    }
    pod.signal(Signal::TERM);
    let end = pod.wait();
    assert_eq!(
        end.stdout.matches("users:          0     700000      65536\nusers: 0\n").count(),
        2,
        "{end:?}"
    );
}
