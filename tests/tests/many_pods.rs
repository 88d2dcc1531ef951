//! Two hundred pods at once: all run, all are listed, all go.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use rkt_tests::{Launcher, Rkt, args, wait_until_within};

const COUNT: usize = 200;

/// How long all may take, on a machine that has other things to do as well.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

#[test]
fn case_45_two_hundred_pods_start_at_once_and_go() {
    let rkt = Rkt::new();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let shared = rkt.files().join("shared");
    fs::create_dir(&shared).unwrap();
    let image = rkt.image("many", |image| {
        image.sh("touch /shared/$$-$(hostname); until [ -e /shared/go ]; do sleep 0.5; done; exit 3")
    });
    let id = rkt.rkt(args!["fetch", &image]).success().stdout.trim().to_owned();
    let volume = format!("--volume=shared,kind=host,source={}", shared.display());
    let mut pods: Vec<Child> = (0..COUNT)
        .map(|_| {
            let all = rkt.run_args(args![&volume, &id, "--mount=volume=shared,target=/shared"]);
            rkt.command(all).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let running = || fs::read_dir(&shared).unwrap().count();
    wait_until_within(PATIENCE, "all apps run", || {
        for pod in &mut pods {
            if let Some(status) = pod.try_wait().unwrap() {
                let mut text = String::new();
                std::io::Read::read_to_string(pod.stderr.as_mut().unwrap(), &mut text).unwrap();
                panic!("a pod ended early: {status}: {text}");
            }
        }
        running() == COUNT
    });
    let list = rkt.rkt(["list", "--format=json"]).success().json();
    let states: Vec<&str> =
        list.as_array().unwrap().iter().map(|pod| pod["state"].as_str().unwrap()).collect();
    assert_eq!(states, vec!["running"; COUNT]);
    fs::write(shared.join("go"), "").unwrap();
    for pod in pods {
        let end = pod.wait_with_output().unwrap();
        assert_eq!(end.status.code(), Some(3), "{}", String::from_utf8_lossy(&end.stderr));
    }
    let list = rkt.rkt(["list", "--format=json"]).success().json();
    assert!(list.as_array().unwrap().iter().all(|pod| pod["apps"][0]["exit_code"] == 3));
    rkt.collect();
    // What the bus has no room for is lost to systemd, which then may leave the bus.
    if rkt.launcher() == Launcher::Systemd {
        let bus = ["--unit=dbus.service", "--unit=dbus-broker.service"];
        let log = Command::new("journalctl").args(bus).arg(format!("--since=@{since}")).output().unwrap();
        let log = String::from_utf8_lossy(&log.stdout).into_owned();
        assert!(!log.contains("full message queue"), "{log}");
    }
}
