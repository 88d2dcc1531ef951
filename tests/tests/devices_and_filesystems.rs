//! What an app finds in /dev, /proc and /sys, as the appc OS specification and rkt's defaults have it.

use rkt_tests::{Rkt, args};

fn shell(rkt: &Rkt, script: &str) -> rkt_tests::Outcome {
    let image = rkt.image("fs", |image| image.exec(&["/bin/sh"]));
    rkt.run_pod(args![&image, "--", "-c", script])
}

// APPC-311
#[test]
fn the_devices_of_the_specification_are_there() {
    let rkt = Rkt::new();
    let end = shell(
        &rkt,
        "for n in null zero full random urandom tty; do stat -c '%n %F %t:%T %a' /dev/$n; done
         for n in shm pts; do stat -c '%n %F' /dev/$n; done
         for n in fd stdin stdout stderr ptmx; do test -e /dev/$n && echo /dev/$n; done",
    )
    .success();
    for line in [
        "/dev/null character special file 1:3 666",
        "/dev/zero character special file 1:5 666",
        "/dev/full character special file 1:7 666",
        "/dev/random character special file 1:8 666",
        "/dev/urandom character special file 1:9 666",
        "/dev/tty character special file 5:0 666",
        "/dev/shm directory",
        "/dev/pts directory",
        "/dev/fd",
        "/dev/ptmx",
    ] {
        assert!(end.lines().contains(&line), "{line:?} is missing\n{end:?}");
    }
}

#[test]
fn no_device_of_the_host_is_there() {
    let rkt = Rkt::new();
    let allowed = [
        "console", "core", "fd", "full", "log", "mqueue", "net", "null", "ptmx", "pts", "random", "shm",
        "stderr", "stdin", "stdout", "tty", "urandom", "zero",
    ];
    let end = shell(&rkt, "ls /dev").success();
    assert!(end.stdout.split_whitespace().all(|name| allowed.contains(&name)), "{end:?}");
}

// APPC-310, APPC-312, APPC-313
#[test]
fn api_file_systems_are_mounted() {
    let rkt = Rkt::new();
    let end = shell(&rkt, "cut -d' ' -f2,3 /proc/mounts").success();
    for line in ["/proc proc", "/sys sysfs", "/dev tmpfs", "/dev/shm tmpfs", "/dev/pts devpts"] {
        assert!(end.lines().contains(&line), "{line:?} is missing\n{end:?}");
    }
}

#[test]
fn kernel_settings_are_read_only_and_secrets_masked() {
    let rkt = Rkt::new();
    let end = shell(
        &rkt,
        "for f in /proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/sys/vm/panic_on_oom /sys/kernel/uevent_helper; do
           test -e $f || continue
           (echo x > $f) 2>/dev/null && echo \"wrote $f\"
         done
         for f in /proc/kallsyms /proc/kcore /proc/config.gz; do
           test -e $f && test \"$(head -c 1 $f 2>/dev/null | wc -c)\" != 0 && echo \"read $f\"
         done
         for d in /sys/firmware /sys/module /sys/power /sys/fs/bpf /sys/fs/pstore; do
           test -n \"$(ls $d 2>/dev/null)\" && echo \"listed $d\"
         done; true",
    );
    end.success().stdout_is("");
}

#[test]
fn case_24_nothing_of_it_can_be_mounted_over_or_away() {
    let rkt = Rkt::new();
    let end = shell(
        &rkt,
        "umount /proc 2>/dev/null && echo 'unmounted /proc'
         mount -o remount,rw /sys 2>/dev/null && echo 'remounted /sys'
         mount -t proc proc /tmp 2>/dev/null && echo 'mounted proc'; true",
    );
    end.success().stdout_is("");
}

#[test]
fn insecure_paths_leaves_kernel_settings_writable() {
    let rkt = Rkt::new();
    let image = rkt.image("fs", |image| {
        image.sh("f=/proc/sys/kernel/core_pattern; v=$(cat $f); echo \"$v\" > $f && echo written")
    });
    let mut all = vec!["--insecure-options=image,paths".into()];
    all.extend(rkt.run_args(args![&image]));
    rkt.rkt(all).success().stdout_is("written\n");
}

// APPC-170, APPC-174, APPC-225
#[test]
fn apps_share_pid_ipc_uts_and_network_but_not_mounts() {
    let rkt = Rkt::new();
    let image = rkt.image("ns", |image| {
        image.sh("for n in pid ipc uts net mnt; do echo $n $(readlink /proc/self/ns/$n); done; sleep 1")
    });
    let end = rkt.run_pod(args![&image, "--name=a", &image, "--name=b"]).success();
    for (namespace, shared) in [("pid", true), ("ipc", true), ("uts", true), ("net", true), ("mnt", false)] {
        let of = |app: &str| {
            let start = format!("{app}: {namespace} ");
            end.lines().into_iter().find_map(|line| line.strip_prefix(&start).map(str::to_owned)).unwrap()
        };
        assert_eq!(of("a") == of("b"), shared, "{namespace}\n{end:?}");
        let host = std::fs::read_link(format!("/proc/self/ns/{namespace}")).unwrap();
        assert_ne!(of("a"), host.to_string_lossy(), "{namespace} is the host's");
    }
}

// APPC-237
#[test]
fn net_host_is_the_hosts_network_and_none_has_only_loopback() {
    let rkt = Rkt::new();
    let image = rkt.image("net", |image| image.exec(&["/bin/sh"]));
    let host = std::fs::read_link("/proc/self/ns/net").unwrap();
    let supervisor = format!("--supervisor={}", rkt.launcher().as_str());
    let end =
        rkt.rkt(args!["run", "--net=host", supervisor, &image, "--", "-c", "readlink /proc/self/ns/net"]);
    end.success().stdout_is(&format!("{}\n", host.display()));
    let end =
        rkt.run_pod(args![&image, "--", "-c", "ip -o link | cut -d: -f2; ip -o addr show lo"]).success();
    assert_eq!(end.lines()[0], " lo");
    assert!(end.stdout.contains("127.0.0.1/8"), "{end:?}");
    assert!(!end.lines()[1..].iter().any(|line| line.starts_with(' ')), "only lo\n{end:?}");
}

// APPC-176
#[test]
fn a_read_only_root_is_read_only_and_volumes_are_not() {
    let rkt = Rkt::new();
    let image = rkt.image("ro", |image| {
        image.sh("touch /x 2>/dev/null && echo root written; touch /data/x && echo volume written")
    });
    rkt.run_pod(args![
        "--volume=data,kind=empty",
        &image,
        "--readonly-rootfs=true",
        "--mount=volume=data,target=/data"
    ])
    .success()
    .stdout_is("volume written\n");
}

#[test]
fn mtab_is_there() {
    let rkt = Rkt::new();
    shell(&rkt, "readlink /etc/mtab").success().stdout_is("../proc/self/mounts\n");
}

// APPC-150
#[test]
fn changes_stay_in_the_pod() {
    let rkt = Rkt::new();
    for flags in [&[][..], &["--no-overlay"][..]] {
        let image =
            rkt.image("cow", |image| image.sh("test -e /mark && echo found; echo x > /mark; rm /bin/env"));
        for _ in 0..2 {
            let mut all = flags.iter().map(Into::into).collect::<Vec<_>>();
            all.extend(args![&image]);
            rkt.run_pod(all).success().stdout_is("");
        }
    }
}
