//! Devices of the host, file systems in memory and settings of the kernel that an app or a pod is given.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::FileTypeExt;

use rkt_tests::{Rkt, args};
use serde_json::json;

#[test]
fn a_device_is_where_it_is_wanted_and_works() {
    let rkt = Rkt::new();
    let look = "stat -c '%n %t:%T' /dev/plenty /dev/deep/zero; head -c 4 /dev/deep/zero | wc -c";
    let image = rkt.image("devices", |image| image.sh(look));
    let devices = ["--device=/dev/full:/dev/plenty", "--device=/dev/zero:/dev/deep/zero:rw"];
    let end = rkt.run_pod(args![&image, devices[0], devices[1]]).success();
    end.stdout_is("/dev/plenty 1:7\n/dev/deep/zero 1:5\n4\n");
    // Without it there is none, and none can be made.
    let make =
        rkt.image("maker", |image| image.sh("mknod /dev/kmsg c 1 11 || mknod /kmsg c 1 11 && cat /kmsg"));
    assert_ne!(rkt.run_pod(args![&make]).status, 0);
}

#[test]
fn what_is_no_device_is_refused_before_anything_is_started() {
    let rkt = Rkt::new();
    let image = rkt.image("none", |image| image.sh("echo ran"));
    for (device, reason) in [
        ("/etc/passwd", "no device"),
        ("/dev/none", "No such file"),
        ("zero", "absolute"),
        ("/dev/zero:rx", "r, w and m"),
        ("/dev/zero:/a/../b", ".."),
    ] {
        let end = rkt.run_pod(args![&image, format!("--device={device}")]).exits(254).stderr_has(reason);
        assert_eq!(end.stderr.lines().count(), 1, "{end:?}");
        end.stderr_has("--device");
    }
    assert!(rkt.pods_on_disk().is_empty());
}

#[test]
fn a_device_that_is_only_read_is_only_read_or_that_is_said() {
    let rkt = Rkt::new();
    let try_both =
        "(: </dev/other) && echo read; (: >/dev/other) && echo written; cat /dev/null; echo x >/dev/null";
    let image = rkt.image("reader", |image| image.sh(try_both));
    // One that not every app has anyway.
    let some = ["/dev/fuse", "/dev/loop0", "/dev/ttyS0"];
    let Some(device) = some.into_iter().find(|path| {
        std::fs::metadata(path).is_ok_and(|stat| {
            let kind = stat.file_type();
            kind.is_char_device() || kind.is_block_device()
        })
    }) else {
        return;
    };
    let with = |access: &str| format!("--device={device}:/dev/other:{access}");
    let end = rkt.run_pod(args![&image, with("r")]).success();
    if end.stderr.contains("cannot be restricted") {
        end.stdout_has("written");
        rkt.run_pod(args!["--strict-isolators", &image, with("r")]).exits(254).stderr_has(device);
    } else {
        end.stdout_is("read\n");
        rkt.run_pod(args!["--strict-isolators", &image, with("w")]).success().stdout_is("written\n");
        rkt.run_pod(args![&image, with("rw")]).success().stdout_is("read\nwritten\n");
    }
}

#[test]
fn a_file_system_in_memory_has_its_size_and_mode() {
    let rkt = Rkt::new();
    let look = "stat -c '%a' /scratch; df -k /scratch | tail -n1 | awk '{print $2}'; touch /scratch/x
                dd if=/dev/zero of=/scratch/big bs=1M count=3 2>&1 | grep -o 'No space'; mount | grep -c ' /scratch '";
    let image = rkt.image("memory", |image| image.sh(look));
    let end = rkt.run_pod(args![&image, "--tmpfs=/scratch:size=2Mi,mode=750"]).success();
    end.stdout_is("750\n2048\nNo space\n1\n");
    for wrong in ["scratch", "/scratch:size=0", "/scratch:size=-1", "/scratch:noise", "/"] {
        rkt.run_pod(args![&image, format!("--tmpfs={wrong}")]).exits(254).stderr_has("--tmpfs");
    }
    let end = rkt.run_pod(args![&image, "--tmpfs=/scratch", "--tmpfs=/scratch"]).exits(254);
    end.stderr_has("hide");
}

// APPC-296, APPC-297, APPC-298
#[test]
fn the_pods_own_kernel_settings_are_set_and_others_refused() {
    let rkt = Rkt::new();
    let files = "kernel/shmmni net/ipv4/ip_unprivileged_port_start kernel/domainname fs/mqueue/msg_max";
    let look = format!("cd /proc/sys; for f in {files}; do cat $f; done");
    let image = rkt.image("settings", |image| image.sh(&look));
    let settings = args![
        "--sysctl=kernel.shmmni=77",
        "--sysctl=net.ipv4.ip_unprivileged_port_start=80",
        "--sysctl=kernel.domainname=example.com",
        "--sysctl=fs.mqueue.msg_max=11",
        &image
    ];
    rkt.run_pod(settings).success().stdout_is("77\n80\nexample.com\n11\n");
    for (setting, reason) in [
        ("kernel.core_pattern=x", "no setting that a pod has"),
        ("vm.swappiness=1", "no setting that a pod has"),
        ("net.../../kernel/core_pattern=x", "no setting that a pod has"),
        ("kernel.shmmni", "key=value"),
    ] {
        rkt.run_pod(args![format!("--sysctl={setting}"), &image]).exits(254).stderr_has(reason);
    }
    rkt.collect();
    assert!(rkt.pods_on_disk().is_empty());
    // Whoever shares a namespace with the host does not set what is the host's.
    let shared = rkt.rkt(args![
        "run",
        "--net=host",
        format!("--supervisor={}", rkt.launcher().as_str()),
        "--sysctl=net.core.somaxconn=1",
        &image
    ]);
    shared.exits(254).stderr_has("host's network");
    // One that the kernel does not have, or a value that it does not take.
    rkt.run_pod(args!["--sysctl=net.core.nothing=1", &image]).exits(254).stderr_has("net/core/nothing");
    rkt.run_pod(args!["--sysctl=kernel.shmmni=many", &image]).exits(254).stderr_has("kernel/shmmni");
    let in_app = json!([{"name": "os/unix/sysctl", "value": {"vm.swappiness": "1"}}]);
    let image = rkt.image("machine", |image| image.sh("echo ran").with("isolators", in_app));
    rkt.run_pod(args![&image]).exits(254).stderr_has("vm.swappiness");
}

#[test]
fn mounts_of_the_host_appear_in_volumes_unless_they_are_private() {
    let rkt = Rkt::new();
    let volume = rkt.files().join("volume");
    std::fs::create_dir_all(volume.join("point")).unwrap();
    let look = "echo up; read word; ls /slave/point /private/point";
    let image = rkt.image("propagation", |image| image.sh(look));
    let option = format!("--volume=data,kind=host,source={}", volume.display());
    let refused = "--mount=volume=data,target=/x,propagation=shared";
    rkt.run_pod(args![&option, &image, refused]).exits(254).stderr_has("shared");
    let end = rkt.run_pod(args![
        &option,
        &image,
        "--mount=volume=data,target=/slave,propagation=slave",
        "--mount=volume=data,target=/private,propagation=private",
        "--exec=/bin/sh",
        "--",
        "-c",
        "grep -c 'master:' /proc/self/mountinfo; awk '$5 == \"/private\"' /proc/self/mountinfo | grep -c master"
    ]);
    assert!(end.stdout.ends_with("\n0\n"), "{end:?}");
}
