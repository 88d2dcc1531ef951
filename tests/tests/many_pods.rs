//! Hundreds of pods at once: all run, all are listed, all go.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rkt_tests::{Launcher, Rkt, args, wait_until_within};

/// How long all may take, on a machine that has other things to do as well.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a host lets its users have of the bus, as an administrator says it, until this is dropped.
struct BusLimits;

impl BusLimits {
    const FILE: &str = "/etc/dbus-1/system.d/rkt-test.conf";

    fn new(config: &str) -> BusLimits {
        fs::write(BusLimits::FILE, config).unwrap();
        BusLimits::reload();
        BusLimits
    }

    /// By a signal, as systemctl needs no connection to the bus for it.
    fn reload() {
        Command::new("systemctl").args(["kill", "--signal=HUP", "dbus.service"]).status().unwrap();
        std::thread::sleep(Duration::from_millis(500));
    }
}

impl Drop for BusLimits {
    fn drop(&mut self) {
        fs::remove_file(BusLimits::FILE).unwrap();
        BusLimits::reload();
    }
}

fn start_at_once(count: usize) {
    let rkt = Rkt::new();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let shared = rkt.files().join("shared");
    fs::create_dir(&shared).unwrap();
    let image = rkt.image("many", |image| {
        image.sh("touch /shared/$$-$(hostname); until [ -e /shared/go ]; do sleep 0.5; done; exit 3")
    });
    let id = rkt.rkt(args!["fetch", &image]).success().stdout.trim().to_owned();
    let volume = format!("--volume=shared,kind=host,source={}", shared.display());
    let mut pods: Vec<Child> = (0..count)
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
        running() == count
    });
    let list = rkt.rkt(["list", "--format=json"]).success().json();
    let states: Vec<&str> =
        list.as_array().unwrap().iter().map(|pod| pod["state"].as_str().unwrap()).collect();
    assert_eq!(states, vec!["running"; count]);
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
        let log =
            Command::new("journalctl").arg("--unit=dbus.service").arg(format!("--since=@{since}")).output();
        let log = String::from_utf8_lossy(&log.unwrap().stdout).into_owned();
        assert!(!log.contains("full message queue"), "{log}");
    }
}

#[test]
fn case_45_two_hundred_pods_start_at_once_and_go() {
    start_at_once(200);
}

#[test]
fn more_pods_than_a_user_has_connections_to_the_bus_are_refused_with_advice_or_run() {
    let rkt = Rkt::new();
    if rkt.launcher() == Launcher::Direct {
        return;
    }
    let image = rkt.image("one", |image| image.sh("echo ran"));
    rkt.run_pod(args![&image]).success();
    let few = "<busconfig><limit name=\"max_connections_per_user\">1</limit></busconfig>";
    let limits = BusLimits::new(few);
    let end = rkt.run_pod(args![&image]);
    drop(limits);
    end.refused(&["connect to the system bus", "raise max_connections_per_user", "--supervisor=direct"]);
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../units/bus-limits.conf");
    let _limits = BusLimits::new(&fs::read_to_string(shipped).unwrap());
    start_at_once(300);
}
