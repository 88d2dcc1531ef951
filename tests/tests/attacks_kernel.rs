//! Attacks on the kernel and on the mounts of the sandbox. Those that a filter of system calls stops are tried without one,
//! too: what is below it must hold.

use std::{fs, path::PathBuf};

use rkt_tests::{Outcome, Rkt, args, attack, run};
use serde_json::json;

/// An attack by root in an app, with the filter or without it.
fn attack(rkt: &Rkt, image: &PathBuf, words: &[&str], filtered: bool) -> Outcome {
    let options = if filtered { "--insecure-options=image" } else { "--insecure-options=image,seccomp" };
    let mut all = args![options].to_vec();
    all.extend(rkt.run_args(args![image]));
    all.extend(["--exec=/bin/attacker", "--"].map(Into::into));
    all.extend(words.iter().map(Into::into));
    rkt.rkt(all)
}

fn attacker(rkt: &Rkt) -> PathBuf {
    attack::image(rkt, "attacker", env!("CARGO_BIN_EXE_attacker"), |image| image)
}

#[test]
fn case_24_nothing_can_be_mounted_remounted_or_unmounted() {
    let rkt = Rkt::new();
    let image = attacker(&rkt);
    for filtered in [true, false] {
        attack::all_failed(&attack(&rkt, &image, &["mounts"], filtered).success(), &[]);
    }
}

#[test]
fn case_24_a_user_namespace_reveals_nothing() {
    let rkt = Rkt::new();
    let image = attacker(&rkt);
    // The filter lets nobody make one. Without it, the kernel's locks on mounts hold.
    attack(&rkt, &image, &["nested"], true).success().stdout_has("namespace made: false");
    let end = attack(&rkt, &image, &["nested"], false).success();
    attack::all_failed(&end, &[]);
}

#[test]
fn modules_logs_and_files_by_handle_are_out_of_reach() {
    let rkt = Rkt::new();
    let image = attacker(&rkt);
    for filtered in [true, false] {
        // What the kernel's log tells to everybody is a setting of the host's (dmesg_restrict).
        let harmless: &[&str] = if filtered { &[] } else { &["kernel log"] };
        attack::all_failed(&attack(&rkt, &image, &["kernel"], filtered).success(), harmless);
    }
}

#[test]
fn core_pattern_sysrq_and_other_levers_of_the_kernel_cannot_be_written() {
    let rkt = Rkt::new();
    let image = attacker(&rkt);
    let levers = [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/kernel/hotplug",
        "/proc/sys/kernel/sysrq",
        "/proc/sys/kernel/ns_last_pid",
        "/proc/sys/vm/panic_on_oom",
        "/proc/sys/fs/binfmt_misc/register",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sysrq-trigger",
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/irq/0/smp_affinity",
        "/proc/bus/pci/devices",
        "/proc/acpi/alarm",
        "/sys/kernel/uevent_helper",
        "/sys/kernel/debug/x",
        "/sys/kernel/security/apparmor/.load",
        "/sys/power/state",
        "/sys/class/net/lo/mtu",
        "/sys/firmware/efi/vars/new_var",
    ];
    let mut words = vec!["open"];
    words.extend(levers);
    for filtered in [true, false] {
        let end = attack(&rkt, &image, &words, filtered).success();
        let written: Vec<&str> = end
            .lines()
            .into_iter()
            .filter(|line| line.starts_with("write ") && line.ends_with(": OK"))
            // What is hidden is covered by the null device, which swallows all.
            .filter(|line| !["kcore", "keys", "timer_list"].iter().any(|name| line.contains(name)))
            .collect();
        assert!(written.is_empty(), "{written:?}\n{end:?}");
    }
    let hidden = rkt.image("hidden", |image| {
        image.sh("for f in kcore keys timer_list; do test -e /proc/$f && stat -c %t:%T /proc/$f && wc -c < /proc/$f; done; true")
    });
    let end = rkt.run_pod(args![&hidden]).success();
    for line in end.lines() {
        assert!(["1:3", "0"].contains(&line), "{end:?}");
    }
}

#[test]
fn case_25_an_app_does_not_leave_its_cgroup_or_change_its_limits() {
    let rkt = Rkt::new();
    let script = "
        grep ^0:: /proc/self/cgroup
        cd /sys/fs/cgroup 2>/dev/null || exit 0
        for f in cgroup.procs cgroup.threads cgroup.subtree_control cgroup.kill cgroup.freeze memory.max memory.high \\
            memory.swap.max pids.max cpu.max cpu.weight io.max; do
            (echo 1 > $f) 2>/dev/null && echo wrote $f
        done
        mkdir below 2>/dev/null && echo made one
        find / -xdev -name release_agent -o -name notify_on_release 2>/dev/null | grep -v ^/proc | head
        ls / >/dev/null; ls -d ../../cgroup/*.slice 2>/dev/null
        mount -t cgroup -o rdma none /tmp 2>/dev/null && echo mounted
        mount -t cgroup2 none /tmp 2>/dev/null && echo mounted two
        mount -o remount,rw /sys/fs/cgroup 2>/dev/null && echo remounted
        true";
    let image = rkt.image("cgroup", |image| {
        image.sh(script).with("isolators", json!([{"name": "resource/pids", "value": {"limit": "100"}}]))
    });
    let end = rkt.run_pod(args![&image]).success();
    for line in end.lines() {
        assert_eq!(line, "0::/", "{end:?}");
    }
    // Nor does what enters.
    let waits = rkt.image("waits", |image| image.sh("echo up; exec sleep 1000"));
    let mut pod = rkt.start(args![&waits]);
    pod.wait_for("up");
    let end = rkt.rkt(args!["enter", pod.uuid(), "/bin/sh", "-c", script]).success();
    for line in end.lines() {
        assert_eq!(line, "0::/", "{end:?}");
    }
}

#[test]
fn devices_of_the_image_and_of_the_apps_own_making_do_not_open() {
    let rkt = Rkt::new();
    let program = fs::read(env!("CARGO_BIN_EXE_attacker")).unwrap();
    let layout = rkt_tests::Image::busybox("devices")
        .file("bin/attacker", program, 0o755)
        .exec(&["/bin/true"])
        .lay_out(&rkt.files());
    let made = [
        ("mem", "c", "1", "1"),
        ("kmsg", "c", "1", "11"),
        ("disk", "b", "254", "0"),
        ("null", "c", "1", "3"),
    ];
    for (name, kind, major, minor) in made {
        let path = layout.join("rootfs").join(name);
        run(std::process::Command::new("mknod").arg(&path).args([kind, major, minor])).success();
    }
    let aci = rkt.files().join("devices.aci");
    run(std::process::Command::new(rkt.program("actool")).arg("build").args([&layout, &aci])).success();
    // An image with devices may be refused as a whole.
    let end =
        rkt.run_pod(args![&aci, "--exec=/bin/attacker", "--", "open", "/mem", "/kmsg", "/disk", "/null"]);
    if end.status == 0 {
        attack::all_failed(&end, &[]);
    }
    let image = attack::image(&rkt, "mknod", env!("CARGO_BIN_EXE_attacker"), |image| {
        image.sh("for d in / /tmp/ /dev/ /dev/shm/ /root/; do
                mknod ${d}mem c 1 1 && mknod ${d}disk b 254 0; attacker open ${d}mem ${d}disk
            done 2>/dev/null; cd /tmp; attacker open mem disk")
    });
    attack::all_failed(&rkt.run_pod(args![&image]).success(), &[]);
    let volume = rkt.run_pod(args!["--volume=v,kind=empty", &image, "--mount=volume=v,target=/tmp"]);
    attack::all_failed(&volume.success(), &[]);
}

#[test]
fn a_root_within_the_root_leads_no_further_out() {
    let rkt = Rkt::new();
    let image = attacker(&rkt);
    let witness = rkt.file("witness", "");
    for filtered in [true, false] {
        let end = attack(&rkt, &image, &["chroot", &witness.to_string_lossy()], filtered).success();
        assert_eq!(end.stdout, "witness: false\nroot has: true\n", "{end:?}");
    }
}
