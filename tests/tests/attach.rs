//! `rkt attach`: streams of apps that somebody comes to later.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rkt_tests::{Pod, Rkt, Terminal, args, wait_until};
use rustix::event::{PollFd, PollFlags, Timespec};
use serde_json::json;

/// Echoes line by line, and says when it has seen the end.
const ECHO: &str = "while read line; do echo \"got $line\"; echo \"err $line\" >&2; done; echo end";

/// All three streams as `mode`.
fn all(mode: &str) -> Vec<std::ffi::OsString> {
    ["stdin", "stdout", "stderr"].iter().map(|stream| format!("--{stream}={mode}").into()).collect()
}

fn start<'a>(rkt: &'a Rkt, script: &str, options: &[std::ffi::OsString]) -> Pod<'a> {
    let image = rkt.image("app", |image| image.sh(script));
    let mut words = args![&image].to_vec();
    words.extend_from_slice(options);
    let pod = rkt.start(words);
    wait_until("the socket", || pod.dir().join("attach").exists());
    pod
}

/// Somebody who is attached through pipes.
struct Attached {
    child: Child,
}

impl Attached {
    fn to(rkt: &Rkt, words: &[&str]) -> Attached {
        let mut command = rkt.command(["attach"].iter().chain(words));
        let child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Attached { child }
    }

    fn write(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[track_caller]
    fn reads(&mut self, awaited: &str) {
        let mut text = vec![0; awaited.len()];
        self.child.stdout.as_mut().unwrap().read_exact(&mut text).unwrap();
        assert_eq!(String::from_utf8_lossy(&text), awaited);
    }

    fn hears_something(&self) -> bool {
        let stdout = self.child.stdout.as_ref().unwrap();
        let mut fds = [PollFd::new(stdout, PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 100_000_000 })).unwrap() > 0
    }

    /// Reads whole lines up to this one.
    fn reads_until(&mut self, last: &str) {
        let mut text = String::new();
        while !text.ends_with(last) {
            let mut byte = [0];
            self.child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
            text.push(char::from(byte[0]));
        }
    }

    /// Its exit status, and what was left to read.
    fn end(mut self) -> (i32, String, String) {
        drop(self.child.stdin.take());
        let (mut out, mut err) = (String::new(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (self.child.wait().unwrap().code().unwrap_or(-1), out, err)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

#[test]
fn what_is_typed_goes_to_the_app_and_what_it_writes_comes_back() {
    let rkt = Rkt::new();
    let pod = start(&rkt, ECHO, &all("stream"));
    let mut attached = Attached::to(&rkt, &[pod.uuid(), "--close-stdin"]);
    attached.write("one\n");
    attached.reads("got one\n");
    attached.write("two\n");
    attached.reads("got two\n");
    // The end of its stdin ends the app's, and the app's end ends it.
    let (status, out, err) = attached.end();
    assert_eq!((status, out.as_str(), err.as_str()), (0, "end\n", "err one\nerr two\n"));
    pod.wait().success().stdout_is("");
}

#[test]
fn it_is_possible_late_twice_and_to_a_single_stream() {
    let rkt = Rkt::new();
    let pod = start(&rkt, ECHO, &all("stream"));
    let mut first = Attached::to(&rkt, &[pod.uuid()]);
    first.write("one\n");
    first.reads("got one\n");
    // Who comes later has not heard what was said before, and who only listens cannot speak.
    let mut second = Attached::to(&rkt, &[pod.uuid(), "--mode=stdout"]);
    let mut third = Attached::to(&rkt, &[pod.uuid(), "--mode=stdin,stderr"]);
    let until_here = |reader: &mut Attached, speaker: &mut Attached, text: &str| {
        speaker.write(&format!("{text}\n"));
        reader.reads(&format!("got {text}\n"));
    };
    // Said again until all hear it.
    wait_until("the second to be attached", || {
        until_here(&mut first, &mut third, "is anybody there");
        second.hears_something()
    });
    until_here(&mut first, &mut third, "now");
    second.reads_until("got now\n");
    second.write("unheard\n");
    until_here(&mut first, &mut third, "again");
    second.reads("got again\n");
    // One leaves, the others stay, and so does the app's stdin.
    let (status, out, err) = third.end_when_killed();
    assert_eq!((status, out.as_str()), (-1, ""), "{err}");
    let mut speaker = Attached::to(&rkt, &[pod.uuid(), "--mode=stdin"]);
    until_here(&mut first, &mut speaker, "from another");
    second.reads("got from another\n");
    // Who only speaks is done when he has said all.
    assert_eq!(speaker.end().0, 0);
    rkt.rkt(["stop", pod.uuid()]).success();
    for attached in [first, second] {
        assert_eq!(attached.end().0, 0);
    }
    pod.wait();
}

impl Attached {
    fn end_when_killed(mut self) -> (i32, String, String) {
        self.child.kill().unwrap();
        self.end()
    }
}

#[test]
fn a_terminal_is_one_for_all_who_are_attached() {
    let rkt = Rkt::new();
    let script = "tty; stty -echo; echo ready; while read line; do echo \"$line: $(stty size)\"; done";
    let pod = start(&rkt, script, &all("tty"));
    let mut terminal = Terminal::start(&rkt.command(["attach", pod.uuid()]));
    // Typed again until it is seen: nobody is told when he is attached, or has another size.
    let until_seen = |typist: &mut Terminal, screen: Option<&Terminal>, word: &str, size: &str| {
        wait_until(word, || {
            typist.write(&format!("{word}\r"));
            std::thread::sleep(Duration::from_millis(200));
            let awaited = format!("{word}: {size}");
            typist.text().contains(&awaited) && screen.is_none_or(|screen| screen.text().contains(&awaited))
        });
    };
    until_seen(&mut terminal, None, "first", "24 80");
    let watcher = Terminal::start(&rkt.command(["attach", "--mode=tty-out", pod.uuid()]));
    until_seen(&mut terminal, Some(&watcher), "second", "24 80");
    terminal.resize(33, 99);
    until_seen(&mut terminal, Some(&watcher), "third", "33 99");
    // Detached by its keys, which the app does not see; the app stays.
    terminal.write("\x10\x11");
    assert_eq!(terminal.wait(), 0);
    let mut again = Terminal::start(&rkt.command(["attach", pod.uuid()]));
    until_seen(&mut again, Some(&watcher), "fourth", "24 80");
    rkt.rkt(["stop", pod.uuid()]).success();
    assert_eq!(again.wait(), 0);
    assert_eq!(watcher.wait(), 0);
    pod.wait();
}

#[test]
fn the_apps_terminal_is_a_terminal_and_a_stream_is_none() {
    let rkt = Rkt::new();
    for (mode, word) in [("tty", "yes"), ("stream", "no")] {
        let script = "read line; if test -t 0 && test -t 1; then echo yes; else echo no; fi; sleep 1000";
        let pod = start(&rkt, script, &all(mode));
        let mut attached = Attached::to(&rkt, &[pod.uuid()]);
        attached.write("go\n");
        let awaited = if mode == "tty" { format!("go\r\n{word}\r\n") } else { format!("{word}\n") };
        attached.reads(&awaited);
        rkt.rkt(["stop", pod.uuid()]).success();
        attached.end();
        pod.wait();
        rkt.rkt(["gc", "--grace-period=0s"]).success();
    }
}

#[test]
fn the_terminal_is_restored_after_any_death() {
    let rkt = Rkt::new();
    let pod = start(&rkt, "while read line; do echo \"app $line\"; done", &all("tty"));
    let attach = rkt.command(["attach", pod.uuid()]);
    let words: Vec<String> = std::iter::once(attach.get_program())
        .chain(attach.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    // What the shell is told by its terminal before and after somebody has killed the command on it.
    let script = format!(
        "stty -a >{0}/before; {1}; echo ended $?; sleep 1; stty -a >{0}/after; echo done",
        rkt.files().display(),
        words.join(" ")
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]);
    let mut terminal = Terminal::start(&shell);
    std::thread::sleep(Duration::from_millis(500));
    terminal.write("hello\r");
    terminal.wait_for("app hello");
    let victim = rkt_tests::run(Command::new("pgrep").args(["-f", "^attach --appname=app"])).success();
    let mine: Vec<&str> = victim
        .stdout
        .lines()
        .filter(|pid| {
            let cwd = std::fs::read_link(format!("/proc/{pid}/cwd"));
            cwd.is_ok_and(|cwd| cwd == pod.dir().canonicalize().unwrap())
        })
        .collect();
    // The process and its keeper, which has the same name: the first is the older one.
    rkt_tests::run(Command::new("kill").args(["-KILL", mine[0]])).success();
    terminal.wait_for("ended 137");
    terminal.wait_for("done");
    let read = |name: &str| std::fs::read_to_string(rkt.files().join(name)).unwrap();
    assert_eq!(read("before"), read("after"));
    rkt.rkt(["stop", pod.uuid()]).success();
    terminal.wait();
    pod.wait();
}

#[test]
fn much_binary_data_goes_both_ways_unharmed() {
    let rkt = Rkt::new();
    let pod = start(&rkt, "exec cat", &all("stream"));
    let mut attached = Attached::to(&rkt, &[pod.uuid(), "--close-stdin"]);
    let data: Vec<u8> =
        (0..40_000_000_u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u8).collect();
    let mut stdin = attached.child.stdin.take().unwrap();
    let sent = data.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&sent).unwrap());
    let mut back = Vec::new();
    attached.child.stdout.as_mut().unwrap().read_to_end(&mut back).unwrap();
    writer.join().unwrap();
    assert!(back == data, "{} bytes of {} came back", back.len(), data.len());
    pod.wait().success();
}

#[test]
fn case_38_one_who_does_not_read_holds_up_nothing_but_that_app() {
    let rkt = Rkt::new();
    let image = rkt.image("flood", |image| image.sh("while :; do seq 1 100000; done"));
    let other = rkt.image("other", |image| image.sh("while :; do echo alive; sleep 0.1; done"));
    let pod = rkt.start(args![&image, "--stdout=stream", &other]);
    wait_until("the socket", || pod.dir().join("attach").exists());
    let attached = Attached::to(&rkt, &[pod.uuid(), "--app=flood"]);
    let lines = || pod.stdout_so_far().lines().count();
    std::thread::sleep(Duration::from_secs(1));
    let before = lines();
    wait_until("the other app's words", || lines() > before + 5);
    rkt.rkt(["stop", pod.uuid()]).success();
    drop(attached);
    pod.wait();
}

#[test]
fn where_nobody_is_attached_the_app_goes_on() {
    let rkt = Rkt::new();
    let image = rkt.image("flood", |image| image.sh("seq 1 500000; seq 1 500000 >&2; exit 7"));
    rkt.run_pod(args![&image, "--stdout=stream", "--stderr=tty"]).exits(7).stdout_is("");
}

#[test]
fn an_app_that_is_started_again_can_be_attached_again() {
    let rkt = Rkt::new();
    let image = rkt.image("late", |image| image.sh(ECHO));
    let id = rkt.rkt(args!["fetch", &image]).success().stdout.trim().to_owned();
    let pod = rkt.start_command(&["app", "sandbox"], &[]);
    wait_until("the pod", || pod.read("runtime-config").is_some() && pod.dir().join("control").exists());
    rkt.rkt(["app", "add", pod.uuid(), &id, "--stdin=stream", "--stdout=stream"]).success();
    for word in ["one", "two"] {
        rkt.rkt(["app", "start", pod.uuid(), "--app=late"]).success();
        let mut attached = Attached::to(&rkt, &[pod.uuid(), "--close-stdin"]);
        attached.write(&format!("{word}\n"));
        attached.reads(&format!("got {word}\n"));
        let (status, out, _) = attached.end();
        assert_eq!((status, out.as_str()), (0, "end\n"));
        wait_until("the app's end", || {
            rkt.rkt(["app", "list", pod.uuid()]).success().stdout.contains("exited")
        });
    }
    rkt.rkt(["stop", pod.uuid()]).success();
    pod.wait();
}

#[test]
fn the_list_names_what_there_is() {
    let rkt = Rkt::new();
    let pod = start(&rkt, "sleep 1000", &["--stdin=stream".into(), "--stdout=stream".into()]);
    let list = rkt.rkt(["attach", "--mode=list", pod.uuid()]).success().json();
    let address = pod.dir().join("attach");
    let target = |name: &str| json!({"name": name, "domain": "unix", "address": address.to_str().unwrap()});
    assert_eq!(list, json!({"version": 1, "targets": [target("stdin"), target("stdout")]}));
    rkt.rkt(["stop", pod.uuid()]).success();
    pod.wait();
}

#[test]
fn what_cannot_be_attached_is_refused_with_the_reason() {
    let rkt = Rkt::new();
    let plain = rkt.image("plain", |image| image.sh("sleep 1000"));
    let pod = rkt.start(args![&plain]);
    pod.process("sleep 1000");
    rkt.rkt(["attach", pod.uuid()])
        .exits(254)
        .stderr_has("was started without --stdin, --stdout or --stderr");
    rkt.rkt(["attach", "--mode=stdio", pod.uuid()]).exits(254).stderr_has("\"stdio\" is none of auto, list");
    rkt.rkt(["attach", "--mode=tty,stdout", pod.uuid()]).exits(254).stderr_has("incompatible endpoints");
    rkt.rkt(["attach", "--app=other", pod.uuid()]).exits(254).stderr_has("has no app \"other\"");
    rkt.rkt(["stop", pod.uuid()]).success();
    let uuid = pod.uuid().to_owned();
    pod.wait();
    rkt.rkt(["attach", &uuid]).exits(254).stderr_has("is not running (it is exited)");
    rkt.rkt(["gc", "--grace-period=0s"]).success();
    let pod = start(&rkt, "sleep 1000", &["--stdout=stream".into()]);
    rkt.rkt(["attach", "--mode=stderr", pod.uuid()])
        .exits(254)
        .stderr_has("has no stderr to attach to (it has: stdout)");
    rkt.rkt(["stop", pod.uuid()]).success();
    pod.wait();
}
