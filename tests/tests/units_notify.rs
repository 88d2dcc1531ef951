//! Apps that tell a service manager how they are: readiness, reloading, and signs of life.

use std::{ffi::OsString, fs, os::unix::net::UnixDatagram, time::Duration};

use rkt_tests::{
    Launcher, Pod, Rkt, args,
    units::{IMAGE, each, on_systemd},
    wait_until,
};
use rustix::process::{Signal, kill_process};
use serde_json::json;

const NOTIFIES: &str = "appc.io/executor/supports-systemd-notify";

/// An image whose app does these steps of `service`, and whose manifest says whether it speaks for itself.
fn service(rkt: &Rkt, name: &str, speaks: bool, steps: &[&str]) -> String {
    let content = fs::read(env!("CARGO_BIN_EXE_service")).expect("the program service");
    let image = rkt.image(name, |image| {
        let words: Vec<&str> = std::iter::once("/bin/service").chain(steps.iter().copied()).collect();
        let value = if speaks { "true" } else { "false" };
        let image = image.field("annotations", json!([{"name": NOTIFIES, "value": value}]));
        image.file("bin/service", content, 0o755).exec(&words)
    });
    image.display().to_string()
}

/// A service manager, which is told things.
struct Manager(UnixDatagram);

impl Manager {
    fn new(rkt: &Rkt) -> Manager {
        let socket = UnixDatagram::bind(rkt.files().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        Manager(socket)
    }

    /// Starts a pod.
    fn starts<'a>(&self, rkt: &'a Rkt, args: &[OsString]) -> Pod<'a> {
        rkt.start_in(&[("NOTIFY_SOCKET", &rkt.files().join("notify"))], args)
    }

    /// The next message, without the last newline.
    #[track_caller]
    fn hears(&self) -> String {
        let mut text = [0; 4096];
        let length = self.0.recv(&mut text).expect("a message");
        String::from_utf8_lossy(&text[..length]).trim_end().to_owned()
    }

    /// Asserts that there is no message.
    #[track_caller]
    fn hears_nothing(&self) {
        self.0.set_nonblocking(true).expect("a socket that does not block");
        let mut text = [0; 4096];
        assert!(self.0.recv(&mut text).is_err(), "{}", String::from_utf8_lossy(&text));
        self.0.set_nonblocking(false).expect("a socket that blocks");
    }
}

#[test]
fn a_pod_is_ready_when_its_apps_are_started_and_those_that_say_so_are_ready() {
    let rkt = Rkt::new();
    let manager = Manager::new(&rkt);
    let quiet = service(&rkt, "quiet", false, &["env=NOTIFY_SOCKET", "stays"]);
    let talks = service(
        &rkt,
        "talks",
        true,
        &[
            "print=up",
            "until=USR1",
            "say=STATUS=half way,MAINPID=1,FDSTORE=1",
            "until=USR1",
            "say=READY=1",
            "stays",
        ],
    );
    let mut pod = manager.starts(&rkt, &args![&quiet, &talks]);
    pod.wait_for("talks: up").wait_for("quiet: NOTIFY_SOCKET=\n");
    let uuid = pod.uuid().to_owned();
    manager.hears_nothing();
    rkt.rkt(["status", "--wait-ready=200ms", &uuid]).refused(&["not ready yet"]);
    // Signals for the pod reach its apps.
    pod.signal(Signal::USR1);
    assert_eq!(manager.hears(), "STATUS=talks: half way");
    manager.hears_nothing();
    pod.signal(Signal::USR1);
    assert_eq!(manager.hears(), "READY=1");
    rkt.rkt(["status", "--wait-ready=10s", &uuid]).success();
    pod.signal(Signal::TERM);
    assert_eq!(manager.hears(), "STOPPING=1");
    pod.wait();
}

#[test]
fn case_47_what_an_app_says_of_processes_and_descriptors_stays_in_the_pod() {
    let rkt = Rkt::new();
    let manager = Manager::new(&rkt);
    let huge = format!("say=STATUS={}", "A".repeat(100_000));
    let image = service(
        &rkt,
        "lies",
        true,
        &[
            "print=up",
            "until=USR1",
            "say=MAINPID=1",
            "say=MAINPIDFD=1,MAINPIDFDID=1",
            "say=FDSTORE=1,FDNAME=x,FDPOLL=0",
            "say=FDSTOREREMOVE=1,FDNAME=x",
            "say=NOTIFYACCESS=all",
            "say=ERRNO=1,BUSERROR=x,EXIT_STATUS=7,MONITOR_USEC=0,WATCHDOG_USEC=1,WATCHDOG=yes",
            "say=STOPPING=1",
            "say=BARRIER=1",
            "say=READY=10,READY = 1,EXTEND_TIMEOUT_USEC=never,=,",
            &huge,
            "say=STATUS=fine,READY=1",
            "stays",
        ],
    );
    let mut pod = manager.starts(&rkt, &args![&image]);
    pod.wait_for("up");
    manager.hears_nothing();
    pod.signal(Signal::USR1);
    let long = manager.hears();
    assert!(long.starts_with("STATUS=AAA") && long.len() <= 4096, "{} bytes", long.len());
    let mut all = manager.hears();
    if !all.contains("READY=1") {
        all = format!("{all}\n{}", manager.hears());
    }
    assert_eq!(all, "STATUS=fine\nREADY=1");
    manager.hears_nothing();
    pod.signal(Signal::TERM);
    assert_eq!(manager.hears(), "STOPPING=1");
    pod.wait();
}

#[test]
fn a_pod_whose_apps_say_nothing_is_ready_when_they_are_started() {
    let rkt = Rkt::new();
    let manager = Manager::new(&rkt);
    let image = rkt.image("web", |image| image.sh("echo up; sleep 1000 & wait"));
    let mut pod = manager.starts(&rkt, &args![&image, "--name=one", &image, "--name=two"]);
    pod.wait_for("one: up").wait_for("two: up");
    let heard = manager.hears();
    assert!(heard.starts_with("READY=1\nSTATUS=Pod "), "{heard}");
    pod.signal(Signal::TERM);
    pod.wait();
}

#[test]
fn an_app_may_be_said_to_tell_when_it_is_started() {
    let rkt = Rkt::new();
    let image = service(&rkt, "late", false, &["env=NOTIFY_SOCKET", "env=WATCHDOG_USEC", "say=READY=1"]);
    let annotation = format!("--annotation={NOTIFIES}=true");
    let end = rkt.run_pod(args![&image, annotation]).success();
    end.stdout_is("NOTIFY_SOCKET=/run/systemd/notify\nWATCHDOG_USEC=\n");
}

#[test]
fn apps_of_other_users_tell_as_well() {
    let rkt = Rkt::new();
    let manager = Manager::new(&rkt);
    let image = service(&rkt, "talks", true, &["say=READY=1", "stays"]);
    for more in [["--user=1000", "--group=1001"], ["--readonly-rootfs=true", "--user=0"]] {
        for users in ["", "--private-users"] {
            let mut words = args![users].to_vec();
            words.retain(|word| !word.is_empty());
            words.push((&image).into());
            words.extend(args![more[0], more[1]]);
            let pod = manager.starts(&rkt, &words);
            assert!(manager.hears().starts_with("READY=1"));
            pod.signal(Signal::TERM);
            assert_eq!(manager.hears(), "STOPPING=1");
            pod.wait();
        }
    }
}

#[test]
fn a_unit_is_active_when_the_app_says_that_it_is_ready() {
    each(|rkt, units| {
        let steps = ["print=up", "until=USR1", "say=READY=1,STATUS=serving", "reloads"];
        let image = service(rkt, "web", true, &steps);
        let unit = units.example("web.service", &[(IMAGE, &image)]);
        units.example("web.slice", &[]);
        units.ctl(&["start", "--no-block", &unit]).success();
        units.wait_for_journal(&unit, "up");
        assert_eq!(units.show(&unit, "ActiveState"), "activating");
        units.ctl(&["kill", "--signal=USR1", "--kill-who=main", &unit]).success();
        units.wait_for(&unit, "ActiveState", "active");
        assert_eq!(units.show(&unit, "StatusText"), "serving");
        // Reloading is passed on in both directions.
        units.ctl(&["reload", &unit]).success();
        units.wait_for_journal(&unit, "reloaded");
        units.wait_for(&unit, "StatusText", "fresh");
        assert_eq!(units.show(&unit, "ActiveState"), "active");
        units.ctl(&["stop", &unit]).success();
    });
}

#[test]
fn an_app_that_hangs_is_found_by_the_watchdog_of_the_unit() {
    each(|rkt, units| {
        let image = service(rkt, "watched", true, &["env=WATCHDOG_USEC", "say=READY=1", "beats"]);
        let unit = units.example(
            "watched.service",
            &[
                ("example.com/watched:1.0", &image),
                ("WatchdogSec=30", "WatchdogSec=5\nTimeoutStopSec=3\nTimeoutAbortSec=2"),
            ],
        );
        units.ctl(&["start", &unit]).success();
        units.wait_for_journal(&unit, "WATCHDOG_USEC=5000000");
        std::thread::sleep(Duration::from_secs(6));
        assert_eq!(
            (units.show(&unit, "ActiveState"), units.show(&unit, "NRestarts")),
            ("active".into(), "0".into())
        );
        units.ctl(&["kill", "--signal=USR2", "--kill-who=main", &unit]).success();
        units.wait_for_journal(&unit, "hangs");
        rkt_tests::wait_until("the restart", || units.show(&unit, "NRestarts") != "0");
        units.wait_for(&unit, "ActiveState", "active");
    });
}

#[test]
fn a_watchdog_that_no_app_answers_watches_the_supervisor() {
    each(|rkt, units| {
        let image = service(rkt, "web", false, &["env=WATCHDOG_USEC", "stays"]);
        let unit = units.example(
            "web.service",
            &[
                (IMAGE, &image),
                ("Type=notify", "Type=notify\nWatchdogSec=1\nTimeoutAbortSec=1"),
                ("on-failure", "no"),
            ],
        );
        units.example("web.slice", &[]);
        units.example("pod-failed@.service", &[]);
        units.ctl(&["start", &unit]).success();
        units.wait_for_journal(&unit, "WATCHDOG_USEC=\n");
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(units.show(&unit, "ActiveState"), "active");
        let supervisor = units.show(&unit, "MainPID").parse().unwrap();
        kill_process(rustix::process::Pid::from_raw(supervisor).unwrap(), Signal::STOP).unwrap();
        units.wait_for(&unit, "Result", "watchdog");
    });
}

#[test]
fn an_app_started_later_tells_as_well() {
    let rkt = Rkt::new();
    if rkt.launcher() == Launcher::Direct && on_systemd() {
        return;
    }
    let image = service(&rkt, "talks", true, &["env=NOTIFY_SOCKET", "say=READY=1", "print=said", "stays"]);
    let pod = rkt.start_command(&["app", "sandbox"], &[]);
    rkt.rkt(["fetch", &image]).success();
    rkt.rkt(["app", "add", pod.uuid(), &image, "--name=talks"]).success();
    rkt.rkt(["app", "start", pod.uuid(), "--app=talks"]).success();
    wait_until("what the app says", || rkt.rkt(["logs", pod.uuid()]).stdout.contains("said"));
    pod.signal(Signal::TERM);
    pod.wait();
}
