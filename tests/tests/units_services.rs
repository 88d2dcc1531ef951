//! Pods as services: the example units, started by a real systemd.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use rkt_tests::{
    Rkt, Terminal, args,
    units::{IMAGE, Units, each, on_systemd, tool},
    wait_until,
};

fn shell(rkt: &Rkt, script: &str) -> String {
    rkt.image("web", |image| image.sh(script)).display().to_string()
}

#[test]
fn the_examples_are_clean() {
    if !on_systemd() {
        return;
    }
    let rkt = Rkt::new();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../units/examples");
    let mut words = vec!["systemd-analyze".to_owned(), "verify".to_owned(), "--man=no".to_owned()];
    for file in fs::read_dir(examples).unwrap().flatten() {
        let text = fs::read_to_string(file.path()).unwrap();
        let text = text.replace("/usr/bin/rkt", rkt.program("rkt").to_str().unwrap());
        words.push(rkt.file(file.file_name().to_str().unwrap(), text).display().to_string());
    }
    assert!(words.len() > 10, "{words:?}");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = tool(&words).success();
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
}

#[test]
fn a_pod_is_started_stopped_and_restarted_as_a_service() {
    each(|rkt, units| {
        let image = shell(rkt, "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done");
        let unit = units.example("web.service", &[(IMAGE, &image)]);
        units.example("web.slice", &[]);
        units.ctl(&["start", &unit]).success();
        assert_eq!(units.show(&unit, "ActiveState"), "active");
        let uuid = units.pod();
        assert!(units.show(&unit, "StatusText").contains(&uuid));
        rkt.rkt(["status", units.name("web").as_str()]).success().stdout_has("state=running");
        units.wait_for_journal(&unit, "up");
        units.ctl(&["restart", &unit]).success();
        assert_eq!(units.show(&unit, "ActiveState"), "active");
        assert_ne!(units.pod(), uuid);
        assert_eq!(rkt.rkt(["status", &uuid]).value("state"), Some("exited"));
        units.wait_for_journal(&unit, "bye");
        units.ctl(&["stop", &unit]).success();
        assert_eq!(
            (units.show(&unit, "ActiveState"), units.show(&unit, "Result")),
            ("inactive".into(), "success".into())
        );
        assert_eq!(units.show(&unit, "NRestarts"), "0");
    });
}

#[test]
fn systemd_sees_the_exit_status_of_the_app() {
    each(|rkt, units| {
        let image = shell(rkt, "exit 3");
        let unit = units.example("web.service", &[(IMAGE, &image), ("on-failure", "no")]);
        units.example("web.slice", &[]);
        let failed = units.example("pod-failed@.service", &[]);
        units.ctl(&["start", &unit]);
        units.wait_for(&unit, "ActiveState", "failed");
        assert_eq!(units.show(&unit, "ExecMainStatus"), "3");
        assert_eq!(units.show(&unit, "Result"), "exit-code");
        let failed = failed.replace("@.", &format!("@{unit}."));
        units.wait_for_journal(&failed, &format!("{unit} has failed: exit-code, status 3"));
    });
}

#[test]
fn a_pod_is_started_again_when_it_fails_and_when_it_asks_for_it() {
    // An app that ends well is not started again, but by an exit status that says so.
    for (status, restarts) in [(7, true), (75, true), (0, false)] {
        each(|rkt, units| {
            let image = shell(rkt, &format!("echo up; sleep 0.5; exit {status}"));
            let unit = units.example("web.service", &[(IMAGE, &image), ("RestartSec=1", "RestartSec=100ms")]);
            units.example("web.slice", &[]);
            units.example("pod-failed@.service", &[]);
            units.ctl(&["start", &unit]).success();
            if restarts {
                wait_until("a restart", || units.show(&unit, "NRestarts") != "0");
            } else {
                units.wait_for(&unit, "ActiveState", "inactive");
                assert_eq!(units.show(&unit, "NRestarts"), "0");
            }
            units.ctl(&["stop", &unit]).success();
        });
    }
}

#[test]
fn case_39_stopping_is_orderly_whoever_is_signalled() {
    // By ExecStop= and the signal after it; by the signal alone; with all processes of the unit signalled.
    let changes: [&[(&str, &str)]; 3] = [
        &[],
        &[("ExecStop=-/usr/bin/rkt stop %N\n", "")],
        &[("ExecStop=-/usr/bin/rkt stop %N\n", ""), ("KillMode=mixed", "KillMode=control-group")],
    ];
    for more in changes {
        each(|rkt, units| {
            // Not at once: who is killed meanwhile says nothing.
            let image =
                shell(rkt, "trap 'sleep 0.5; echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done");
            let mut changes = vec![(IMAGE, image.as_str())];
            changes.extend(more);
            let unit = units.example("web.service", &changes);
            units.example("web.slice", &[]);
            units.ctl(&["start", &unit]).success();
            units.wait_for_journal(&unit, "up");
            let uuid = units.pod();
            units.ctl(&["stop", &unit]).success();
            assert_eq!(units.show(&unit, "Result"), "success", "{more:?}");
            units.wait_for_journal(&unit, "bye");
            assert_eq!(rkt.rkt(["status", &uuid]).value("app-web"), Some("0"));
        });
    }
}

#[test]
fn apps_end_in_reverse_order_when_their_unit_is_stopped() {
    each(|rkt, units| {
        let image =
            shell(rkt, "trap 'sleep 0.3; echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done");
        let two = format!("{image} --name=one {image} --name=two");
        let unit = units.example("web.service", &[(IMAGE, &two)]);
        units.example("web.slice", &[]);
        units.ctl(&["start", &unit]).success();
        wait_until("both apps", || units.journal(&unit, &[]).stdout.matches("up").count() == 2);
        units.ctl(&["stop", &unit]).success();
        wait_until("the end of both", || units.journal(&unit, &[]).stdout.matches("bye").count() == 2);
        let entries = units.journal(&unit, &["--output=json"]).stdout;
        let order: Vec<String> = entries
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .filter(|entry| entry["MESSAGE"] == "bye")
            .map(|entry| entry["RKT_APP_NAME"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(order, ["two", "one"]);
    });
}

#[test]
fn reloading_reaches_the_app() {
    each(|rkt, units| {
        let image = shell(rkt, "trap 'echo reloaded' HUP; echo up; while :; do sleep 0.1; done");
        let unit = units.example("web.service", &[(IMAGE, &image)]);
        units.example("web.slice", &[]);
        units.ctl(&["start", &unit]).success();
        units.wait_for_journal(&unit, "up");
        units.ctl(&["reload", &unit]).success();
        units.wait_for_journal(&unit, "reloaded");
        assert_eq!(units.show(&unit, "ActiveState"), "active");
    });
}

#[test]
fn signals_for_the_unit_reach_the_app() {
    each(|rkt, units| {
        let image =
            shell(rkt, "trap 'echo one' USR1; trap 'echo two' USR2; echo up; while :; do sleep 0.1; done");
        let unit = units.example("web.service", &[(IMAGE, &image), ("on-failure", "no")]);
        units.example("web.slice", &[]);
        units.example("pod-failed@.service", &[]);
        units.ctl(&["start", &unit]).success();
        units.wait_for_journal(&unit, "up");
        units.ctl(&["kill", "--signal=USR1", "--kill-who=main", &unit]).success();
        units.wait_for_journal(&unit, "one");
        units.ctl(&["kill", "--signal=USR2", "--kill-who=main", &unit]).success();
        units.wait_for_journal(&unit, "two");
        assert_eq!(units.show(&unit, "ActiveState"), "active");
        units.ctl(&["kill", "--signal=KILL", &unit]).success();
        units.wait_for(&unit, "ActiveState", "failed");
        assert_eq!(units.show(&unit, "Result"), "signal");
    });
}

#[test]
fn the_journal_of_the_unit_has_priorities() {
    each(|rkt, units| {
        let image =
            shell(rkt, "echo '<3>on fire'; echo '<7>detail'; echo plain; echo oops >&2; exec sleep 1000");
        let unit = units.example("web.service", &[(IMAGE, &image)]);
        units.example("web.slice", &[]);
        units.ctl(&["start", &unit]).success();
        units.wait_for_journal(&unit, "oops");
        let errors = units.journal(&unit, &["--priority=err"]);
        assert_eq!(errors.stdout, "on fire\n");
        let notices = units.journal(&unit, &["--priority=notice"]);
        assert!(notices.stdout.contains("oops") && !notices.stdout.contains("plain"), "{notices:?}");
        assert_eq!(units.journal(&unit, &["--priority=debug..debug"]).stdout, "detail\n");
    });
}

#[test]
fn the_pod_is_in_the_units_slice_and_bound_by_what_bounds_the_unit() {
    if !on_systemd() {
        return;
    }
    let rkt = Rkt::new();
    let units = Units::new(&rkt, "systemd");
    let image = shell(&rkt, "echo up; exec sleep 1000");
    // The app's own limit is the lower one of memory, and the higher one of processes.
    let limited = format!("{image} --memory=64M --pids-limit=1000");
    let unit = units.example("web.service", &[(IMAGE, &limited)]);
    let above = units.example("web.slice", &[]);
    units.ctl(&["start", &unit]).success();
    units.wait_for_journal(&unit, "up");
    let uuid = units.pod();
    let slice =
        format!("{}-rkt\\x2d{}.slice", above.strip_suffix(".slice").unwrap(), uuid.replace('-', "\\x2d"));
    let show = |unit: &str, property: &str| units.show(unit, property).replace("\\\\", "\\").replace('"', "");
    assert_eq!(show(&slice, "Slice"), above);
    assert_eq!(show(&slice, "MemoryMax"), (512_u64 << 20).to_string());
    assert_eq!(show(&slice, "CPUQuotaPerSecUSec"), "1.500000s");
    assert_eq!(show(&slice, "TasksMax"), "256");
    let app = format!("rkt-{uuid}-web.service");
    assert_eq!(show(&app, "Slice"), slice);
    assert_eq!(show(&app, "MemoryMax"), "64000000");
    assert_eq!(tool(&["machinectl", "show", &units.name("web")]).value("Unit"), Some(unit.as_str()));
    tool(&["systemctl", "status", "--no-pager", "--", &slice]).success().stdout_has("sleep 1000");
    units.ctl(&["stop", &unit]).success();
    wait_until("the end of the slice", || show(&slice, "ActiveState") == "inactive");
}

#[test]
fn a_pod_whose_supervisor_is_killed_leaves_no_slice() {
    if !on_systemd() {
        return;
    }
    let rkt = Rkt::new();
    let units = Units::new(&rkt, "systemd");
    let image = shell(&rkt, "echo up; exec sleep 1000");
    let unit = units.example("web.service", &[(IMAGE, &image), ("on-failure", "no")]);
    units.example("web.slice", &[]);
    units.example("pod-failed@.service", &[]);
    units.ctl(&["start", &unit]).success();
    let uuid = units.pod();
    units.ctl(&["kill", "--signal=KILL", "--kill-who=main", &unit]).success();
    units.wait_for(&unit, "ActiveState", "failed");
    rkt.rkt(["rm", &uuid]).success();
    let units = tool(&["systemctl", "list-units", "--all", "--plain", "--no-legend"]).success();
    assert!(!units.stdout.replace("\\x2d", "-").contains(&uuid), "{units:?}");
}

#[test]
fn the_status_of_the_unit_shows_the_tree_of_the_pod() {
    if !on_systemd() {
        return;
    }
    let rkt = Rkt::new();
    let units = Units::new(&rkt, "direct");
    let image = shell(&rkt, "echo up; sleep 1234 & exec sleep 1000");
    let unit = units.example("tree.service", &[(IMAGE, &image)]);
    units.ctl(&["start", &unit]).success();
    units.wait_for_journal(&unit, "up");
    let uuid = units.pod();
    units
        .ctl(&["status", "--no-pager", "--full", &unit])
        .success()
        .stdout_has(&format!("rkt-{uuid}"))
        .stdout_has("web.service")
        .stdout_has("sleep 1000")
        .stdout_has("sleep 1234")
        .stdout_has(&format!("Status: \"Pod {uuid} runs"));
    units.ctl(&["stop", &unit]).success();
}

#[test]
fn a_template_makes_a_service_of_any_image() {
    each(|rkt, units| {
        let image = shell(rkt, "echo $GREETING; exec sleep 1000");
        let text = format!(
            "RKT_IMAGE={image}\nRKT_OPTIONS=--hostname=box\nRKT_APP_OPTIONS=--environment=GREETING=hello\n"
        );
        let instance = units.name("front");
        let file = rkt.file(&format!("{instance}.env"), text);
        let template =
            units.example("rkt@.service", &[("/etc/rkt/units", file.parent().unwrap().to_str().unwrap())]);
        let unit = template.replace("@.", &format!("@{instance}."));
        units.ctl(&["start", &unit]).success();
        units.wait_for_journal(&unit, "hello");
        let status = rkt.rkt(["status", &instance]).success();
        assert_eq!(status.value("state"), Some("running"));
        rkt.rkt(args!["enter", &instance, "/bin/hostname"]).success().stdout_is("box\n");
        units.ctl(&["stop", &unit]).success();
    });
}

#[test]
fn a_timer_starts_a_pod() {
    each(|rkt, units| {
        let image = rkt.image("job", |image| image.sh("echo done; exit 0"));
        let unit = units.example("job.service", &[("example.com/job:1.0", image.to_str().unwrap())]);
        let timer = units.example(
            "job.timer",
            &[(
                "OnCalendar=daily\nRandomizedDelaySec=15min\nPersistent=yes",
                "OnActiveSec=10ms\nAccuracySec=10ms",
            )],
        );
        units.ctl(&["start", &timer]).success();
        units.wait_for_journal(&unit, "done");
        units.wait_for(&unit, "ActiveState", "inactive");
        assert_eq!(units.show(&unit, "Result"), "success");
        // The pods that are left are collected by another.
        let gc = units.example("rkt-gc.service", &[("--grace-period=30m", "--grace-period=0s")]);
        units.ctl(&["start", &gc]).success();
        assert!(rkt.pods_on_disk().is_empty());
    });
}

#[test]
fn systemd_run_waits_for_a_pod_and_sees_its_status() {
    each(|rkt, units| {
        let image = shell(rkt, "echo up; exit 3");
        let unit = units.name("run.service");
        let words = units.command(&["run", &image]);
        let run = |options: &[&str]| {
            let mut all = vec!["systemd-run", "--quiet", "--collect"];
            all.extend(options);
            all.extend(words.iter().map(String::as_str));
            tool(&all)
        };
        run(&["--wait", &format!("--unit={unit}")]).exits(3);
        units.wait_for_journal(&unit, "up");
        run(&["--wait", "--pipe"]).exits(3).stdout_is("up\n");
        run(&["--scope"]).exits(3).stdout_is("up\n");
        // The pod of a scope is in the slice that was chosen for it, too.
        let slice = units.name("scope.slice");
        run(&["--scope", &format!("--slice={slice}")]).exits(3).stdout_is("up\n");
    });
}

#[test]
fn systemd_run_gives_a_pod_a_terminal() {
    each(|rkt, units| {
        let image = shell(rkt, "tty; read line; echo \"got $line\"; exit 4");
        let mut words = vec!["systemd-run", "--quiet", "--collect", "--wait", "--pty"];
        let own = units.command(&["run", "--interactive", &image]);
        words.extend(own.iter().map(String::as_str));
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        let mut terminal = Terminal::start(&command);
        terminal.wait_for("/dev/");
        terminal.write("hello\n");
        terminal.wait_for("got hello");
        assert_eq!(terminal.wait(), 4);
    });
}

#[test]
fn a_pod_may_be_stopped_at_any_time_of_its_start() {
    each(|rkt, units| {
        let image = shell(rkt, "echo up; exec sleep 1000");
        let unit = units.example("web.service", &[(IMAGE, &image)]);
        units.example("web.slice", &[]);
        for step in 0..30 {
            units.ctl(&["start", "--no-block", &unit]).success();
            std::thread::sleep(Duration::from_millis(50 + 8 * step));
            let begin = Instant::now();
            units.ctl(&["stop", &unit]).success();
            let took = begin.elapsed();
            assert!(took < Duration::from_secs(8), "step {step}: {took:?}\n{:?}", units.journal(&unit, &[]));
            units.ctl(&["reset-failed", &unit]);
        }
    });
}
