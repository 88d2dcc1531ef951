//! Attacks on the pod's init, on helpers that come by, and on the host by what they might have left open.

use std::{fs, process::Command};

use rkt_tests::{Outcome, Rkt, args, attack, run};
use rustix::process::Signal;
use serde_json::json;

fn attacker() -> &'static str {
    env!("CARGO_BIN_EXE_attacker")
}

fn unfiltered(rkt: &Rkt, words: impl IntoIterator<Item = std::ffi::OsString>) -> Outcome {
    let mut all = args!["--insecure-options=image,seccomp"].to_vec();
    all.extend(rkt.run_args(words));
    rkt.rkt(all)
}

#[test]
fn case_19_init_is_not_traced_read_or_killed() {
    let rkt = Rkt::new();
    let image = attack::image(&rkt, "spy", attacker(), |image| image.exec(&[attack::ATTACKER, "spy"]));
    for end in [rkt.run_pod(args![&image]), unfiltered(&rkt, args![&image])] {
        let end = end.success().stdout_has("over");
        attack::all_failed(&end, &[]);
    }
}

/// How often `rkt enter` comes by a stalker, and how that ended.
fn come_by(rkt: &Rkt, words: &[&str]) -> (Vec<i32>, String) {
    let image = attack::image(rkt, "stalker", attacker(), |image| image.exec(words));
    let mut pod = rkt.start(args![&image]);
    pod.wait_for("stalking");
    let statuses =
        (0..25).map(|_| rkt.rkt(args!["enter", pod.uuid(), "/bin/true"]).status).collect::<Vec<_>>();
    (statuses, pod.wait().success().stdout)
}

#[test]
fn case_19_a_helper_that_enters_is_not_looked_into() {
    let rkt = Rkt::new();
    let (statuses, text) = come_by(&rkt, &[attack::ATTACKER, "stalk", "4"]);
    assert!(statuses.iter().all(|status| *status == 0), "{statuses:?}\n{text}");
    assert!(!text.contains("GOT"), "{text}");
    let seen = text.lines().find_map(|line| line.strip_prefix("seen: ")).unwrap();
    assert_ne!(seen, "0", "the helper was never seen: the attack was none");
}

#[test]
fn a_helper_that_is_killed_ends_rkt_enter_and_nothing_else() {
    let rkt = Rkt::new();
    let (statuses, text) = come_by(&rkt, &[attack::ATTACKER, "kill", "4"]);
    assert!(statuses.iter().all(|status| [0, 137].contains(status)), "{statuses:?}\n{text}");
}

#[test]
fn case_19_no_program_of_ours_is_written_to_while_it_enters() {
    let rkt = Rkt::new();
    let programs = ["init", "app-exec", "stage1", "rkt"];
    let content = || programs.map(|name| fs::read(rkt.program(name)).unwrap());
    let before = content();
    // The image's program is a link to whoever executes it, as in CVE-2019-5736.
    let image = rkt.image("overwrite", |image| {
        image
            .link("bin/shell", "/proc/self/exe")
            .file("bin/script", "#!/proc/self/exe\n", 0o755)
            .sh("echo up; while :; do for p in /proc/[0-9]*; do (echo x > $p/exe) 2>/dev/null && echo wrote; done; done")
    });
    let mut pod = rkt.start(args![&image]);
    pod.wait_for("up");
    for command in
        ["/bin/shell", "/bin/script", "/proc/self/exe", "/proc/1/exe", "/proc/self/fd/3", "/bin/true"]
    {
        for _ in 0..5 {
            let end = rkt.rkt(args!["enter", pod.uuid(), command]);
            // A script has the kernel execute the helper once more, in the app and as the app: it finds nothing to do.
            let expected = match command {
                "/bin/true" => 0,
                "/bin/script" => 202,
                _ => 203,
            };
            assert_eq!(end.status, expected, "{command}\n{end:?}");
        }
    }
    assert!(!pod.stdout_so_far().contains("wrote"));
    assert!(content() == before);
}

#[test]
fn case_19_a_script_that_has_our_program_as_interpreter_does_not_open_it_to_writers() {
    let rkt = Rkt::new();
    // Programs where they could be written to: the test's own.
    let place = rkt.files().join("programs");
    fs::create_dir(&place).unwrap();
    for name in ["rkt", "stage1", "init", "app-exec"] {
        fs::copy(rkt.program(name), place.join(name)).unwrap();
    }
    let own = |command: &Command| {
        let mut own = Command::new(place.join("rkt"));
        own.args(command.get_args());
        own
    };
    let program = || fs::read(place.join("app-exec")).unwrap();
    let before = program();
    let attacks = attack::image(&rkt, "overwrite", attacker(), |image| {
        image.exec(&[attack::ATTACKER, "overwrite", "3"])
    });
    // Whoever executes it executes itself, and waits for somebody to write to a pipe.
    let script = attack::image(&rkt, "script", attacker(), |image| {
        image
            .file("bin/script", "#!/proc/self/exe /tmp/pipe\n", 0o755)
            .exec(&["/bin/script"])
            .with("eventHandlers", json!([{"name": "pre-start", "exec": ["/bin/mknod", "/tmp/pipe", "p"]}]))
    });
    let command = rkt.command(rkt.run_args(args![&attacks, "--name=attacks", &script, "--name=script"]));
    let end = run(&mut own(&command));
    assert!(!end.stdout.contains("GOT"), "{end:?}");
    assert!(end.stdout.contains("stalking") && program() == before, "{end:?}");
    // The same by what enters.
    let waits = attack::image(&rkt, "waits", attacker(), |image| {
        image
            .file("bin/script", "#!/proc/self/exe /tmp/pipe\n", 0o755)
            .sh("mknod /tmp/pipe p; exec attacker overwrite 3")
    });
    let mut pod = rkt.start(args![&waits]);
    pod.wait_for("stalking");
    for _ in 0..3 {
        run(&mut own(&rkt.command(args!["enter", pod.uuid(), "/bin/script"])));
    }
    pod.wait().success().stdout_lacks("GOT").stdout_lacks("opened: 0");
    assert!(program() == before);
}

#[test]
fn directories_that_were_left_open_are_no_working_directory() {
    let rkt = Rkt::new();
    let image = rkt.image("cwd", |image| image.sh("ls -a ../../../../..; pwd"));
    let mut command = Command::new("bash");
    for number in 3..24 {
        let directory = format!("--working-dir=/proc/self/fd/{number}");
        // A command that is relative to it, as in CVE-2024-21626.
        for exec in ["--exec=/bin/ls", "--exec=../../../../../bin/ls"] {
            let end = rkt.run_pod(args![&image, &directory, exec]);
            assert!(end.status >= 200, "{directory} {exec}\n{end:?}");
        }
    }
    // Nor is the caller's, or one that the caller has open.
    let waits = rkt.image("waits", |image| image.sh("echo up; exec sleep 1000"));
    let mut pod = rkt.start(args![&waits]);
    pod.wait_for("up");
    let script = "pwd; ls -d ../../../*/rkt-test-* 2>/dev/null; ls -l /proc/self/cwd | grep -o '> .*'; for n in /proc/self/fd/*; do
        test -d $n/. && ls $n/etc/hostname; done 2>/dev/null; true";
    let inner = rkt.command(args!["enter", pod.uuid(), "/bin/sh", "-c", script]);
    command.args(["-c", "cd \"$0\"; exec 5</ 9<. 31</etc; exec \"$@\""]).arg(rkt.files());
    command.arg(inner.get_program()).args(inner.get_args());
    run(&mut command).success().stdout_is("/\n> /\n");
}

#[test]
fn proc_is_not_shadowed_for_those_who_write_to_it() {
    let rkt = Rkt::new();
    let fake = rkt.files().join("fake");
    fs::create_dir_all(fake.join("self")).unwrap();
    let score = fake.join("self/oom_score_adj");
    fs::write(&score, "untouched").unwrap();
    let image = rkt.image("shadow", |image| {
        image
            .sh("cat /proc/self/oom_score_adj")
            .with("isolators", json!([{"name": "os/linux/oom-score-adj", "value": 123}]))
    });
    for target in ["/proc", "/proc/self", "/proc/1", "/proc/self/attr", "/proc/thread-self"] {
        let volume = format!("--volume=v,kind=host,source={}", fake.display());
        let mount = format!("--mount=volume=v,target={target}");
        let end = rkt.run_pod(args![volume, &image, mount]);
        // Refused; or the score went to the kernel, and the volume is seen by the app alone.
        assert!(end.status >= 200 || !end.stdout.contains("untouched"), "{target}\n{end:?}");
        assert_eq!(fs::read_to_string(&score).unwrap(), "untouched", "{target}");
    }
}

#[test]
fn what_hides_kernel_paths_is_not_led_elsewhere() {
    let rkt = Rkt::new();
    let victim = rkt.file("victim", "untouched");
    // As in CVE-2025-31133: the null device that covers files is a link to something worth having.
    let image = rkt.image("null", |image| {
        image
            .link("dev/null", "/proc/sys/kernel/core_pattern")
            .link("dev/console", "/proc/sysrq-trigger")
            .link("dev/pts", &victim.parent().unwrap().to_string_lossy())
            .sh("stat -c %F:%t:%T /dev/null; for f in /proc/kcore /proc/keys; do test -e $f && stat -c %F:%t:%T $f; done
                (echo x > /proc/sys/kernel/core_pattern) 2>/dev/null && echo wrote; ls /dev/pts; true")
    });
    // One that swaps what is shared with another that starts, over and over.
    let swaps = rkt.image("swaps", |image| {
        image.sh("while :; do rm -rf /v/d; ln -s /proc/sys /v/d; rm -rf /v/d; mkdir /v/d; done")
    });
    for round in 0..6 {
        let end = rkt.run_pod(args![
            "--volume=v,kind=empty",
            &swaps,
            "--name=swaps",
            "--mount=volume=v,target=/v",
            &image,
            "--name=looks",
            "--mount=volume=v,target=/v",
            "--exec=/bin/sh",
            "--",
            "-c",
            "stat -c %F:%t:%T /dev/null /proc/kcore; (echo x > /proc/sys/kernel/core_pattern) 2>/dev/null && echo wrote; exit 9"
        ]);
        let text = end.exits(9).stdout;
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        assert!(!lines.is_empty(), "round {round}");
        for line in lines {
            assert!(line.ends_with("character special file:1:3"), "round {round}: {text}");
        }
    }
    let end = rkt.run_pod(args![&image]);
    if end.status == 0 {
        assert!(!end.stdout.contains("wrote") && !end.stdout.contains("victim"), "{end:?}");
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
}

#[test]
fn case_16_a_target_that_another_app_swaps_meanwhile_stays_inside() {
    let rkt = Rkt::new();
    let trap = rkt.files().join("trap");
    fs::create_dir(&trap).unwrap();
    let shared = rkt.files().join("shared");
    fs::create_dir(&shared).unwrap();
    // A link with as many dots as it takes, and one that is absolute: on the host both lead to the trap.
    let script = format!(
        "while :; do ln -s ../../../../../../../..{0} /v/d; rm -rf /v/d; mkdir /v/d; rm -rf /v/d; ln -s {0} /v/d; rm -rf /v/d; done",
        trap.display()
    );
    let swaps = rkt.image("swaps", |image| image.sh(&format!("echo up; {script}")));
    let looks = rkt.image("looks", |image| image.sh("touch /v/d/made/here 2>/dev/null; exit 9"));
    let volume = format!("--volume=v,kind=host,source={}", shared.display());
    let mut pod = rkt.start(args![&volume, &swaps, "--mount=volume=v,target=/v"]);
    pod.wait_for("up");
    for round in 0..25 {
        let end = rkt.run_pod(args![
            &volume,
            "--volume=w,kind=empty",
            &looks,
            "--mount=volume=v,target=/v",
            "--mount=volume=w,target=/v/d/made"
        ]);
        // It starts with its volume inside its root, or it does not start.
        assert!(end.status == 9 || end.status >= 200, "round {round}\n{end:?}");
        assert_eq!(fs::read_dir(&trap).unwrap().count(), 0, "round {round}: made on the host\n{end:?}");
    }
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains("/trap"));
    pod.signal(Signal::KILL);
    pod.wait();
}
