//! What an app finds around it.

use std::os::fd::AsFd;

use stage2::spec::{EtcFile, Mount, Seccomp};

use crate::support::{Pod, Root, is_root, spec};

/// Script, and what it prints.
const VIEWS: [(&str, &str); 21] = [
    // API file systems (APPC-310 to 313)
    ("stat -f -c %T /proc /sys /dev /dev/shm /dev/pts", "proc\nsysfs\ntmpfs\ntmpfs\ndevpts\n"),
    (
        "cd /dev; stat -c '%n %F %t:%T %a' null zero full random urandom tty net/tun",
        "null character special file 1:3 666\nzero character special file 1:5 666\n\
         full character special file 1:7 666\nrandom character special file 1:8 666\n\
         urandom character special file 1:9 666\ntty character special file 5:0 666\n\
         net/tun character special file a:c8 666\n",
    ),
    ("test -c /dev/console && echo x >/dev/console && echo ok", "ok\n"),
    ("for l in ptmx fd stdin; do readlink /dev/$l; done", "pts/ptmx\n/proc/self/fd\n/proc/self/fd/0\n"),
    ("stat -c %a /dev/pts/ptmx /dev/shm /tmp", "666\n1777\n1777\n"),
    ("echo hello >/dev/stdout", "hello\n"),
    ("head -c 3 /dev/zero | wc -c; echo x >/dev/shm/y; cat /dev/shm/y", "3\nx\n"),
    ("grep -c ' /dev/mqueue mqueue ' /proc/mounts", "1\n"),
    // Files that the pod provides
    ("readlink /etc/mtab", "../proc/self/mounts\n"),
    ("cat /etc/hostname; hostname", "testpod\ntestpod\n"),
    ("cat /etc/hosts", "of the image\n"),
    ("echo x >/etc/hostname", "refused\n"),
    // Process
    ("umask; pwd; id -u; id -g", "0022\n/\n0\n0\n"),
    (
        "env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= | sort",
        "AC_APP_NAME=app\nPATH=/usr/bin:/bin\ncontainer=rkt\n",
    ),
    ("ls /proc/self/fd | wc -l; readlink /proc/self/fd/0", "4\n/dev/null\n"),
    (
        "grep -E '^(Seccomp|NoNewPrivs|CapInh|CapAmb):' /proc/self/status | tr '\\t' ' '",
        "CapInh: 0000000000000000\nCapAmb: 0000000000000000\nNoNewPrivs: 0\nSeccomp: 2\n",
    ),
    (
        "grep -E '^Cap(Prm|Eff|Bnd):' /proc/self/status | tr '\\t' ' '",
        "CapPrm: 00000000a80425fb\nCapEff: 00000000a80425fb\nCapBnd: 00000000a80425fb\n",
    ),
    (
        "grep -E '^Sig(Blk|Ign):' /proc/self/status | tr '\\t' ' '",
        "SigBlk: 0000000000000000\nSigIgn: 0000000000000000\n",
    ),
    // Network: loopback is up (APPC-237)
    ("cat /sys/class/net/lo/flags", "0x9\n"),
    // The root is the app's own, and nothing of the host or of other apps is mounted (APPC-225)
    (
        "ls /; cut -d' ' -f2 /proc/mounts | grep -c -e /opt -e /work; true",
        "bin\ndev\netc\nproc\nsys\ntmp\n0\n",
    ),
    ("readlink /proc/1/exe || ls /proc/1/root", "refused\n"),
];

fn provided() -> Vec<EtcFile> {
    let file = |name: &str, content: &str, only_if_missing| EtcFile {
        name: name.to_owned(),
        content: content.to_owned(),
        source: None,
        only_if_missing,
    };
    vec![file("hostname", "testpod\n", false), file("hosts", "of the pod\n", true)]
}

// APPC-225, APPC-237, APPC-241, APPC-245, APPC-288, APPC-310, APPC-311, APPC-312, APPC-313
// APPC-315
#[test]
fn an_app_finds_what_the_specification_promises() {
    if !is_root() {
        return;
    }
    for joins in [false, true] {
        let pod = Pod::start();
        for (script, want) in VIEWS {
            let root = Root::busybox();
            root.file("etc/hosts", "of the image\n");
            let mut spec = spec(&format!("{script} || echo refused"));
            spec.enter_pid_namespace = joins;
            spec.etc = provided();
            let outcome = pod.run(&root, &spec);
            assert_eq!(outcome.stdout, want, "{script}: {outcome:?}");
        }
    }
}

#[test]
fn the_herald_names_the_app_before_it_runs() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let mut spec = spec("exit 7");
    spec.enter_pid_namespace = true;
    let outcome = pod.run(&Root::busybox(), &spec);
    assert_eq!(outcome.status, 7);
    let pid = outcome.reports.iter().find_map(|report| match report {
        stage2::control::Report::Started { pid } => Some(*pid),
        _ => None,
    });
    assert_eq!(outcome.notices, [format!("MAINPID={}\nREADY=1", pid.unwrap()), "BARRIER=1".to_owned()]);
}

#[test]
fn kernel_paths_are_masked_or_read_only() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let files = "for f in /proc/kcore /proc/keys /proc/timer_list /proc/kallsyms /proc/interrupts; do \
                 test -e $f && cat $f; done; echo; ls /sys/firmware /sys/module /proc/acpi /proc/scsi 2>/dev/null | grep -v :";
    assert_eq!(pod.says(&format!("{files} || true")).trim(), "");
    for path in ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/mm/ksm/run"] {
        let outcome = pod.run(&Root::busybox(), &spec(&format!("test -e {path} || exit 9; echo 0 >{path}")));
        assert!(outcome.status == 9 || outcome.stderr.contains("Read-only file system"), "{outcome:?}");
    }
    let mut open = spec("test -r /proc/sysrq-trigger; ls /sys/module | wc -l; cat /proc/timer_list | wc -l");
    open.unprotected_paths = true;
    let counts = pod.run(&Root::busybox(), &open).success();
    assert!(counts.lines().all(|count| count.trim() != "0"), "{counts}");
}

// APPC-176
#[test]
fn a_read_only_root_keeps_volumes_writable() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let (volume, mut spec) =
        (Root::empty(), spec("echo x >/data/y; echo x >/z; echo x >/tmp/z; cat /data/y"));
    spec.read_only_root = true;
    spec.mounts = vec![mount("/data", false)];
    let root = Root::busybox();
    let outcome = pod.launch_app(&root, &spec, &[volume.as_fd()]).finish();
    assert_eq!(outcome.stdout, "x\n");
    assert_eq!(outcome.stderr.matches("Read-only file system").count(), 2, "{outcome:?}");
    assert_eq!(root.list("tmp"), Vec::<String>::new());
}

#[test]
fn volumes_are_mounted_in_order_and_read_only_where_asked() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let (outer, inner) = (Root::empty(), Root::empty());
    outer.file("a", "outer");
    inner.file("b", "inner");
    let root = Root::busybox();
    root.directory("srv/real");
    root.link("data", "/srv/real");
    let mut spec = spec("cat /data/a /srv/real/deep/er/b; echo x >/data/c; echo x >/data/deep/er/c");
    spec.mounts = vec![mount("/data", false), Mount { source: 1, ..mount("/data/deep/er", true) }];
    let outcome = pod.launch_app(&root, &spec, &[outer.as_fd(), inner.as_fd()]).finish();
    assert_eq!(outcome.stdout, "outerinner", "{outcome:?}");
    assert!(outcome.stderr.contains("/data/deep/er/c: Read-only file system"), "{outcome:?}");
    assert_eq!(
        (outer.list("."), inner.list(".")),
        (vec!["a".into(), "c".into(), "deep".into()], vec!["b".into()])
    );
}

// APPC-227
#[test]
fn what_is_made_for_a_volume_is_open_to_all_whatever_the_umask() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let volume = Root::empty();
    let mut spec = spec("stat -c %a /x /etc /proc /x/y");
    spec.mounts = vec![mount("/x/y/z", false)];
    let running = pod.launch_app(&Root::busybox(), &spec, &[volume.as_fd()]);
    assert_eq!(running.finish().success(), "755\n755\n555\n755\n");
}

#[test]
fn devices_work_in_dev_only() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let volume = Root::empty();
    let mut spec = spec(
        "for d in / /tmp /data /dev /dev/shm; do mknod $d/n c 1 3 && echo x >$d/n && echo $d; done; \
         echo x >/dev/null && echo fine",
    );
    spec.mounts = vec![mount("/data", false)];
    let outcome = pod.launch_app(&Root::busybox(), &spec, &[volume.as_fd()]).finish();
    assert_eq!(outcome.stdout, "fine\n", "{outcome:?}");
}

// APPC-124, APPC-294, APPC-295
#[test]
fn isolators_take_effect() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let mut spec = spec(
        "grep -E '^(CapBnd|CapEff|NoNewPrivs|Seccomp):' /proc/self/status | tr '\\t' ' '; \
         cat /proc/self/oom_score_adj",
    );
    spec.capabilities = Some(vec!["CAP_NET_BIND_SERVICE".to_owned()]);
    spec.no_new_privileges = true;
    spec.seccomp = Seccomp::Off;
    spec.oom_score_adj = Some(321);
    let caps = "0000000000000400";
    assert_eq!(
        pod.run(&Root::busybox(), &spec).success(),
        format!("CapEff: {caps}\nCapBnd: {caps}\nNoNewPrivs: 1\nSeccomp: 0\n321\n")
    );
    spec.capabilities = Some(vec!["CAP_PONIES".to_owned()]);
    assert_eq!(
        pod.run(&Root::busybox(), &spec).refusal(),
        "keep capability \"CAP_PONIES\": there is none of this name"
    );
    spec.capabilities = None;
    let open = pod.run(&Root::busybox(), &spec).success();
    assert!(open.starts_with("CapEff: 000001ff"), "{open}");
}

// APPC-286
#[test]
fn the_default_filter_refuses_what_is_not_for_apps() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let mut spec = spec("mount -t tmpfs x /tmp; umount /proc/sys; chroot / true && echo chroot works");
    spec.capabilities = None;
    let outcome = pod.run(&Root::busybox(), &spec);
    assert_eq!(outcome.stdout, "chroot works\n", "{outcome:?}");
    assert_eq!(outcome.stderr.lines().count(), 2, "{outcome:?}");
}

pub(crate) fn mount(target: &str, read_only: bool) -> Mount {
    Mount { source: 0, volume: "data".to_owned(), target: target.to_owned(), read_only }
}
