//! `rkt enter`: a command in an app that runs, with what the app has and no more.

use std::{fs, process::Command};

use rkt_tests::{Launcher, Outcome, Pod, Rkt, Terminal, args, run, wait_until};
use rustix::process::Signal;
use serde_json::json;

/// A pod whose app has said "up" and then waits.
fn up<'a>(rkt: &'a Rkt, words: &[&str]) -> Pod<'a> {
    let image = rkt.image("waits", |image| image.sh("echo up; exec sleep 1000").env("COLOUR", "blue"));
    let mut all = args![&image].to_vec();
    all.extend(words.iter().map(Into::into));
    let mut pod = rkt.start(all);
    pod.wait_for("up");
    pod
}

fn enter(rkt: &Rkt, pod: &Pod<'_>, script: &str) -> Outcome {
    rkt.rkt(args!["enter", pod.uuid(), "/bin/sh", "-c", script])
}

#[test]
fn a_command_is_executed_in_the_app_and_gives_its_status() {
    let rkt = Rkt::new();
    let pod = up(&rkt, &[]);
    let end = enter(&rkt, &pod, "pwd; id -u; id -g; echo $COLOUR $AC_APP_NAME; hostname; exit 7").exits(7);
    assert_eq!(end.stdout, format!("/\n0\n0\nblue waits\nrkt-{}\n", pod.uuid()), "{end:?}");
    rkt.rkt(args!["enter", pod.uuid(), "/bin/sh", "-c", "kill -9 $$"]).exits(137);
    // What starts with a dash is the command's.
    rkt.rkt(args!["enter", &pod.uuid()[..8], "/bin/echo", "-n", "--app=x"]).success().stdout_is("--app=x");
    rkt.rkt(args!["enter", pod.uuid(), "--", "/bin/echo", "a"]).success().stdout_is("a\n");
    // A name without a slash is looked up in the app's PATH.
    rkt.rkt(args!["enter", pod.uuid(), "echo", "b"]).success().stdout_is("b\n");
    let file = rkt.file("uuid", format!("{}\n", pod.uuid()));
    rkt.rkt(args!["enter", format!("--uuid-file={}", file.display()), "echo", "c"])
        .success()
        .stdout_is("c\n");
    rkt.rkt(args!["enter", pod.uuid(), "/bin/none"]).exits(203).stderr_has("exec /bin/none: No such file");
    rkt.rkt(args!["enter", pod.uuid()]).exits(203).stderr_has("exec /bin/bash: No such file");
}

#[test]
fn streams_are_the_callers() {
    let rkt = Rkt::new();
    let pod = up(&rkt, &[]);
    let input = rkt.file("input", "one\ntwo\n");
    let mut command = rkt.command(args!["enter", pod.uuid(), "/bin/sh", "-c", "wc -l; echo oops >&2"]);
    command.stdin(fs::File::open(input).unwrap());
    let end = run(&mut command).success().stdout_is("2\n");
    assert_eq!(end.stderr, "oops\n");
}

#[test]
fn the_app_is_named_where_there_are_several() {
    let rkt = Rkt::new();
    let image = rkt.image("waits", |image| image.sh("echo up-$AC_APP_NAME; exec sleep 1000"));
    let mut pod = rkt.start(args![&image, "--name=left", &image, "--name=right"]);
    pod.wait_for("up-left").wait_for("up-right");
    rkt.rkt(args!["enter", pod.uuid(), "/bin/true"]).refused(&["several", "--app", "left, right"]);
    rkt.rkt(args!["enter", "--app=none", pod.uuid(), "/bin/true"]).refused(&["\"none\"", "left, right"]);
    let end =
        rkt.rkt(args!["enter", "--app=right", pod.uuid(), "/bin/sh", "-c", "echo $AC_APP_NAME; touch /mine"]);
    end.success().stdout_is("right\n");
    rkt.rkt(args!["enter", "--app=right", pod.uuid(), "/bin/test", "-e", "/mine"]).success();
    rkt.rkt(args!["enter", "--app=left", pod.uuid(), "/bin/test", "-e", "/mine"]).exits(1);
}

#[test]
fn what_does_not_run_cannot_be_entered() {
    let rkt = Rkt::new();
    let image = rkt.image("short", |image| image.exec(&["/bin/true"]));
    let long = rkt.image("long", |image| image.sh("echo up; exec sleep 1000"));
    rkt.run_pod(args![&image]).success();
    let uuid = rkt.only_pod();
    rkt.rkt(args!["enter", &uuid, "/bin/true"]).refused(&["is not running", "exited"]);
    rkt.rkt(["enter", "ffffffff", "/bin/true"]).refused(&["ffffffff"]);
    rkt.rkt(["enter"]).refused(&["UUID"]);
    let mut pod = rkt.start(args![&image, "--name=short", &long, "--name=long"]);
    pod.wait_for("up");
    wait_until("the end of the short app", || pod.read("stage1/rootfs/rkt/status/short").is_some());
    rkt.rkt(args!["enter", "--app=short", pod.uuid(), "/bin/true"]).refused(&["\"short\"", "has ended"]);
    rkt.rkt(args!["enter", "--app=long", pod.uuid(), "/bin/true"]).success();
}

#[test]
fn a_pod_that_is_about_to_start_is_waited_for() {
    let rkt = Rkt::new();
    let image = rkt.image("slow", |image| {
        image.exec(&["/bin/sleep", "1000"]).with(
            "eventHandlers",
            json!([{"name": "pre-start", "exec": ["/bin/sh", "-c", "sleep 1; echo done > /ready"]}]),
        )
    });
    let pod = rkt.start(args![&image]);
    wait_until("the pod's start", || pod.status().value("state") == Some("running"));
    rkt.rkt(args!["enter", pod.uuid(), "/bin/cat", "/ready"]).success().stdout_is("done\n");
}

#[test]
fn an_app_with_a_post_stop_handler_can_be_entered() {
    let rkt = Rkt::new();
    let image = rkt.image("handler", |image| {
        image
            .exec(&["/bin/sleep", "1000"])
            .with("eventHandlers", json!([{"name": "post-stop", "exec": ["/bin/true"]}]))
    });
    let pod = rkt.start(args![&image]);
    pod.process("sleep 1000");
    rkt.rkt(args!["enter", pod.uuid(), "/bin/echo", "in"]).success().stdout_is("in\n");
}

#[test]
fn signals_are_passed_on_and_nobody_outlives_rkt() {
    let rkt = Rkt::new();
    let pod = up(&rkt, &[]);
    let script = "trap 'echo got it; exit 5' TERM; echo ready; while :; do sleep 0.1; done";
    let mut entered = rkt.enter(&pod, &["/bin/sh", "-c", script]);
    entered.wait_for("ready");
    entered.signal(Signal::TERM);
    entered.wait().exits(5).stdout_has("got it");
    let mut entered = rkt.enter(&pod, &["/bin/sh", "-c", "echo ready; exec sleep 4711"]);
    entered.wait_for("ready");
    entered.signal(Signal::KILL);
    entered.wait().exits(137);
    wait_until("the end of the command", || pod.processes("sleep 4711").is_empty());
    // The pod's end is the command's.
    let mut entered = rkt.enter(&pod, &["/bin/sh", "-c", "echo ready; exec sleep 4712"]);
    entered.wait_for("ready");
    pod.signal(Signal::TERM);
    pod.wait().success();
    entered.wait().exits(137);
}

#[test]
fn who_does_not_read_does_not_keep_it_from_ending() {
    let rkt = Rkt::new();
    let pod = up(&rkt, &[]);
    let command = rkt.command(args!["enter", pod.uuid(), "/bin/seq", "1", "1000000"]);
    let terminal = Terminal::start_unread(&command);
    wait_until("the command", || !pod.processes("seq 1 1000000").is_empty());
    std::thread::sleep(std::time::Duration::from_millis(500));
    terminal.signal(Signal::TERM);
    wait_until("the end of the command", || pod.processes("seq 1 1000000").is_empty());
    terminal.signal(Signal::TERM);
    assert_eq!(terminal.wait(), 143);
}

#[test]
fn a_terminal_is_one_of_the_commands_own() {
    let rkt = Rkt::new();
    let pod = up(&rkt, &[]);
    let command = rkt.command(args!["enter", pod.uuid(), "/bin/sh"]);
    let mut terminal = Terminal::start(&command);
    terminal.write("stty size; echo term $TERM; echo sum $((40+2))\n");
    terminal.wait_for("sum 42");
    terminal.wait_for("24 80");
    terminal.resize(40, 120);
    terminal.write("sleep 0.3; stty size\n");
    terminal.wait_for("40 120");
    // Interrupts are the command's.
    terminal.write("sleep 1000\n");
    std::thread::sleep(std::time::Duration::from_millis(300));
    terminal.write("\u{3}");
    terminal.write("echo st''ill here; exit 6\n");
    terminal.wait_for("still here");
    assert_eq!(terminal.wait(), 6);
}

#[test]
fn no_terminal_of_the_host_gets_in_by_any_stream() {
    let rkt = Rkt::new();
    let pod = up(&rkt, &[]);
    let script = "for n in 0 1 2; do test -t $n && echo $n is a terminal || echo $n is none; done; echo over";
    let inner = rkt.command(args!["enter", pod.uuid(), "/bin/sh", "-c", script]);
    let words: Vec<String> = inner.get_args().map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let line = format!("'{}' {} </dev/null", inner.get_program().to_string_lossy(), words.join(" "));
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]);
    let terminal = Terminal::start(&shell);
    terminal.wait_for("over");
    for number in 0..3 {
        assert!(terminal.text().contains(&format!("{number} is none")), "{}", terminal.text());
    }
    assert_eq!(terminal.wait(), 0);
}

/// What a process is, as it sees itself, on which a command and its app must agree.
const SELF: &str = "for n in mnt pid net ipc uts user cgroup; do readlink /proc/self/ns/$n; done; \
    grep ^0:: /proc/self/cgroup; cat /proc/self/limits; cat /proc/self/oom_score_adj; \
    grep -E '^(Cap|NoNewPrivs|Seccomp:|Uid|Gid|Groups)' /proc/self/status";

#[test]
fn case_21_a_command_has_what_the_app_has() {
    let rkt = Rkt::new();
    let isolators = json!([
        {"name": "os/linux/capabilities-retain-set", "value": {"set": ["CAP_CHOWN", "CAP_KILL"]}},
        {"name": "os/linux/no-new-privileges", "value": true},
        {"name": "os/linux/oom-score-adj", "value": 77},
    ]);
    let image = rkt.image("same", |image| {
        image.sh(&format!("({SELF}) > /self; echo up; exec sleep 1000")).with("isolators", isolators)
    });
    let mut command = Command::new("bash");
    let mut pod = rkt.start(args![&image]);
    pod.wait_for("up");
    let app = rkt.rkt(args!["enter", pod.uuid(), "/bin/cat", "/self"]).success().stdout;
    assert!(app.contains("NoNewPrivs:\t1") && app.contains("\n77\n"), "{app}");
    // The caller's own limits and score are another matter.
    let inner = rkt.command(args!["enter", pod.uuid(), "/bin/sh", "-c", SELF]);
    command.arg("-c").arg("ulimit -S -n 99; ulimit -S -c 0; echo 5 > /proc/self/oom_score_adj; exec \"$@\"");
    command.arg("bash").arg(inner.get_program()).args(inner.get_args());
    let entered = run(&mut command).success();
    assert_eq!(entered.stdout, app);
    // The filter that it has is the app's: one more than the test, which may have inherited some, has.
    let filters = |status: &str| -> u32 {
        let line = status.lines().find_map(|line| line.strip_prefix("Seccomp_filters:"));
        line.unwrap().trim().parse().unwrap()
    };
    let end = rkt.rkt(args!["enter", pod.uuid(), "/bin/cat", "/proc/self/status"]).success();
    assert_eq!(filters(&end.stdout), filters(&fs::read_to_string("/proc/self/status").unwrap()) + 1);
}

#[test]
fn case_21_the_filter_is_the_apps_own() {
    let rkt = Rkt::new();
    let image = rkt.image("filter", |image| {
        image.sh("echo up; exec sleep 1000").user("alice", "wonder").with(
            "isolators",
            json!([{
                "name": "os/linux/seccomp-remove-set",
                "value": {"errno": "EXFULL", "set": ["mkdir", "mkdirat"]},
            }]),
        )
    });
    let mut pod = rkt.start(args![&image]);
    pod.wait_for("up");
    // The app is alice, what enters is root: no permission is missing, and the call is refused all the same.
    rkt.rkt(args!["enter", pod.uuid(), "/bin/id", "-u"]).success().stdout_is("0\n");
    rkt.rkt(args!["enter", pod.uuid(), "/bin/mkdir", "/made"]).exits(1).stderr_has("Exchange full");
    rkt.rkt(args!["enter", pod.uuid(), "/bin/touch", "/made"]).success();
}

#[test]
fn case_21_the_command_is_in_the_apps_cgroup_as_the_host_sees_it() {
    let rkt = Rkt::new();
    let pod = up(&rkt, &[]);
    let mut entered = rkt.enter(&pod, &["/bin/sh", "-c", "echo ready; exec sleep 4713"]);
    entered.wait_for("ready");
    let cgroup = |part: &str| {
        let pid = pod.process(part).as_raw_nonzero();
        fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap()
    };
    let own = |text: &str| text.lines().find(|line| line.starts_with("0::")).map(str::to_owned);
    assert_eq!(own(&cgroup("sleep 4713")), own(&cgroup("sleep 1000")));
    if rkt.launcher() == Launcher::Systemd {
        assert!(cgroup("sleep 4713").contains(&format!("rkt-{}-waits.service", pod.uuid())));
    }
    entered.signal(Signal::TERM);
    entered.wait().exits(143);
}

#[test]
fn case_21_no_descriptor_and_no_program_of_the_host_is_open() {
    let rkt = Rkt::new();
    let pod = up(&rkt, &[]);
    let mut command = Command::new("bash");
    let inner = rkt.command(args!["enter", pod.uuid(), "/bin/ls", "-l", "/proc/self/fd"]);
    command.arg("-c").arg("exec 7</etc/hostname 8>/dev/null 42</; exec \"$@\"").arg("bash");
    command.arg(inner.get_program()).args(inner.get_args());
    let end = run(&mut command).success();
    let numbers: Vec<&str> = end.lines().iter().filter_map(|line| line.split_whitespace().nth(8)).collect();
    // The fourth is the directory that ls itself has open.
    assert_eq!(numbers, ["0", "1", "2", "3"], "{end:?}");
    for path in ["/proc/self/exe", "/proc/self/fd/3", "/proc/1/exe", "/proc/1/root/bin/sh"] {
        let end = rkt.rkt(args!["enter", pod.uuid(), path]);
        assert_eq!(end.status, 203, "{path}\n{end:?}");
    }
}

#[test]
fn case_21_nothing_of_the_image_is_executed_or_loaded_outside() {
    let rkt = Rkt::new();
    // Names that a careless host would look up in the app's root.
    let image = rkt.image("bait", |image| {
        let mut image = image.sh("echo up; exec sleep 1000");
        for name in ["bin/nsenter", "usr/bin/rkt", "usr/lib/rkt/stage1/stage1", "bin/app-exec", "bin/stage1"]
        {
            image = image.file(name, "#!/bin/sh\necho $0 > /bitten\n", 0o755);
        }
        image.file("etc/ld.so.preload", "/bait.so\n", 0o644)
    });
    let mut pod = rkt.start(args![&image]);
    pod.wait_for("up");
    rkt.rkt(args!["enter", pod.uuid(), "/bin/echo", "in"]).success().stdout_is("in\n");
    rkt.rkt(args!["enter", pod.uuid(), "/bin/test", "-e", "/bitten"]).exits(1);
}

#[test]
fn case_21_a_process_that_took_the_apps_pid_is_not_entered() {
    let rkt = Rkt::new();
    let pod = up(&rkt, &[]);
    let note = pod.dir().join("specs/waits.process");
    let text = fs::read_to_string(&note).unwrap();
    // A process of the host with the noted start: still none of the pod.
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let start: u64 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
    fs::write(&note, json!({"pid": std::process::id(), "startTime": start}).to_string()).unwrap();
    rkt.rkt(args!["enter", pod.uuid(), "/bin/true"]).refused(&["is not app \"waits\""]);
    // The pod's init is none of its apps.
    let init = pod.init().as_raw_nonzero().get();
    let stat = fs::read_to_string(format!("/proc/{init}/stat")).unwrap();
    let start: u64 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
    fs::write(&note, json!({"pid": init, "startTime": start}).to_string()).unwrap();
    rkt.rkt(args!["enter", pod.uuid(), "/bin/true"]).refused(&["is not app \"waits\""]);
    // Nor is there one with another start: it is waited for, until the pod ends.
    let app: serde_json::Value = serde_json::from_str(&text).unwrap();
    fs::write(&note, json!({"pid": app["pid"], "startTime": 1}).to_string()).unwrap();
    let entered = rkt.enter(&pod, &["/bin/true"]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    pod.signal(Signal::TERM);
    pod.wait().success();
    entered.wait().exits(254).stderr_has("has ended");
}

#[test]
fn a_device_of_the_host_does_not_become_the_pods() {
    use std::os::unix::fs::MetadataExt;
    let rkt = Rkt::new();
    let pod = up(&rkt, &["--user=5", "--group=5"]);
    let mapped = rkt.image("mapped", |image| image.sh("echo up; exec sleep 1000"));
    let mut other = rkt.start(args!["--private-users", &mapped]);
    other.wait_for("up");
    for pod in [&pod, &other] {
        let inner = rkt.command(args!["enter", pod.uuid(), "/bin/true"]);
        let words: Vec<String> =
            inner.get_args().map(|word| format!("'{}'", word.to_string_lossy())).collect();
        let line = format!("'{}' {} 2>/dev/null", inner.get_program().to_string_lossy(), words.join(" "));
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]);
        assert_eq!(Terminal::start(&shell).wait(), 0);
        let null = fs::metadata("/dev/null").unwrap();
        assert_eq!((null.uid(), null.gid(), null.mode() & 0o777), (0, 0, 0o666));
    }
    for pod in [pod, other] {
        pod.signal(Signal::TERM);
        pod.wait();
    }
}
