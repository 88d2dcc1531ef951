//! The attacks that a sandbox must survive, by their numbers in the list of cases.

use std::{
    fs,
    os::{fd::AsFd, unix::fs::PermissionsExt},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::fs::{CWD, FileType, Mode};
use stage2::spec::{EtcFile, Seccomp};

use crate::{
    sandbox::mount,
    support::{Pod, Root, is_root, spec},
};

#[test]
fn case_13_commands_and_directories_through_proc_lead_nowhere() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    for command in
        ["/proc/self/exe", "/proc/1/root/bin/sh", "/proc/1/exe", "/proc/self/fd/3", "/proc/thread-self/exe"]
    {
        let mut spec = spec("");
        spec.exec = vec![command.to_owned()];
        let outcome = pod.run(&Root::busybox(), &spec);
        assert_eq!(outcome.status, 203, "{command}: {outcome:?}");
        assert!(outcome.refusal().starts_with(&format!("exec {command}: ")), "{outcome:?}");
    }
    for directory in
        ["/proc/1/root", "/proc/1/cwd", "/proc/self/fd/3", "/proc/self/fd/5", "/proc/self/cwd/../.."]
    {
        for capabilities in [spec("").capabilities, None] {
            let mut spec = spec("pwd; ls");
            spec.working_directory = directory.to_owned();
            spec.capabilities = capabilities;
            let outcome = pod.run(&Root::busybox(), &spec);
            assert_eq!((outcome.status, outcome.stdout.as_str()), (200, ""), "{directory}: {outcome:?}");
        }
    }
}

#[test]
fn case_13_a_link_to_proc_is_no_command_either() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let image = || {
        let root = Root::busybox();
        root.link("bin/tool", "/proc/self/exe");
        root.link("srv", "/proc/self/fd/5");
        root
    };
    let mut command = spec("");
    command.exec = vec!["tool".to_owned()];
    assert_eq!(pod.run(&image(), &command).status, 203);
    let mut directory = spec("pwd");
    directory.working_directory = "/srv".to_owned();
    assert_eq!(pod.run(&image(), &directory).status, 200);
}

/// What an image may have in place of a file: its name, and what makes it at a path.
type Trap = (&'static str, fn(&Root, &str));

fn traps() -> Vec<Trap> {
    vec![
        ("link out of the root", |root, path| root.link(path, "/../../../../etc/passwd")),
        ("link to itself", |root, path| root.link(path, path.rsplit('/').next().unwrap())),
        ("pipe", |root, path| {
            rustix::fs::mknodat(CWD, root.path(path), FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        }),
        ("endless device", |root, path| {
            let zero = rustix::fs::makedev(1, 5);
            rustix::fs::mknodat(
                CWD,
                root.path(path),
                FileType::CharacterDevice,
                Mode::from_raw_mode(0o666),
                zero,
            )
            .unwrap();
        }),
        ("socket", |root, path| {
            rustix::fs::mknodat(CWD, root.path(path), FileType::Socket, Mode::from_raw_mode(0o666), 0)
                .unwrap();
        }),
        ("directory", |root, path| root.directory(path)),
        ("huge file", |root, path| {
            root.file(path, "");
            fs::File::options().write(true).open(root.path(path)).unwrap().set_len(1 << 30).unwrap();
        }),
    ]
}

#[test]
fn case_14_users_are_read_from_regular_files_of_the_image_only() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    for (name, trap) in traps() {
        let root = Root::busybox();
        root.directory("etc");
        trap(&root, "etc/passwd");
        let mut spec = spec("id -u");
        // A user of the host, were its file read.
        spec.user = "daemon".to_owned();
        let outcome = pod.run(&root, &spec);
        assert!(outcome.refusal().starts_with("look up user \"daemon\": "), "{name}: {outcome:?}");
        assert_eq!(outcome.status, 217, "{name}");
    }
}

#[test]
fn case_14_a_link_in_the_root_is_followed_in_the_root() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let root = Root::busybox();
    root.file("usr/share/passwd", "web:x:1234:1::/:\n");
    root.directory("etc");
    root.link("etc/passwd", "/usr/share/passwd");
    let mut spec = spec("id -u");
    spec.user = "web".to_owned();
    assert_eq!(pod.run(&root, &spec).success(), "1234\n");
}

#[test]
fn case_14_provided_files_never_follow_what_an_image_has_there() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    for (name, trap) in traps() {
        let root = Root::busybox();
        root.directory("etc");
        root.file("victim", "untouched");
        trap(&root, "etc/hosts");
        let mut spec = spec("cat /etc/hosts");
        let content = "127.0.0.1 localhost\n".to_owned();
        spec.etc = vec![EtcFile {
            name: "hosts".to_owned(),
            content: content.clone(),
            source: None,
            only_if_missing: false,
        }];
        let outcome = pod.run(&root, &spec);
        if name == "directory" {
            assert!(outcome.refusal().contains("directory in its place"), "{outcome:?}");
        } else {
            assert_eq!(outcome.success(), content, "{name}");
        }
        assert_eq!(root.read("victim"), "untouched");
    }
}

#[test]
fn case_15_links_in_place_of_api_file_systems_are_refused() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    for path in ["proc", "sys", "dev", "etc"] {
        for target in ["/tmp", "/", "..", "/none", path] {
            let root = Root::busybox();
            root.directory("tmp");
            root.link(path, target);
            let outcome = pod.run(&root, &spec("echo app"));
            assert_eq!(
                (outcome.status, outcome.stdout.as_str()),
                (226, ""),
                "{path} -> {target}: {outcome:?}"
            );
            assert!(outcome.refusal().contains("symbolic link in its place"), "{outcome:?}");
            assert_eq!(root.list("tmp"), Vec::<String>::new(), "nothing is made where the link leads");
        }
    }
}

#[test]
fn case_15_what_an_image_has_in_dev_is_out_of_sight() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let root = Root::busybox();
    root.file("victim", "untouched");
    root.directory("dev");
    for name in ["null", "console", "pts", "shm", "ptmx", "mqueue", "zero"] {
        root.link(&format!("dev/{name}"), "/victim");
    }
    let script =
        "echo x >/dev/null; echo x >/dev/console; stat -c '%F' /dev/null /dev/pts /dev/shm; cat /victim";
    let want = "character special file\ndirectory\ndirectory\nuntouched";
    assert_eq!(pod.run(&root, &spec(script)).success(), want);
}

#[test]
fn case_15_a_directory_that_is_swapped_for_a_link_meanwhile_is_harmless() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    for _ in 0..20 {
        let root = Arc::new(Root::busybox());
        root.directory("proc");
        root.directory("decoy");
        root.link("link", "/decoy");
        let stop = Arc::new(AtomicBool::new(false));
        let swapper = std::thread::spawn({
            let (root, stop) = (root.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let flags = rustix::fs::RenameFlags::EXCHANGE;
                    let (proc, link) = (root.path("proc"), root.path("link"));
                    let swapped = rustix::fs::renameat_with(CWD, &proc, CWD, &link, flags);
                    // Not while something is mounted there, as this process sees it.
                    assert!(matches!(swapped, Ok(()) | Err(rustix::io::Errno::BUSY)), "{swapped:?}");
                }
            }
        });
        let outcome = pod.run(&root, &spec("ls /decoy; stat -f -c %T /proc"));
        stop.store(true, Ordering::Relaxed);
        swapper.join().unwrap();
        match outcome.status {
            // The file system is below the place that was opened, whichever name that has in the end.
            0 => assert!(["proc\n", "tmpfs\n"].contains(&outcome.stdout.as_str()), "{outcome:?}"),
            226 => assert_eq!(outcome.stdout, ""),
            // It was swapped after the mount, so that the app has no /proc to look at: nothing was mounted elsewhere.
            _ => assert_eq!(outcome.stdout, "", "{outcome:?}"),
        }
    }
}

#[test]
fn case_16_volume_targets_stay_in_the_root() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let volume = Root::empty();
    volume.file("mark", "volume");
    // The image's link, the target, and where the volume is then.
    for (link, to, target, place) in [
        ("data", "/../../../srv", "/data", Some("/srv")),
        ("data", "../../srv", "/data", Some("/srv")),
        ("data", "/srv", "/data/new/deep", Some("/srv/new/deep")),
        ("x", "/", "/../../x/../srv/../../new", Some("/new")),
        ("data", "data", "/data", None),
        ("data", "/none/yet", "/data", Some("/none/yet")),
        ("data", "/proc/1/root", "/data", None),
        ("data", "/proc/self/cwd", "/data/x", None),
        ("data", "/proc/self/fd/4", "/data/x", None),
    ] {
        let root = Root::busybox();
        root.directory("srv");
        root.link(link, to);
        let mut spec = spec(&format!("cat {}/mark", place.unwrap_or_default()));
        spec.mounts = vec![mount(target, true)];
        // A mount is moved to where it goes, so each app gets a copy of its own.
        let copy = Root::empty();
        copy.file("mark", volume.read("mark"));
        let outcome = pod.launch_app(&root, &spec, &[copy.as_fd()]).finish();
        match place {
            Some(_) => assert_eq!(outcome.success(), "volume", "{link} -> {to}, {target}"),
            None => {
                assert!(
                    outcome.refusal().starts_with("make target of volume"),
                    "{link} -> {to}: {outcome:?}"
                );
                assert_eq!(outcome.status, 226);
            }
        }
    }
}

#[test]
fn case_16_a_volume_inside_another_does_not_lead_out_of_the_root() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    // The first volume, which another pod can write to, holds a link where the second one goes.
    let (first, second) = (Root::empty(), Root::empty());
    first.link("inner", "/../../../../../etc");
    second.file("mark", "second");
    let mut spec = spec("cat /etc/mark");
    spec.mounts =
        vec![mount("/data", false), stage2::spec::Mount { source: 1, ..mount("/data/inner", false) }];
    let outcome = pod.launch_app(&Root::busybox(), &spec, &[first.as_fd(), second.as_fd()]).finish();
    assert_eq!(outcome.success(), "second");
    assert!(!fs::exists("/etc/mark").unwrap());
}

#[test]
fn case_17_a_volume_is_what_was_opened() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let host = tempfile::tempdir().unwrap();
    let source = host.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("mark"), "checked").unwrap();
    let opened = rustix::mount::open_tree(
        CWD,
        &source,
        rustix::mount::OpenTreeFlags::OPEN_TREE_CLONE | rustix::mount::OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )
    .unwrap();
    // Swapped after the check, before the mount.
    fs::rename(&source, host.path().join("moved")).unwrap();
    std::os::unix::fs::symlink("/etc", &source).unwrap();
    let mut spec = spec("cat /data/mark; ls /data");
    spec.mounts = vec![mount("/data", true)];
    let outcome = pod.launch_app(&Root::busybox(), &spec, &[opened.as_fd()]).finish();
    assert_eq!(outcome.success(), "checkedmark\n");
}

#[test]
fn case_18_a_false_proc_gets_nothing_written() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let root = Root::busybox();
    root.file("proc/self/oom_score_adj", "of the image");
    // What is mounted over the app's /proc is not procfs.
    let volume = Root::empty();
    volume.file("self/oom_score_adj", "of the volume");
    let mut false_proc = spec("echo app");
    false_proc.oom_score_adj = Some(100);
    false_proc.mounts = vec![mount("/proc", false)];
    let outcome = pod.launch_app(&root, &false_proc, &[volume.as_fd()]).finish();
    assert_eq!(volume.read("self/oom_score_adj"), "of the volume");
    assert_ne!(outcome.status, 0, "{outcome:?}");
    assert_eq!(outcome.stdout, "");
    let root = Root::busybox();
    root.file("proc/self/oom_score_adj", "of the image");
    let mut spec = spec("cat /proc/self/oom_score_adj");
    spec.oom_score_adj = Some(100);
    assert_eq!(pod.run(&root, &spec).success(), "100\n");
    assert_eq!(root.read("proc/self/oom_score_adj"), "of the image");
}

#[test]
fn case_19_init_shows_itself_to_nobody() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let script = "for f in root cwd exe; do readlink /proc/1/$f; ls /proc/1/$f/; done; for f in /proc/1/fd/*; do readlink $f; done; \
                  cat /proc/1/environ /proc/1/maps /proc/1/auxv; echo x >/proc/1/mem; echo end";
    let outcome = pod.run(&Root::busybox(), &spec(script));
    assert_eq!(outcome.stdout, "end\n", "{outcome:?}");
}

#[test]
fn case_19_a_waiting_app_exec_holds_no_more_than_its_app() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    // With a post-stop handler app-exec is the app's parent.
    let mut spec = spec(
        "grep -E '^(CapEff|CapPrm|CapBnd|Seccomp):' /proc/$PPID/status | tr '\\t' ' '; \
         for f in exe root cwd fd/0 fd/3; do readlink /proc/$PPID/$f; done; echo end",
    );
    spec.post_stop = Some(vec!["/bin/true".to_owned()]);
    let outcome = pod.run(&Root::busybox(), &spec);
    let caps = "00000000a80425fb";
    let want = format!("CapPrm: {caps}\nCapEff: {caps}\nCapBnd: {caps}\nSeccomp: 2\nend\n");
    assert_eq!(outcome.stdout, want, "{outcome:?}");
}

#[test]
fn case_20_no_descriptor_but_the_standard_streams_is_left() {
    if !is_root() {
        return;
    }
    for joins in [false, true] {
        let pod = Pod::start();
        let volume = Root::empty();
        for handler in [None, Some(vec!["/bin/true".to_owned()])] {
            // The shell expands the pattern with one descriptor of its own, which is gone when it is read.
            let mut spec = spec("cd /proc/self/fd; for n in *; do test -e $n && echo $n; done; true");
            spec.enter_pid_namespace = joins;
            spec.mounts = vec![mount("/data", false)];
            spec.pre_start.clone_from(&handler);
            spec.post_stop = handler;
            let volume = Root::empty();
            let outcome = pod.launch_app(&Root::busybox(), &spec, &[volume.as_fd()]).finish();
            assert_eq!(outcome.success(), "0\n1\n2\n");
        }
        drop(volume);
    }
}

#[test]
fn case_24_masks_cannot_be_taken_away() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    for seccomp in [Seccomp::Default, Seccomp::Off] {
        let mut spec = spec(
            "umount /proc/kcore; umount -l /sys/firmware; mount -o remount,rw /sys; mount -t proc p /tmp; \
             mount -o remount,rw,bind /proc/sys; unshare -Ur true; echo 1 >/proc/sys/kernel/sysrq; echo end",
        );
        spec.seccomp = seccomp;
        let outcome = pod.run(&Root::busybox(), &spec);
        assert_eq!(outcome.stdout, "end\n", "{outcome:?}");
        assert!(outcome.stderr.lines().count() >= 6, "{outcome:?}");
    }
}

#[test]
fn case_28_the_environment_of_who_calls_is_not_the_apps() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let root = Root::busybox();
    root.program("bin/evil.so", "x");
    let mut spec = spec("env | grep -c -e LD_ -e NOTIFY -e HOME; echo end");
    spec.enter_pid_namespace = true;
    assert_eq!(pod.run(&root, &spec).success(), "0\nend\n");
    let root = Root::busybox();
    // A set-user-ID file of an image gives its rights, but no more than the bounding set.
    fs::set_permissions(root.path("bin/busybox"), fs::Permissions::from_mode(0o4755)).unwrap();
    let mut spec = crate::support::spec("grep CapBnd /proc/self/status | cut -f2");
    spec.user = "1000".to_owned();
    assert_eq!(pod.run(&root, &spec).success(), "00000000a80425fb\n");
}
