//! What `gc` and `rm` take away, and when.

use std::fs;

use rkt_tests::{Rkt, args};
use rustix::process::Signal;

fn exited(rkt: &Rkt) -> String {
    let image = rkt.image("done", |image| image);
    let pod = rkt.start(args![&image]);
    let uuid = pod.uuid().to_owned();
    pod.wait().success();
    uuid
}

fn place(rkt: &Rkt, uuid: &str) -> String {
    let dir = rkt.pod_dir(uuid);
    dir.parent()
        .and_then(|place| place.file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[test]
fn gc_marks_first_and_removes_after_the_grace_period() {
    let rkt = Rkt::new();
    let uuid = exited(&rkt);
    rkt.rkt(["gc", "--mark-only"]).success().stderr_has(&format!("moving pod \"{uuid}\" to garbage"));
    assert_eq!(place(&rkt, &uuid), "exited-garbage");
    rkt.rkt(["status", &uuid]).success().stdout_has("state=exited garbage");
    rkt.rkt(["gc"]).success().stderr_has(&format!("pod \"{uuid}\" not removed: still within grace period"));
    rkt.rkt(["gc", "--grace-period=0s"]).success().stdout_has(&format!("Garbage collecting pod \"{uuid}\""));
    assert!(rkt.pods_on_disk().is_empty());
}

#[test]
fn gc_leaves_running_pods_alone() {
    let rkt = Rkt::new();
    let image = rkt.image("up", |image| image.sh("echo up; exec sleep 1000"));
    let mut pod = rkt.start(args![&image]);
    pod.wait_for("up");
    rkt.rkt(["gc", "--grace-period=0s", "--expire-prepared=0s"]).success();
    assert_eq!(pod.status().value("state"), Some("running"));
    pod.signal(Signal::TERM);
    pod.wait().success();
}

#[test]
fn gc_takes_what_a_crash_left_half_made() {
    let rkt = Rkt::new();
    exited(&rkt);
    let half = rkt.data().join("pods/prepare/11111111-1111-4111-8111-111111111111");
    let embryo = rkt.data().join("pods/embryo/22222222-2222-4222-8222-222222222222");
    fs::create_dir_all(half.join("stage1/rootfs/opt/stage2")).unwrap();
    fs::create_dir_all(&embryo).unwrap();
    rkt.rkt(["list"]).success().stdout_has("11111111").stdout_has("aborted prepare");
    rkt.collect();
}

#[test]
fn gc_after_the_pods_directory_lost_files() {
    let rkt = Rkt::new();
    for name in ["pod", "runtime-config", "pid", "overlay"] {
        let uuid = exited(&rkt);
        let path = rkt.pod_dir(&uuid).join(name);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else if path.exists() {
            fs::remove_file(path).unwrap();
        }
    }
    rkt.rkt(["list"]).success();
    rkt.collect();
}

#[test]
fn case_34_two_gcs_at_once_do_not_mind_each_other() {
    let rkt = Rkt::new();
    for _ in 0..5 {
        exited(&rkt);
    }
    let mut children: Vec<_> =
        (0..4).map(|_| rkt.command(["gc", "--grace-period=0s"]).spawn().unwrap()).collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    assert!(rkt.pods_on_disk().is_empty());
}

#[test]
fn rm_removes_what_does_not_run() {
    let rkt = Rkt::new();
    let (first, second) = (exited(&rkt), exited(&rkt));
    rkt.rkt(["rm", &first[..13], &second]).success().stdout_is(&format!("\"{first}\"\n\"{second}\"\n"));
    assert!(rkt.pods_on_disk().is_empty());
    rkt.rkt(["rm", &first]).exits(254).stderr_has("no matches found for");
}

#[test]
fn rm_refuses_a_running_pod_and_removes_the_others() {
    let rkt = Rkt::new();
    let image = rkt.image("up", |image| image.sh("echo up; exec sleep 1000"));
    let mut pod = rkt.start(args![&image]);
    pod.wait_for("up");
    let other = exited(&rkt);
    let end = rkt.rkt(["rm", pod.uuid(), &other]).exits(254);
    assert!(end.stdout.contains(&other) && !end.stdout.contains(pod.uuid()), "{end:?}");
    assert_eq!(rkt.pods_on_disk(), [pod.uuid()]);
    pod.signal(Signal::TERM);
    pod.wait().success();
}

#[test]
fn commands_for_root_say_so_to_others() {
    let rkt = Rkt::new();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    use std::os::unix::process::CommandExt;
    // A place that another user can enter, and a program that he can read.
    for command in ["run", "gc", "rm"] {
        let end = rkt_tests::run(rkt.command([command]).uid(65534).gid(65534).current_dir("/"));
        end.exits(254).stderr_has("cannot run as unprivileged user");
    }
}

#[test]
fn stage1_is_asked_only_about_pods_that_may_have_left_something() {
    let rkt = Rkt::new();
    let clean = exited(&rkt);
    assert!(rkt.pod_dir(&clean).join("ended").exists());
    let image = rkt.image("up", |image| image.sh("echo up; exec sleep 1000"));
    let mut killed = rkt.start(args![&image]);
    killed.wait_for("up");
    let dir = rkt.pod_dir(killed.uuid());
    killed.signal(Signal::KILL);
    killed.wait();
    assert!(!dir.join("ended").exists());
    let asked = |uuid: &str| {
        let trace = rkt.files().join("trace");
        let program = rkt.program("rkt");
        let mut command = std::process::Command::new("strace");
        command.args(["-f", "-e", "trace=execve", "-o"]).arg(&trace).arg(program);
        command.arg(format!("--dir={}", rkt.data().display())).args(["rm", uuid]);
        assert!(command.status().expect("strace").success());
        fs::read_to_string(trace).expect("a trace").contains("\"gc\"")
    };
    assert!(!asked(&clean));
    assert!(asked(dir.file_name().and_then(|name| name.to_str()).expect("a UUID")));
}
