//! The machine is started anew in the middle of everything: what is left is told truthfully, what was written is there, what was
//! prepared runs, and gc removes all.
//!
//! Runs outside, on a system of the testbed that is its own: one with systemd, on which both launchers work.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::HashMap, ffi::OsStr, fs, path::PathBuf, process::Command};

use rkt_pod::failpoint::names;
use rkt_tests::{Launcher, Outcome, Rkt, is_testbed, run, wait_until};

const BED: &str = "trixie-reboot";

/// The system, and what of it is kept.
struct Machine<'a> {
    rkt: &'a Rkt,
    state: PathBuf,
}

impl Machine<'_> {
    fn testbed(&self, command: &str, words: &[&OsStr]) -> Command {
        let mut testbed = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/testbed/testbed"));
        testbed.args([command, BED]).args(words).env("RKT_TESTBED_STATE", &self.state);
        // Its files are not those of a test.
        testbed.env_remove("TMPDIR");
        testbed
    }

    fn boot(&self) {
        run(&mut self.testbed("boot", &[])).success();
    }

    /// Ends it as a power failure does.
    fn cut(&self) {
        run(&mut self.testbed("cut", &[])).success();
    }

    fn run(&self, words: &[&str]) -> Outcome {
        let words: Vec<&OsStr> = std::iter::once("--").chain(words.iter().copied()).map(OsStr::new).collect();
        run(&mut self.testbed("run", &words))
    }

    fn program(&self) -> String {
        self.rkt.program("rkt").to_str().unwrap().to_owned()
    }

    fn rkt(&self, words: &[&str]) -> Outcome {
        self.run(&[&[self.program().as_str(), "--insecure-options=image"], words].concat())
    }

    /// Starts a pod that goes on.
    fn start(&self, words: &[&str]) -> String {
        let file = self.state.join("uuid");
        let save = format!("--uuid-file-save={}", file.display());
        let program = self.program();
        let own = ["systemd-run", "--quiet", "--collect", "--", &program];
        self.run(&[&own[..], &["--insecure-options=image", "run", &save], words].concat()).success();
        let mut uuid = String::new();
        wait_until("a UUID", || {
            uuid = fs::read_to_string(&file).unwrap_or_default();
            !uuid.is_empty()
        });
        fs::remove_file(&file).unwrap();
        wait_until("its output", || self.rkt(&["logs", &uuid]).stdout == "up\n");
        uuid
    }

    /// The pods by their UUIDs: state, and the status of their app.
    fn pods(&self) -> HashMap<String, (String, Option<i64>)> {
        let list = self.rkt(&["list", "--format=json"]).success().json();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let pods = list.as_array().cloned().unwrap_or_default();
        pods.iter()
            .map(|pod| (text(&pod["name"]), (text(&pod["state"]), pod["apps"][0]["exit_code"].as_i64())))
            .collect()
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        self.testbed("stop", &[]).status().unwrap();
    }
}

#[test]
fn case_43_the_machine_is_started_anew_in_the_middle() {
    let rkt = Rkt::new();
    if is_testbed() || rkt.launcher() == Launcher::Systemd {
        return;
    }
    let machine = Machine { rkt: &rkt, state: rkt.files().join("machine") };
    fs::create_dir(&machine.state).unwrap();
    let image = |name: &str, script: &str| -> String {
        let file = rkt.image(name, |image| image.sh(script));
        let kept = machine.state.join(format!("{name}.aci"));
        fs::copy(file, &kept).unwrap();
        kept.to_str().unwrap().to_owned()
    };
    let ends = image("ends", "echo ran; exit 3");
    let stays = image("stays", "echo up; exec sleep 1000");
    machine.boot();
    let direct = "--supervisor=direct";
    machine.rkt(&["run", "--net=none", &ends]).exits(3);
    machine.rkt(&["run", "--net=none", direct, &ends]).exits(3);
    let prepared = machine.rkt(&["prepare", &ends]).success().stdout.trim().to_owned();
    let ended: Vec<String> = machine.pods().into_keys().filter(|uuid| *uuid != prepared).collect();
    assert_eq!(ended.len(), 2);
    let running = [
        machine.start(&["--pod-name=web", &stays]),
        machine.start(&[direct, &stays]),
        machine.start(&["--journal=pod", "--private-users", "--net=none", &stays]),
    ];
    // Somebody was killed at every step, and nobody has cleaned up.
    for step in names::POD.into_iter().filter(|_| cfg!(debug_assertions)) {
        let variable = format!("RKT_FAILPOINT={step}");
        let words = ["env", &variable, &machine.program(), "--insecure-options=image", "run", &ends];
        machine.run(&words).exits(128 + 9);
    }
    machine.cut();
    machine.boot();

    let pods = machine.pods();
    for uuid in &ended {
        assert_eq!(pods[uuid], ("exited".to_owned(), Some(3)));
        machine.rkt(&["logs", uuid]).success().stdout_is("ran\n");
    }
    for uuid in &running {
        assert_eq!(pods[uuid], ("exited".to_owned(), None));
        machine.rkt(&["logs", uuid]).success().stdout_is("up\n");
    }
    for (uuid, (state, _)) in &pods {
        let fine = ["exited", "aborted prepare"].contains(&state.as_str());
        assert!(fine || (*uuid == prepared && state == "prepared"), "{uuid}: {state}");
    }
    machine.rkt(&["run-prepared", "--net=none", &prepared]).exits(3);
    // The name is free again.
    machine.rkt(&["run", "--pod-name=web", &ends]).exits(3);

    machine.rkt(&["gc", "--grace-period=0s", "--expire-prepared=0s"]).success();
    assert!(machine.pods().is_empty());
    let pods: Vec<&String> = pods.keys().collect();
    let data = machine.state.join("rkt");
    for place in ["embryo", "prepare", "prepared", "run", "exited-garbage", "garbage"] {
        assert_eq!(fs::read_dir(data.join("pods").join(place)).unwrap().count(), 0, "{place}");
    }
    let everything = [
        "cat /proc/*/mountinfo",
        "find /sys/fs/cgroup /run /var/lib/cni /var/log/journal -printf '%p\\n' 2>/dev/null",
        "systemctl list-units --all --plain --no-legend",
        "machinectl list --no-legend",
        "ip link",
        "nft list ruleset",
    ];
    for command in everything {
        let left = machine.run(&["sh", "-c", command]).stdout.replace("\\x2d", "-");
        let lines: Vec<&str> =
            left.lines().filter(|line| pods.iter().any(|uuid| line.contains(uuid.as_str()))).collect();
        assert!(lines.is_empty(), "{command}: {lines:#?}");
    }
    machine.rkt(&["run", &ends]).exits(3);
}
