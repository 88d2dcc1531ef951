//! Attack cases on the sandbox, through the real thing: the image is the attacker.

use std::{collections::BTreeSet, fs, path::Path, process::Command, time::Duration};

use rkt_tests::{Rkt, args, run, wait_until};
use rustix::process::Signal;
use serde_json::json;

#[test]
fn case_13_magic_links_lead_nowhere() {
    let rkt = Rkt::new();
    let image = rkt.image("magic", |image| {
        image
            .link("self-exe", "/proc/self/exe")
            .link("fd3", "/proc/self/fd/3")
            .link("init-root", "/proc/1/root")
            .directory("deep", 0o755)
    });
    for exec in
        ["/proc/self/exe", "/proc/self/fd/3", "/proc/self/fd/0", "/proc/1/exe", "/proc/1/root/bin/true"]
    {
        let end = rkt.run_pod(args![&image, format!("--exec={exec}")]);
        assert!(end.status >= 200, "exec {exec}\n{end:?}");
    }
    for exec in ["/self-exe", "/fd3", "/init-root/bin/sh"] {
        let end = rkt.run_pod(args![&image, format!("--exec={exec}")]);
        assert!(end.status >= 200, "exec {exec}\n{end:?}");
    }
    for directory in
        ["/proc/self/fd/3", "/proc/self/fd/7", "/fd3", "/proc/1/root", "/init-root", "/proc/1/cwd"]
    {
        let end = rkt.run_pod(args![&image, format!("--working-dir={directory}"), "--exec=/bin/ls"]);
        assert!(end.status >= 200, "working directory {directory}\n{end:?}");
    }
}

#[test]
fn case_14_etc_of_the_image_is_opened_with_care() {
    let rkt = Rkt::new();
    for (name, file, target) in
        [("link", "etc/passwd", "/proc/1/root/etc/passwd"), ("group", "etc/group", "/proc/self/fd/0")]
    {
        let image = rkt.image(name, |image| image.link(file, target).exec(&["/bin/id"]));
        let end = rkt.run_pod(args![&image, "--user=alice", "--group=wonder"]);
        assert!((216..=217).contains(&end.status), "{end:?}");
    }
    // What would block or never end: a pipe that nobody writes, a device without end, a huge file.
    let image = rkt.image("pipe", |image| image.exec(&["/bin/id"]));
    let layout = rkt_tests::Image::busybox("fifo").exec(&["/bin/true"]).lay_out(&rkt.files());
    let passwd = layout.join("rootfs/etc/passwd");
    fs::remove_file(&passwd).unwrap();
    run(Command::new("mkfifo").arg(&passwd)).success();
    let aci = rkt.files().join("fifo.aci");
    run(Command::new(rkt.program("actool")).arg("build").args([&layout, &aci])).success();
    rkt.run_pod(args![&aci, "--user=alice"]).exits(217);
    // The app itself must not look itself up there: it would wait for a writer.
    rkt.run_pod(args![&aci, "--user=0", "--exec=/bin/true"]).success();
    rkt.run_pod(args![&image, "--user=alice", "--group=wonder"]).success().stdout_has("uid=1000");
    let huge = rkt.image("huge", |image| image.file("etc/passwd", vec![b'\n'; 64 << 20], 0o644));
    rkt.run_pod(args![&huge, "--user=alice"]).exits(217);
    // Files that rkt itself puts there.
    for name in ["etc/hostname", "etc/hosts", "etc/machine-id", "etc/mtab", "etc/resolv.conf"] {
        let victim = rkt.file("victim", "untouched");
        let image = rkt.image("etc", |image| image.link(name, &victim.to_string_lossy()));
        rkt.run_pod(args![&image]);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched", "{name}");
    }
}

#[test]
fn case_15_api_file_systems_do_not_follow_the_images_links() {
    let rkt = Rkt::new();
    let trap = rkt.files().join("trap");
    fs::create_dir(&trap).unwrap();
    for name in ["proc", "sys", "dev", "tmp", "dev/pts", "dev/shm", "dev/null", "dev/console", "etc", "run"] {
        let image = rkt.image("links", |image| {
            let image = if name == "tmp" { image } else { image.directory("tmp", 0o1777) };
            let image = if name == "etc" { rkt_tests::Image::empty("links").file("bin/busybox", fs::read(rkt_tests::host_busybox()).unwrap(), 0o755).link("bin/sh", "busybox") } else { image };
            image.link(name, &trap.to_string_lossy()).sh("read a b c < /proc/mounts; echo ran; grep -q '^proc /proc proc' /proc/mounts && echo proc; test -c /dev/null && echo null")
        });
        let end = rkt.run_pod(args![&image]);
        if end.status == 0 {
            assert!(end.stdout.contains("ran"), "{name}\n{end:?}");
        } else {
            assert!(end.status >= 200, "{name}\n{end:?}");
        }
        let left: Vec<_> = fs::read_dir(&trap).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert!(left.is_empty(), "{name}: made on the host: {left:?}");
    }
}

// APPC-295
#[test]
fn case_18_a_fake_proc_in_the_image_is_covered() {
    let rkt = Rkt::new();
    let image = rkt.image("fake", |image| {
        image
            .file("proc/self/oom_score_adj", "fake", 0o666)
            .file("proc/self/attr/exec", "fake", 0o666)
            .sh("cat /proc/self/oom_score_adj")
            .with("isolators", json!([{"name": "os/linux/oom-score-adj", "value": 123}]))
    });
    rkt.run_pod(args![&image]).success().stdout_is("123\n");
}

#[test]
fn case_19_init_cannot_be_looked_into() {
    let rkt = Rkt::new();
    let image = rkt.image("spy", |image| {
        image.sh("ls /proc/1/root/ >/dev/null 2>&1 && echo root
             for f in /proc/1/fd/*; do readlink $f >/dev/null 2>&1 && echo $f; done
             cat /proc/1/exe >/dev/null 2>&1 && echo read exe
             cat /proc/1/mem >/dev/null 2>&1 && echo mem
             cat /proc/1/environ 2>/dev/null | grep -q . && echo environ
             (: >> /proc/1/exe) 2>/dev/null && echo write exe
             kill -9 1 2>/dev/null; sleep 0.2; echo alive")
    });
    rkt.run_pod(args![&image]).success().stdout_is("alive\n");
}

#[test]
fn case_19_our_programs_cannot_be_overwritten_from_inside() {
    let rkt = Rkt::new();
    let before: Vec<Vec<u8>> = ["init", "app-exec", "stage1", "rkt"]
        .iter()
        .map(|name| fs::read(rkt.program(name)).unwrap())
        .collect();
    let image = rkt.image("overwrite", |image| {
        image.sh(
            "for p in /proc/[0-9]*; do (echo x > $p/exe) 2>/dev/null && echo \"wrote $p/exe: $(cat $p/comm)\"; done; true",
        )
    });
    rkt.run_pod(args![&image]).success();
    let after: Vec<Vec<u8>> = ["init", "app-exec", "stage1", "rkt"]
        .iter()
        .map(|name| fs::read(rkt.program(name)).unwrap())
        .collect();
    assert!(before == after);
}

#[test]
fn case_20_the_app_has_three_descriptors_and_no_more() {
    let rkt = Rkt::new();
    let image = rkt.image("fds", |image| image.exec(&["/bin/ls", "-l", "/proc/self/fd"]));
    // Descriptors of the caller do not get in either.
    let mut command = Command::new("bash");
    let inner = rkt.command(rkt.run_args(args![&image]));
    command
        .arg("-c")
        .arg("exec 7</etc/hostname 8>/dev/null 42</; exec \"$@\"")
        .arg("bash")
        .arg(inner.get_program());
    command.args(inner.get_args());
    let end = run(&mut command).success();
    let numbers: BTreeSet<u32> =
        end.lines().iter().filter_map(|line| line.split_whitespace().nth(8)?.parse().ok()).collect();
    // The fourth is the directory that ls itself has open.
    assert_eq!(numbers, BTreeSet::from([0, 1, 2, 3]), "{end:?}");
}

#[test]
fn case_28_the_callers_environment_and_path_choose_no_helper() {
    let rkt = Rkt::new();
    let image = rkt.image("helpers", |image| image.sh("echo ran"));
    let fakes = rkt.files().join("fakes");
    fs::create_dir(&fakes).unwrap();
    let witness = rkt.files().join("witness");
    for name in ["stage1", "init", "app-exec", "systemctl", "mount", "tar", "modprobe", "gpg"] {
        let path = fakes.join(name);
        fs::write(&path, format!("#!/bin/sh\ntouch {}\nexit 1\n", witness.display())).unwrap();
        run(Command::new("chmod").arg("755").arg(&path)).success();
    }
    let mut command = rkt.command(rkt.run_args(args![&image]));
    let path = format!("{}:/usr/bin:/bin", fakes.display());
    command.env("PATH", path).current_dir(&fakes);
    for name in ["RKT_STAGE1", "RKT_LOCK_FD", "RKT_STAGE2_DIR", "LD_LIBRARY_PATH", "LD_PRELOAD"] {
        command.env(name, &fakes);
    }
    run(&mut command).success().stdout_is("ran\n");
    rkt.collect();
    assert!(!witness.exists(), "a program of the caller's was run");
}

#[test]
fn case_30_killed_at_any_moment_nothing_stays() {
    let rkt = Rkt::new();
    let image = rkt.image("race", |image| image.sh("exec sleep 1000"));
    rkt.rkt(args!["fetch", &image]).success();
    for step in 0..24_u32 {
        let mut child =
            rkt.command(rkt.run_args(args![&image])).stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(u64::from(step) * 4));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    rkt.collect();
}

#[test]
fn case_29_init_killed_at_any_moment_nothing_stays() {
    let rkt = Rkt::new();
    let image = rkt.image("race", |image| image.sh("exec sleep 1000"));
    rkt.rkt(args!["fetch", &image]).success();
    for step in 0..8_u32 {
        let pod = rkt.start(args![&image]);
        let init = pod.init();
        std::thread::sleep(Duration::from_millis(u64::from(step) * 3));
        // It may be gone already.
        rustix::process::kill_process(init, Signal::KILL).ok();
        let uuid = pod.uuid().to_owned();
        let end = pod.wait();
        assert!(end.status != 0, "{end:?}");
        wait_until("the pod's end", || rkt.rkt(["status", &uuid]).value("state") != Some("running"));
    }
}

#[test]
fn no_mount_of_a_pod_is_visible_on_the_host() {
    let rkt = Rkt::new();
    let image = rkt.image("mounts", |image| image.sh("echo up; exec sleep 1000"));
    let mut pod = rkt.start(args!["--volume=v,kind=empty", &image, "--mount=volume=v,target=/v"]);
    pod.wait_for("up");
    let during = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let base = rkt.base().to_string_lossy().into_owned();
    assert!(!during.contains(&base) && !during.contains(pod.uuid()), "{during}");
    pod.signal(Signal::TERM);
    pod.wait().success();
    assert!(Path::new(&base).exists());
}
