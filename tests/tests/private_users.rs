//! `--private-users`: pods with users of the host of their own.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    thread,
};

use rkt_tests::{Rkt, args, run, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};

/// The range that a pod's directory says it has.
fn range(text: &str) -> (u32, u32) {
    let (base, count) = text.trim().split_once(':').expect("BASE:COUNT");
    (base.parse().expect("a number"), count.parse().expect("a number"))
}

fn status(rkt: &Rkt, uuid: &str) -> Value {
    serde_json::from_str(&rkt.rkt(["status", "--format=json", uuid]).success().stdout).expect("JSON")
}

#[test]
fn the_apps_root_is_the_first_user_of_a_range_of_its_own() {
    let rkt = Rkt::new();
    let image = rkt.image("root", |image| image.sh("id -u; id -g; echo up; exec sleep 1000"));
    let mut pod = rkt.start(args!["--private-users", &image]);
    pod.wait_for("up");
    assert_eq!(pod.stdout_so_far(), "0\n0\nup\n");
    let (base, count) = range(&pod.read("private-users-prepared").unwrap());
    assert_eq!((base % 65_536, count), (0, 65_536));
    assert!((524_288..=1_879_048_191 - 65_535).contains(&base), "{base}");
    let app = pod.process("sleep 1000").as_raw_nonzero();
    let init = pod.init().as_raw_nonzero();
    for pid in [app, init] {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        for name in ["Uid", "Gid"] {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            assert_eq!(line, format!("{name}:\t{base}\t{base}\t{base}\t{base}"), "process {pid}");
        }
        for map in ["uid_map", "gid_map"] {
            let map = fs::read_to_string(format!("/proc/{pid}/{map}")).unwrap();
            let words: Vec<&str> = map.split_whitespace().collect();
            assert_eq!(words, ["0", &base.to_string(), "65536"], "process {pid}");
        }
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
        assert_ne!(namespace(&pid.to_string()), namespace("self"), "process {pid}");
        assert_eq!(namespace(&app.to_string()), namespace(&init.to_string()));
    }
    assert_eq!(status(&rkt, pod.uuid())["private_users"], json!({"base": base, "count": count}));
    pod.signal(Signal::TERM);
    let uuid = pod.uuid().to_owned();
    pod.wait();
    assert_eq!(status(&rkt, &uuid)["private_users"]["base"], json!(base), "also when it has ended");
}

#[test]
fn files_of_the_image_have_their_owners_and_are_neither_copied_nor_changed() {
    let rkt = Rkt::new();
    let describe = |image: rkt_tests::Image| {
        image
            .file("srv/alices", "x", 0o640)
            .owned_by(1000, 1001)
            .file("srv/roots", "x", 0o4755)
            .directory("srv/box", 0o700)
            .owned_by(1000, 1001)
            .sh("stat -c '%n %u %g %a' /srv/* / /tmp; echo changed > /srv/alices; stat -c '%u %g' /srv/alices
                 touch /srv/new /root-file; chmod 700 /srv/box; rm /srv/roots; stat -c '%u %g' /srv/new; cat /srv/alices")
    };
    let want = "/srv/alices 1000 1001 640\n/srv/box 1000 1001 700\n/srv/roots 0 0 4755\n/ 0 0 755\n/tmp 0 0 1777\n\
                1000 1001\n0 0\nchanged\n";
    let image = rkt.image("owners", describe);
    rkt.run_pod(args!["--private-users", &image]).success().stdout_is(want);
    rkt.run_pod(args!["--private-users", "--no-overlay", &image]).success().stdout_is(want);
    // The store's tree is what it was.
    rkt.run_pod(args![&image]).success().stdout_is(want);
    let trees = rkt.data().join("cas/tree");
    let tree = fs::read_dir(trees).unwrap().flatten().next().unwrap().path().join("rootfs/srv");
    let owner = |name: &str| fs::metadata(tree.join(name)).map(|data| (data.uid(), data.gid())).unwrap();
    assert_eq!((owner("alices"), owner("roots")), ((1000, 1001), (0, 0)));
}

#[test]
fn two_pods_have_nobody_in_common_and_a_range_is_free_with_its_pod() {
    let rkt = Rkt::new();
    let image = rkt.image("sleep", |image| image.sh("echo up; exec sleep 1000"));
    let exact = "--private-users=1500000000:1000";
    let mut pod = rkt.start(args![exact, &image]);
    pod.wait_for("up");
    assert_eq!(pod.read("private-users-prepared").as_deref(), Some("1500000000:1000"));
    let uuid = pod.uuid().to_owned();
    for overlapping in ["1500000999:1", "1499999000:1001", "1500000000:1000", "1:4294967294"] {
        rkt.run_pod(args![format!("--private-users={overlapping}"), &image]).refused(&[overlapping, &uuid]);
    }
    assert_eq!(rkt.pods_on_disk(), std::slice::from_ref(&uuid), "what was refused leaves no pod");
    pod.signal(Signal::KILL);
    pod.wait();
    wait_until("the end of the pod", || rkt.rkt(["status", &uuid]).value("state") == Some("exited"));
    rkt.run_pod(args![exact, &image]).refused(&[&uuid]);
    rkt.rkt(["rm", &uuid]).success();
    rkt.run_pod(args![exact, &image, "--exec=/bin/true"]).success();
    rkt.rkt(["gc", "--grace-period=0s"]).success();
    rkt.run_pod(args![exact, &image, "--exec=/bin/true"]).success();
}

#[test]
fn ten_pods_at_once_get_ten_ranges() {
    let rkt = Rkt::new();
    let image = rkt.image("many", |image| image.sh("cut -c 11-21 /proc/self/uid_map"));
    rkt.rkt(args!["fetch", &image]).success();
    let seen: Vec<String> = thread::scope(|scope| {
        let runs: Vec<_> = (0..10)
            .map(|_| {
                let mut command = rkt.command(rkt.run_args(args!["--private-users", &image]));
                scope.spawn(move || run(&mut command).success().stdout)
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap().trim().to_owned()).collect()
    });
    let mut different = seen.clone();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), 10, "{seen:?}");
}

#[test]
fn what_is_no_range_is_refused_before_anything_is_made() {
    let rkt = Rkt::new();
    let image = rkt.image("wrong", |image| image);
    for wrong in
        ["0:65536", "5", "700000:0", "4294967295:1", "4294967290:100", "1:99999999999", "x", "-1:5", ""]
    {
        let end = rkt.run_pod(args![format!("--private-users={wrong}"), &image]).exits(254);
        assert!(end.stderr.contains("--private-users"), "{end:?}");
    }
    assert_eq!(rkt.pods_on_disk(), Vec::<String>::new());
    rkt.run_pod(args!["--private-users", "--ipc=parent", &image]).exits(254).stderr_has("--ipc=parent");
    rkt.run_pod(args!["--private-users=false", &image]).success();
}

#[test]
fn a_prepared_pod_keeps_its_range() {
    let rkt = Rkt::new();
    let image = rkt.image("prepared", |image| image.sh("cat /proc/self/uid_map"));
    let uuid =
        rkt.rkt(args!["prepare", "--private-users", "--quiet", &image]).success().stdout.trim().to_owned();
    let record = fs::read_to_string(rkt.pod_dir(&uuid).join("private-users-prepared")).unwrap();
    let (base, count) = range(&record);
    assert_eq!(status(&rkt, &uuid)["private_users"], json!({"base": base, "count": count}));
    let supervisor = format!("--supervisor={}", rkt.launcher().as_str());
    let end = rkt.rkt(["run-prepared", "--net=none", &supervisor, &uuid]).success();
    let words: Vec<&str> = end.stdout.split_whitespace().collect();
    assert_eq!(words, ["0", &base.to_string(), &count.to_string()]);
}

#[test]
fn files_in_volumes_belong_to_the_same_number_inside_and_on_the_host() {
    let rkt = Rkt::new();
    let source = rkt.files().join("volume");
    fs::create_dir_all(source.join("deep")).unwrap();
    fs::write(source.join("alices"), "x").unwrap();
    chown(source.join("alices"), Some(1000), Some(1001)).unwrap();
    fs::set_permissions(&source, fs::Permissions::from_mode(0o777)).unwrap();
    let image = rkt.image("volume", |image| {
        image.sh("stat -c '%u %g' /data/alices; echo made > /data/$(id -u); mkdir -p /data/d$(id -u)")
    });
    let volume = format!("--volume=data,kind=host,source={}", source.display());
    let mount = "--mount=volume=data,target=/data";
    let owner = |name: &str| fs::metadata(source.join(name)).map(|data| (data.uid(), data.gid())).unwrap();
    rkt.run_pod(args!["--private-users", &volume, &image, mount]).success().stdout_is("1000 1001\n");
    rkt.run_pod(args!["--private-users", &volume, &image, mount, "--user=1000", "--group=1001"])
        .success()
        .stdout_is("1000 1001\n");
    assert_eq!((owner("0"), owner("d0")), ((0, 0), (0, 0)));
    assert_eq!((owner("1000"), owner("d1000")), ((1000, 1001), (1000, 1001)));
    // One whose users end before is nobody inside.
    chown(source.join("alices"), Some(70_000), Some(70_000)).unwrap();
    rkt.run_pod(args!["--private-users", &volume, &image, mount]).success().stdout_is("65534 65534\n");
}

#[test]
fn files_of_a_volume_belong_to_whom_the_user_says() {
    let rkt = Rkt::new();
    let source = rkt.files().join("volume");
    fs::create_dir(&source).unwrap();
    let reset = || {
        drop(fs::remove_file(source.join("made")));
        for (name, (uid, gid)) in [("mine", (1234, 567)), ("alices", (1000, 1001)), ("roots", (0, 0))] {
            fs::write(source.join(name), "x").unwrap();
            chown(source.join(name), Some(uid), Some(gid)).unwrap();
        }
        chown(&source, Some(1234), Some(567)).unwrap();
    };
    let owner = |name: &str| fs::metadata(source.join(name)).map(|data| (data.uid(), data.gid())).unwrap();
    let look = "stat -c '%n %u %g' *; touch made; chmod 600 mine && echo changed; chown 0:0 roots";
    let image = rkt.image("owners", |image| image.sh(look).with("workingDirectory", json!("/data")));
    let volume = format!("--volume=data,kind=host,source={}", source.display());
    let mount = |idmap: &str| format!("--mount=volume=data,target=/data,idmap={idmap}");
    // Who is the host's root is nobody here. A root that is the host's may take from it, another one not.
    for (users, status, roots) in [("--private-users", 1, (0, 0)), ("--private-users=false", 0, (1234, 567))]
    {
        reset();
        let end = rkt.run_pod(args![users, &volume, &image, mount("1234:567")]).exits(status);
        end.stdout_is("alices 1000 1001\nmine 0 0\nroots 65534 65534\nchanged\n");
        let owners = (owner("made"), owner("mine"), owner("roots"));
        assert_eq!(owners, ((1234, 567), (1234, 567), roots), "{users}");
    }
    reset();
    chown(&source, Some(600_000), Some(600_000)).unwrap();
    let range = "--private-users=600000:65536";
    let end = rkt.run_pod(args![range, &volume, &image, mount("none")]).exits(1);
    end.stdout_is("alices 65534 65534\nmine 65534 65534\nroots 65534 65534\n");
    assert_eq!((owner("made"), owner("roots")), ((600_000, 600_000), (0, 0)));
    for (idmap, reason) in [("", "neither none nor UID:GID"), ("0", "UID:GID"), ("-1:0", "UID:GID")] {
        rkt.run_pod(args![&volume, &image, mount(idmap)]).exits(254).stderr_has(reason);
    }
    let end = rkt.run_pod(args!["--volume=data,kind=empty", &image, mount("1:1")]).exits(254);
    end.stderr_has("idmap is for volumes of the host");
}

#[test]
fn empty_volumes_have_the_owner_that_was_asked_for() {
    let rkt = Rkt::new();
    let image = rkt.image("empty", |image| {
        image.sh("stat -c '%u %g %a' /data; touch /data/x && stat -c '%u %g' /data/x")
    });
    rkt.run_pod(args![
        "--private-users",
        "--volume=data,kind=empty,uid=1000,gid=1001,mode=0770",
        &image,
        "--mount=volume=data,target=/data"
    ])
    .success()
    .stdout_is("1000 1001 770\n0 0\n");
    // What is copied out of the image has the image's owners.
    let seeded = rkt.image("seeded", |image| {
        image
            .directory("data", 0o750)
            .owned_by(1000, 1001)
            .file("data/file", "seed", 0o640)
            .owned_by(1000, 1001)
            .field("annotations", json!([{"name": "appc.io/docker/repository", "value": "x"}]))
            .with("mountPoints", json!([{"name": "data", "path": "/data"}]))
            .sh("stat -c '%u %g %a' /data /data/file")
    });
    rkt.run_pod(args!["--private-users", &seeded]).success().stdout_is("1000 1001 750\n1000 1001 640\n");
}

#[test]
fn a_volume_that_cannot_have_mapped_owners_is_named() {
    let rkt = Rkt::new();
    let image = rkt.image("proc", |image| image);
    rkt.run_pod(args![
        "--private-users",
        "--volume=data,kind=host,source=/proc/sys",
        &image,
        "--mount=volume=data,target=/data"
    ])
    .exits(254)
    .stderr_has("volume \"data\": source \"/proc/sys\": proc")
    .stderr_has("mapped owners");
}

#[test]
fn kernel_file_systems_and_devices_are_as_without() {
    let rkt = Rkt::new();
    let image = rkt.image("kernel", |image| {
        image.sh("stat -c '%n %u %g %F' /dev/null /dev/shm /dev/mqueue /dev/pts /dev/pts/ptmx
             echo x > /dev/null && head -c 3 /dev/zero | wc -c
             echo y > /dev/shm/y && cat /dev/shm/y
             ls /proc/sys/kernel >/dev/null && ls /sys/class >/dev/null && echo listed
             head -c 1 /proc/kcore 2>/dev/null | wc -c
             (echo 1 > /proc/sys/kernel/hostname) 2>/dev/null || echo read-only
             echo out > /dev/stdout; cat /proc/1/comm; cat /proc/self/oom_score_adj")
    });
    let want = "/dev/null 0 0 character special file\n/dev/shm 0 0 directory\n/dev/mqueue 0 0 directory\n\
                /dev/pts 0 0 directory\n/dev/pts/ptmx 0 0 character special file\n3\ny\nlisted\n0\nread-only\nout\ninit\n5\n";
    for network in ["--net=none", "--net=host"] {
        let supervisor = format!("--supervisor={}", rkt.launcher().as_str());
        rkt.rkt(args!["run", network, supervisor, "--private-users", &image, "--oom-score-adj=5"])
            .success()
            .stdout_is(want);
    }
}

#[test]
fn covers_cannot_be_taken_away_even_with_privileges_in_the_pod() {
    let rkt = Rkt::new();
    let image = rkt.image("covers", |image| {
        image.sh("for m in /proc/sys /proc/kallsyms /sys/firmware /sys/fs /dev /etc/hostname; do
               umount $m 2>/dev/null && echo unmounted $m
               mount -o remount,rw,bind $m 2>/dev/null && echo remounted $m
             done; mkdir -p /m && mount -t tmpfs none /m && echo mounted")
    });
    rkt.run_pod(args![
        "--private-users",
        &image,
        "--caps-retain=CAP_SYS_ADMIN",
        "--seccomp=mode=retain,@appc.io/all"
    ])
    .success()
    .stdout_is("mounted\n");
}

#[test]
fn event_handlers_are_the_pods_root() {
    let rkt = Rkt::new();
    let image = rkt.image("handlers", |image| {
        image.sh("cat /before; id -u").user("1000", "1001").with(
            "eventHandlers",
            json!([
                {"name": "pre-start", "exec": ["/bin/sh", "-c", "id -u > /before; cut -c 1-10 /proc/self/uid_map >> /before"]},
                {"name": "post-stop", "exec": ["/bin/sh", "-c", "test $(id -u) = 0"]}
            ]),
        )
    });
    let end = rkt.run_pod(args!["--private-users", &image]).success().stdout_is("0\n         0\n1000\n");
    assert!(!end.stderr.contains("post-stop"), "{end:?}");
}

#[test]
fn case_22_groups_and_users_stay_in_the_pods_range() {
    let rkt = Rkt::new();
    let image = rkt.image("groups", |image| {
        image
            .file("srv/alices", "x", 0o600)
            .owned_by(1000, 1001)
            .file("srv/nobodys", "x", 0o600)
            .owned_by(70_000, 70_000)
            .sh("id -u; id -g; id -G; grep -E '^(CapInh|CapAmb)' /proc/self/status; cat /proc/self/setgroups")
    });
    let none = "CapInh:\t0000000000000000\nCapAmb:\t0000000000000000\nallow\n";
    for users in ["--private-users", "--private-users=1600000000:65536", "--private-users=false"] {
        let run = |extra: &[&str]| {
            let mut all = args![users, &image].to_vec();
            all.extend(extra.iter().map(Into::into));
            let end = rkt.run_pod(all);
            rkt.rkt(["gc", "--grace-period=0s"]).success();
            end
        };
        run(&[]).success().stdout_is(&format!("0\n0\n0\n{none}"));
        run(&["--user=alice", "--group=wonder", "--supplementary-gids=50,60000"])
            .success()
            .stdout_is(&format!("1000\n1001\n1001 50 60000\n{none}"));
        run(&["--user=/srv/alices", "--group=/srv/alices"]).success().stdout_has("1000\n1001\n1001\n");
        // Numbers that are no users, and overflow to others.
        for number in ["4294967295", "4294967296", "18446744073709551616", "-1", "0x10"] {
            run(&[&format!("--user={number}")]).exits(217);
            run(&[&format!("--group={number}")]).exits(216);
        }
    }
    let private = |extra: &str| rkt.run_pod(args!["--private-users", &image, extra]);
    private("--user=65536")
        .exits(217)
        .stderr_has("65536")
        .stderr_has("the pod's user namespace ends with 65535");
    private("--group=70000").exits(216).stderr_has("70000");
    private("--supplementary-gids=65536").exits(216).stderr_has("65536");
    private("--user=/srv/nobodys").exits(217).stderr_has("none of the pod's users");
    private("--user=65535").success();
}

#[test]
fn a_pod_cannot_reach_what_is_the_hosts_roots() {
    let rkt = Rkt::new();
    let source = rkt.files().join("shared");
    fs::create_dir(&source).unwrap();
    let image = rkt.image("escape", |image| {
        image.sh("(echo '0 0 1' > /proc/self/uid_map) 2>/dev/null && echo mapped
             (echo deny > /proc/self/setgroups) 2>/dev/null && echo denied
             mknod /tmp/null c 1 3 2>/dev/null && echo device
             for key in kernel/core_pattern kernel/modprobe vm/drop_caches; do
               (echo x > /proc/sys/$key) 2>/dev/null && echo wrote $key
             done
             (echo b > /proc/sysrq-trigger) 2>/dev/null && echo sysrq
             kill -9 1 2>/dev/null && sleep 0.2; echo alive")
    });
    rkt.run_pod(args![
        "--private-users",
        &image,
        "--caps-retain=CAP_SYS_ADMIN,CAP_MKNOD,CAP_SETUID,CAP_KILL"
    ])
    .success()
    .stdout_is("alive\n");
}

#[test]
fn who_enters_is_the_pods_root() {
    let rkt = Rkt::new();
    let image = rkt.image("enter", |image| image.sh("echo up; exec sleep 1000").user("1000", "1001"));
    let mut pod = rkt.start(args!["--private-users", &image]);
    pod.wait_for("up");
    let script = "id -u; id -G; cat /proc/self/uid_map; readlink /proc/self/ns/user; readlink /proc/self/ns/mnt
        echo x > /root-file && stat -c '%u %g' /root-file; grep CapEff /proc/self/status; umount /proc/sys 2>/dev/null && echo out; true";
    let end = rkt.rkt(["enter", pod.uuid(), "/bin/sh", "-c", script]).success();
    let (base, _) = range(&pod.read("private-users-prepared").unwrap());
    let app = pod.process("sleep 1000").as_raw_nonzero();
    let link = |name: &str| fs::read_link(format!("/proc/{app}/ns/{name}")).unwrap().display().to_string();
    let want = [
        "0",
        "0",
        &format!("0 {base} 65536"),
        &link("user"),
        &link("mnt"),
        "0 0",
        "CapEff: 00000000a80425fb",
    ];
    let lines: Vec<String> =
        end.lines().iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines, want);
}
