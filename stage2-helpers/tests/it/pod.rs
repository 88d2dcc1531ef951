//! The pod's init.

use rustix::event::{PollFd, PollFlags, Timespec};
use stage2::control::Failure;

use crate::support::{Pod, Root, is_root, spec};

/// Whether init ends within the time, in seconds.
fn ends(pod: &Pod, seconds: i64) -> bool {
    let mut fds = [PollFd::new(&pod.pidfd, PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: seconds, tv_nsec: 0 })).unwrap() == 1
}

#[test]
fn it_says_when_somebody_wants_the_pods_end() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let realtime = libc::SIGRTMIN();
    for signal in [libc::SIGTERM, libc::SIGINT, realtime + 3, realtime + 4, realtime + 5, realtime + 6] {
        pod.signal(signal);
        assert_eq!(pod.hear(), b"P", "signal {signal}");
    }
    for signal in [libc::SIGHUP, libc::SIGUSR1, libc::SIGPIPE, realtime + 1] {
        pod.signal(signal);
    }
    assert!(!ends(&pod, 0));
    // Nothing was said of those: the next word answers the next signal.
    pod.signal(libc::SIGTERM);
    assert_eq!(pod.hear(), b"P");
}

#[test]
fn it_reaps_what_apps_leave() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let orphans = "for i in 1 2 3 4 5; do (sleep 0.05 &) ; done; sleep 0.4; \
                   cat /proc/[0-9]*/stat | cut -d' ' -f3 | grep -c Z";
    assert_eq!(pod.says(&format!("{orphans} || true")), "0\n");
}

#[test]
fn its_end_is_the_pods() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let mut running = pod.launch_app(&Root::busybox(), &spec("echo up; exec sleep 1000"), &[]);
    assert_eq!(running.line(), "up");
    drop(pod);
    assert_eq!(running.finish().status, 137);
}

#[test]
fn bad_arguments_are_refused() {
    if !is_root() {
        return;
    }
    for (arguments, want) in [
        (vec!["--nonsense"], "read argument --nonsense: unknown"),
        (vec!["--hostname"], "read argument --hostname: unknown"),
    ] {
        let pod = Pod::launch(Root::of_pod(), &arguments);
        let failure: Failure = serde_json::from_slice(&pod.hear()).unwrap();
        assert_eq!(failure.to_string(), want);
        assert!(ends(&pod, 5));
    }
}

#[test]
fn links_in_the_pods_root_are_refused() {
    if !is_root() {
        return;
    }
    for path in ["proc", "dev", "dev/shm", "dev/mqueue"] {
        let root = Root::of_pod();
        if let Some((parent, _)) = path.split_once('/') {
            root.directory(parent);
        }
        root.link(path, "/opt");
        let failure: Failure = serde_json::from_slice(&Pod::launch(root, &[]).hear()).unwrap();
        assert_eq!(failure.reason, "Too many levels of symbolic links", "{path}");
    }
}

#[test]
fn case_30_a_stage1_that_is_gone_before_init_asks_is_noticed() {
    if !is_root() {
        return;
    }
    let mut pod = Pod::launch(Root::of_pod(), &[]);
    pod.hang_up();
    // Its parent, this thread, lives; the closed socket alone must be enough.
    assert!(ends(&pod, 5), "init goes on without stage1");
    let mut pod = Pod::start();
    pod.hang_up();
    assert!(ends(&pod, 5), "init goes on without stage1 once it is ready");
}

#[test]
fn nothing_of_a_pod_is_seen_on_the_host() {
    if !is_root() {
        return;
    }
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    let pod = Pod::start();
    let mut running = pod.launch_app(&Root::busybox(), &spec("echo up; exec sleep 1000"), &[]);
    assert_eq!(running.line(), "up");
    assert_eq!(mounts(), before);
    assert_eq!(pod.root.list("."), ["dev", "opt", "proc"]);
}
