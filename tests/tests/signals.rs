//! However a pod is ended, it ends in a documented state, and the harness finds nothing left of it.

use std::{process::Command, time::Duration};

use rkt_tests::{Launcher, Pod, Rkt, args, run, wait_until};
use rustix::process::{Signal, kill_process};

/// Says hello, then waits for SIGTERM and ends with 0.
const POLITE: &str = "trap 'echo bye; exit 0' TERM; echo hello; while :; do sleep 0.1; done";
/// Does not end by SIGTERM.
const STUBBORN: &str = "trap '' TERM; echo hello; while :; do sleep 0.1; done";

fn two_apps(rkt: &Rkt) -> Pod<'_> {
    let image = rkt.image("polite", |image| image.sh(POLITE));
    let mut pod = rkt.start(args![&image, "--name=one", &image, "--name=two"]);
    pod.wait_for("one: hello").wait_for("two: hello");
    pod
}

fn sleeper(rkt: &Rkt) -> Pod<'_> {
    let image = rkt.image("sleeper", |image| image.sh("echo hello; exec sleep 1000"));
    let mut pod = rkt.start(args![&image]);
    pod.wait_for("hello");
    pod
}

fn assert_exited(rkt: &Rkt, uuid: &str) {
    wait_until("the pod's end", || rkt.rkt(["status", uuid]).value("state") == Some("exited"));
}

// APPC-223
#[test]
fn case_39_sigterm_and_sigint_stop_the_apps_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let rkt = Rkt::new();
        let pod = two_apps(&rkt);
        let uuid = pod.uuid().to_owned();
        pod.signal(signal);
        let end = pod.wait().success();
        let order: Vec<&str> = end.lines().into_iter().filter(|line| line.ends_with("bye")).collect();
        assert_eq!(order, ["two: bye", "one: bye"], "the last started ends first\n{end:?}");
        let status = rkt.rkt(["status", &uuid]).success();
        assert_eq!((status.value("app-one"), status.value("app-two")), (Some("0"), Some("0")));
        assert_exited(&rkt, &uuid);
    }
}

#[test]
fn an_app_that_dies_of_our_sigterm_has_not_failed() {
    let rkt = Rkt::new();
    let pod = sleeper(&rkt);
    let uuid = pod.uuid().to_owned();
    pod.signal(Signal::TERM);
    pod.wait().success();
    assert_eq!(rkt.rkt(["status", &uuid]).value("app-sleeper"), Some("143"));
}

#[test]
fn an_app_that_fails_while_it_is_stopped_decides() {
    let rkt = Rkt::new();
    let image =
        rkt.image("sour", |image| image.sh("trap 'exit 3' TERM; echo hello; while :; do sleep 0.1; done"));
    let mut pod = rkt.start(args![&image]);
    pod.wait_for("hello");
    pod.signal(Signal::TERM);
    pod.wait().exits(3);
}

#[test]
fn case_39_a_second_sigterm_kills() {
    let rkt = Rkt::new();
    let image = rkt.image("stubborn", |image| image.sh(STUBBORN));
    let mut pod = rkt.start(args![&image]);
    pod.wait_for("hello");
    let uuid = pod.uuid().to_owned();
    pod.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(rkt.rkt(["status", &uuid]).value("state"), Some("running"), "the first one only asks");
    pod.signal(Signal::TERM);
    pod.wait();
    assert_eq!(rkt.rkt(["status", &uuid]).value("app-stubborn"), Some("137"));
}

#[test]
fn rkt_stop_ends_the_pod_in_order() {
    let rkt = Rkt::new();
    let pod = two_apps(&rkt);
    let uuid = pod.uuid().to_owned();
    rkt.rkt(["stop", &uuid]).success().stdout_is(&format!("\"{uuid}\"\n"));
    pod.wait().success().stdout_has("two: bye");
    assert_exited(&rkt, &uuid);
    rkt.rkt(["stop", &uuid]).success().stdout_is(&format!("pod \"{uuid}\" is already stopped\n"));
}

#[test]
fn rkt_stop_takes_a_uuid_file_and_refuses_what_is_no_pod() {
    let rkt = Rkt::new();
    let pod = sleeper(&rkt);
    let file = rkt.file("uuid", format!("{}\n", pod.uuid()));
    rkt.rkt(args!["stop", format!("--uuid-file={}", file.display())]).success();
    pod.wait().success();
    rkt.rkt(["stop", "00000000"]).refused(&["no matches found for \"00000000\""]);
}

#[test]
fn rkt_stop_force_kills_a_stubborn_pod() {
    let rkt = Rkt::new();
    let image = rkt.image("stubborn", |image| image.sh(STUBBORN));
    let mut pod = rkt.start(args![&image]);
    pod.wait_for("hello");
    let uuid = pod.uuid().to_owned();
    rkt.rkt(["stop", "--force", &uuid]).success().stdout_is(&format!("\"{uuid}\"\n"));
    pod.wait().exits(137);
    assert_exited(&rkt, &uuid);
}

#[test]
fn case_29_kill_9_of_the_supervisor_ends_the_pod() {
    let rkt = Rkt::new();
    let pod = two_apps(&rkt);
    let uuid = pod.uuid().to_owned();
    let init = pod.init();
    pod.signal(Signal::KILL);
    pod.wait().exits(137);
    wait_until("the death of init", || rustix::process::test_kill_process(init).is_err());
    assert_exited(&rkt, &uuid);
}

#[test]
fn case_29_kill_9_of_init_ends_the_pod() {
    let rkt = Rkt::new();
    let pod = two_apps(&rkt);
    let uuid = pod.uuid().to_owned();
    kill_process(pod.init(), Signal::KILL).unwrap();
    pod.wait().exits(137).stderr_has("init was killed");
    assert_exited(&rkt, &uuid);
    let status = rkt.rkt(["status", &uuid]).success();
    assert_eq!((status.value("app-one"), status.value("app-two")), (Some("137"), Some("137")));
}

#[test]
fn kill_9_of_one_app_fails_the_pod() {
    let rkt = Rkt::new();
    let image = rkt.image("polite", |image| image.sh(POLITE));
    let victim = rkt.image("victim", |image| image.sh("echo hello; exec sleep 1234"));
    let mut pod = rkt.start(args![&image, "--name=one", &victim]);
    pod.wait_for("one: hello").wait_for("victim: hello");
    let uuid = pod.uuid().to_owned();
    kill_process(pod.process("sleep 1234"), Signal::KILL).unwrap();
    pod.wait().exits(137).stdout_has("one: bye");
    let status = rkt.rkt(["status", &uuid]).success();
    assert_eq!((status.value("app-one"), status.value("app-victim")), (Some("0"), Some("137")));
}

#[test]
fn case_31_a_stale_pid_is_never_signalled() {
    let rkt = Rkt::new();
    let pod = sleeper(&rkt);
    let uuid = pod.uuid().to_owned();
    pod.signal(Signal::TERM);
    pod.wait().success();
    // As if the PIDs had been given to somebody else after the pod's end.
    let mut bystander = Command::new("sleep").arg("1000").spawn().unwrap();
    for name in ["pid", "ppid"] {
        std::fs::write(rkt.pod_dir(&uuid).join(name), format!("{}\n", bystander.id())).unwrap();
    }
    rkt.rkt(["stop", "--force", &uuid]);
    rkt.rkt(["gc", "--grace-period=0s"]).success();
    assert!(bystander.try_wait().unwrap().is_none(), "a stranger was killed");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[test]
fn case_39_machinectl_poweroff_and_terminate_end_the_pod() {
    for (verb, kind) in [("poweroff", "orderly"), ("terminate", "at once")] {
        let rkt = Rkt::new();
        if rkt.launcher() == Launcher::Direct {
            return;
        }
        let pod = two_apps(&rkt);
        let uuid = pod.uuid().to_owned();
        run(Command::new("machinectl").args([verb, &format!("rkt-{uuid}")])).success();
        let end = pod.wait();
        if kind == "orderly" {
            end.success().stdout_has("two: bye").stdout_has("one: bye");
        }
        assert_exited(&rkt, &uuid);
    }
}

#[test]
fn systemctl_stop_of_an_apps_unit_ends_that_app_only() {
    let rkt = Rkt::new();
    if rkt.launcher() == Launcher::Direct {
        return;
    }
    let mut pod = two_apps(&rkt);
    let uuid = pod.uuid().to_owned();
    run(Command::new("systemctl").args(["stop", &format!("rkt-{uuid}-two.service")])).success();
    pod.wait_for("two: bye");
    std::thread::sleep(Duration::from_millis(500));
    let status = pod.status();
    assert_eq!(status.value("state"), Some("running"), "{status:?}");
    run(Command::new("systemctl").args(["stop", &format!("rkt-{uuid}-one.service")])).success();
    pod.wait().success();
    assert_exited(&rkt, &uuid);
}
