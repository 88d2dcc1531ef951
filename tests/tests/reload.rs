//! systemd that reads its units anew while pods run. Runs alone: the other tests' systemd is the same.

use std::{fs, process::Command};

use rkt_tests::{Launcher, Rkt, args, run};
use rustix::process::Signal;
use serde_json::json;

#[test]
fn case_27_a_reloaded_systemd_changes_nothing_for_a_pod() {
    let rkt = Rkt::new();
    if rkt.launcher() != Launcher::Systemd {
        return;
    }
    let image = rkt.image("reload", |image| {
        image.sh("echo up; while :; do echo tick; sleep 0.1; done").with(
            "isolators",
            json!([
                {"name": "resource/memory", "value": {"limit": "64Mi"}},
                {"name": "resource/pids", "value": {"limit": "50"}},
            ]),
        )
    });
    let mut pod = rkt.start(args![&image]);
    pod.wait_for("up");
    let app = pod.process("echo up").as_raw_nonzero();
    let unit = format!("rkt-{}-reload.service", pod.uuid());
    let state = || {
        let mut show = Command::new("systemctl");
        show.args(["show", &unit]);
        for name in [
            "MainPID",
            "ActiveState",
            "MemoryMax",
            "TasksMax",
            "Slice",
            "BindsTo",
            "DevicePolicy",
            "ControlGroup",
        ] {
            show.arg(format!("--property={name}"));
        }
        let shown = run(&mut show).success().stdout;
        let cgroup = fs::read_to_string(format!("/proc/{app}/cgroup")).unwrap();
        let descriptors = (0..64)
            .filter_map(|number| fs::read_link(format!("/proc/{app}/fd/{number}")).ok())
            .collect::<Vec<_>>();
        let path = cgroup.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
        let limits: Vec<_> = ["memory.max", "pids.max", "cgroup.controllers"]
            .map(|file| fs::read_to_string(format!("/sys/fs/cgroup{path}/{file}")).ok())
            .into();
        (shown, cgroup, descriptors, limits)
    };
    let before = state();
    assert!(before.0.contains("ActiveState=active") && before.0.contains("TasksMax=50"), "{before:?}");
    for verb in ["daemon-reload", "daemon-reexec", "daemon-reload"] {
        run(Command::new("systemctl").arg(verb)).success();
        assert_eq!(state(), before, "{verb}");
        let ticks = |text: &str| text.matches("tick").count();
        let seen = ticks(&pod.stdout_so_far());
        rkt_tests::wait_until("more output", || ticks(&pod.stdout_so_far()) > seen);
        rkt.rkt(args!["enter", pod.uuid(), "/bin/echo", "in"]).success().stdout_is("in\n");
        assert_eq!(pod.status().value("state"), Some("running"), "{verb}");
    }
    pod.signal(Signal::TERM);
    pod.wait().success();
}
