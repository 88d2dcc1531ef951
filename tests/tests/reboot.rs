//! The machine goes down while pods run, and its clock is another one when it comes back.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    process::Command,
    time::{Duration, SystemTime},
};

use rkt_tests::{Outcome, Rkt, args};
use rustix::process::Signal;

/// `rkt` with another data directory.
fn rkt_in(rkt: &Rkt, data: &std::path::Path, words: &[&str]) -> Outcome {
    let program = rkt.program("rkt");
    let mut command = Command::new(program);
    let output = command.arg(format!("--dir={}", data.display())).args(words).output().unwrap();
    Outcome::new(words.join(" "), &output)
}

#[test]
fn case_43_pods_that_ran_when_the_machine_went_down_have_exited() {
    let rkt = Rkt::new();
    let image = rkt.image("runs", |image| image.sh("echo up; exec sleep 1000"));
    let ends = rkt.image("ends", |image| image.sh("exit 3"));
    rkt.run_pod(args![&ends]).exits(3);
    let mut pod = rkt.start(args![&image]);
    pod.wait_for("up");
    // What the disk has when the power goes: all files, no lock, no mount. The PIDs in it are those of living processes.
    let after = rkt.base().join("after");
    let copied =
        Command::new("cp").args(["-a", "--one-file-system"]).arg(rkt.data()).arg(&after).status().unwrap();
    assert!(copied.success());
    let uuid = pod.uuid().to_owned();
    let status = rkt_in(&rkt, &after, &["status", &uuid]).success();
    status.stdout_has("state=exited").stdout_lacks("app-runs=");
    rkt_in(&rkt, &after, &["enter", &uuid, "/bin/true"]).exits(254).stderr_has("is not running");
    rkt_in(&rkt, &after, &["stop", &uuid]).success().stdout_has("is already stopped");
    rkt_in(&rkt, &after, &["wait", &uuid]).success();
    let list = rkt_in(&rkt, &after, &["list", "--format=json"]).success().json();
    assert!(list.as_array().unwrap().iter().all(|pod| pod["state"] == "exited"), "{list}");
    // What ended before that kept its status.
    let ended = list.as_array().unwrap().iter().find(|pod| pod["app_names"][0] == "ends").unwrap();
    assert_eq!(ended["apps"][0]["exit_code"], 3);
    // Looking has done nothing to the processes that the PIDs are of.
    pod.status().stdout_has("state=running");
    pod.signal(Signal::TERM);
    pod.wait();
    // The clock has gone back: all was made in what is now the future.
    let future = SystemTime::now() + Duration::from_secs(86_400 * 365);
    for place in fs::read_dir(after.join("pods/run")).unwrap() {
        for name in ["pod-created", "pod", "pid", "."] {
            fs::File::open(place.as_ref().unwrap().path().join(name)).unwrap().set_modified(future).unwrap();
        }
    }
    rkt_in(&rkt, &after, &["list"]).success().stdout_has("from now");
    rkt_in(&rkt, &after, &["gc", "--grace-period=0s"]).success();
    assert_eq!(rkt_in(&rkt, &after, &["list", "--no-legend"]).success().stdout.trim(), "");
    fs::remove_dir_all(after).unwrap();
}
