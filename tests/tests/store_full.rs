//! A store on a disk that is full, that cannot be written, or of a newer version; a process that may not have enough.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    ffi::OsString,
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rkt_tests::{Launcher, Outcome, Rkt, args, run};
use rusqlite::Connection;

// Apps that systemd starts are not in the namespaces of whoever wants them: all of this is for the direct launcher.

/// A mount namespace in which a script has mounted something. It ends with its only process.
struct Namespace(Child);

impl Namespace {
    fn new(script: &str, arguments: &[&Path]) -> Namespace {
        let script = format!("set -e; {script}; echo ready; exec sleep 600");
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation=private", "sh", "-c", &script, "sh"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Namespace(child)
    }

    /// Runs a command in it.
    #[track_caller]
    fn run(&self, command: &Command) -> Outcome {
        let pid = self.0.id().to_string();
        let mut inside = Command::new("nsenter");
        inside.args(["--target", &pid, "--mount", "--"]).arg(command.get_program()).args(command.get_args());
        run(&mut inside)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Bytes that no compression makes smaller.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length / 8).flat_map(|_| next()).collect()
}

fn one_line(end: &Outcome) {
    assert_eq!(end.stderr.lines().count(), 1, "{end:?}");
}

#[test]
fn case_33_a_full_disk_is_named_and_what_was_there_stays() {
    let rkt = Rkt::with_launcher(Launcher::Direct);
    let small = rkt.image("small", |image| image.sh("echo ran"));
    let big = rkt.image("big", |image| image.file("noise", noise(24 << 20), 0o644));
    let place = rkt.files().join("full");
    fs::create_dir(&place).unwrap();
    let space = Namespace::new("mount -t tmpfs -o size=32m none \"$1\"", &[&place]);
    let dir = OsString::from(format!("--dir={}", place.display()));
    let rkt_there = |args: &[OsString]| {
        let all: Vec<OsString> = std::iter::once(dir.clone()).chain(args.iter().cloned()).collect();
        space.run(&rkt.command(all))
    };
    let used = || {
        let mut count = Command::new("du");
        count.args(["-c", "-s", "--inodes"]);
        count.args(["blob", "imageManifest", "tree", "tmp"].map(|name| place.join("cas").join(name)));
        space.run(&count).success().lines().pop().unwrap().to_owned()
    };
    rkt_there(&args!["fetch", &small]).success();
    rkt_there(&rkt.run_args(args![&small])).success().stdout_is("ran\n");
    let before = used();
    for _ in 0..2 {
        let end = rkt_there(&args!["fetch", &big]).refused(&["image", "big.aci", "No space left on device"]);
        one_line(&end);
        assert_eq!(used(), before);
    }
    rkt_there(&rkt.run_args(args!["test.invalid/small"])).success().stdout_is("ran\n");
    rkt_there(&args!["image", "verify", "test.invalid/small"]).success();
    rkt_there(&args!["image", "render", "test.invalid/small", place.join("out")]).success();
    rkt_there(&args!["gc", "--grace-period=0s"]).success();
}

#[test]
fn case_33_a_read_only_store_can_be_read_and_nothing_else() {
    let rkt = Rkt::with_launcher(Launcher::Direct);
    let image = rkt.image("fixed", |image| image.sh("echo ran"));
    let other = rkt.image("other", |image| image);
    let id = rkt.rkt(args!["fetch", "--full", &image]).success().stdout.trim().to_owned();
    let data = rkt.data();
    let space = Namespace::new("mount --bind \"$1\" \"$1\"; mount -o remount,bind,ro \"$1\"", &[&data]);
    let list = space.run(&rkt.command(["image", "list", "--no-legend", "--full"])).success();
    list.stdout_has(&id);
    space.run(&rkt.command(["image", "cat-manifest", &id])).success().stdout_has("test.invalid/fixed");
    let out = rkt.files().join("out.aci");
    space.run(&rkt.command(args!["image", "export", &id, &out])).success();
    for args in [args!["fetch", &other].to_vec(), rkt.run_args([&id]), args!["image", "rm", &id].to_vec()] {
        let end = space.run(&rkt.command(&args)).refused(&["ead-only"]);
        one_line(&end);
    }
    drop(space);
    rkt.run_pod([&id]).success().stdout_is("ran\n");
}

#[test]
fn case_33_too_few_descriptors_or_too_little_memory_leave_nothing() {
    let rkt = Rkt::with_launcher(Launcher::Direct);
    let image = rkt.image("some", |image| image.sh("echo ran").file("noise", noise(4 << 20), 0o644));
    rkt.rkt(["image", "list"]).success();
    let limited_to = |limit: &str, args: &[OsString]| {
        let mut words = vec![OsString::from("-c"), format!("ulimit {limit}; exec \"$0\" \"$@\"").into()];
        let command = rkt.command(args);
        words.push(command.get_program().to_owned());
        words.extend(command.get_args().map(ToOwned::to_owned));
        run(Command::new("sh").args(words).env("RUST_BACKTRACE", "0").arg0("sh"))
    };
    let limited = |limit: &str| limited_to(limit, &args!["fetch", &image]);
    let end = limited("-n 9").refused(&["oo many open files"]);
    one_line(&end);
    let left = |rkt: &Rkt| -> Vec<PathBuf> {
        let entries = fs::read_dir(rkt.data().join("cas/tmp")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    assert_eq!(left(&rkt), Vec::<PathBuf>::new());
    // The program itself needs some: what it can start with is where too little begins.
    let starts = |kilobytes: &usize| limited_to(&format!("-v {kilobytes}"), &args!["version"]).status == 0;
    let least = (10_000..200_000).step_by(1000).find(starts).unwrap();
    let mut refused = 0;
    for kilobytes in (least + 1000..least + 19_000).step_by(3000) {
        let end = limited(&format!("-v {kilobytes}"));
        if end.status != 0 {
            refused += 1;
            assert!(!end.stderr.contains("panicked"), "{end:?}");
            // Where the allocator itself gives up, the language's words are all there is.
            if !end.stderr.starts_with("memory allocation of") {
                one_line(&end);
            }
        }
        rkt.rkt(["image", "gc", "--grace-period=0s"]).success();
        assert_eq!(left(&rkt), Vec::<PathBuf>::new());
    }
    assert!(refused > 0, "nothing was too little");
    rkt.run_pod(args![&image]).success().stdout_is("ran\n");
    assert_eq!(left(&rkt), Vec::<PathBuf>::new());
}

#[test]
fn case_32_a_store_of_a_newer_version_is_left_alone() {
    let rkt = Rkt::with_launcher(Launcher::Direct);
    let image = rkt.image("newer", |image| image);
    rkt.rkt(args!["fetch", &image]).success();
    let path = rkt.data().join("cas/db/index.sqlite3");
    let set = |version: i64| {
        let index = Connection::open(&path).unwrap();
        let before: i64 = index.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        index.execute_batch(&format!("PRAGMA user_version = {version}")).unwrap();
        before
    };
    let ours = set(99);
    for args in [
        args!["fetch", &image].to_vec(),
        args!["image", "list"].to_vec(),
        args!["image", "gc", "--grace-period=0s"].to_vec(),
        args!["image", "rm", "test.invalid/newer"].to_vec(),
    ] {
        rkt.rkt(&args).refused(&["version 99", "use the rkt that made it"]);
    }
    assert_eq!(set(ours), 99);
    rkt.rkt(["image", "list", "--no-legend"]).success().stdout_has("test.invalid/newer");
    rkt.rkt(["image", "verify", "test.invalid/newer"]).success();
}

#[test]
fn case_44_overlays_are_used_where_they_can_be_and_copies_elsewhere() {
    let rkt = Rkt::with_launcher(Launcher::Direct);
    let image =
        rkt.image("probed", |image| image.sh("grep -c '^rkt / overlay ' /proc/mounts; echo x > /new"));
    let place = |name: &str| {
        let path = rkt.files().join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let run_in = |space: &Namespace, dir: &Path| {
        let dir = OsString::from(format!("--dir={}", dir.display()));
        let all: Vec<OsString> = std::iter::once(dir.clone()).chain(rkt.run_args(args![&image])).collect();
        let end = space.run(&rkt.command(all));
        space.run(&rkt.command([dir, "gc".into(), "--grace-period=0s".into()])).success();
        end
    };
    let memory = place("tmpfs");
    let space = Namespace::new("mount -t tmpfs none \"$1\"", &[&memory]);
    let end = run_in(&space, &memory).success();
    assert_eq!((end.stdout.as_str(), end.stderr.as_str()), ("1\n", ""));
    // An overlay cannot be the upper layer of another.
    let (lower, upper, work, merged) = (place("lower"), place("upper"), place("work"), place("merged"));
    let script = "mount -t overlay none -o \"lowerdir=$1,upperdir=$2,workdir=$3\" \"$4\"";
    let space = Namespace::new(script, &[&lower, &upper, &work, &merged]);
    let end = run_in(&space, &merged);
    if end.stdout == "1\n" {
        // A kernel that can do it after all says nothing.
        assert_eq!(end.stderr, "");
        return;
    }
    assert!(end.stderr.contains("disabling overlay support"), "{end:?}");
    one_line(&end);
    end.exits(0).stdout_is("0\n");
}
