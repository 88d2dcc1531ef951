//! Readers that stay and do not read: who waits for them, and who does not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::Read,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use rkt_tests::{Outcome, Rkt, Terminal, args, wait_until};

/// A pod whose stdout nobody reads.
struct Unread<'a> {
    rkt: &'a Rkt,
    child: Child,
    uuid: String,
}

impl<'a> Unread<'a> {
    fn start(rkt: &'a Rkt, words: impl IntoIterator<Item = std::ffi::OsString>) -> Unread<'a> {
        let mut command = rkt.command(rkt.run_args(words));
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_until("the pod", || !rkt.pods_on_disk().is_empty());
        Unread { rkt, child, uuid: rkt.only_pod() }
    }

    fn log(&self) -> Outcome {
        self.rkt.rkt(["logs", &self.uuid])
    }

    /// Waits until the app has written what the pipes hold, and hangs.
    fn wait_until_stuck(&self, app: &str) {
        // Pipes hold 64 KiB, and only 4 where the user has many.
        let (mut before, mut same) = (0, 0);
        wait_until("an app that waits for its reader", || {
            std::thread::sleep(Duration::from_millis(200));
            let length = self.rkt.rkt(["logs", "--app", app, &self.uuid]).stdout.len();
            same = if length == before && length >= 4 << 10 { same + 1 } else { 0 };
            before = length;
            same == 3
        });
    }

    /// Waits for the end without reading what is on stdout.
    fn end(mut self) -> (i32, Vec<u8>) {
        let mut status = None;
        wait_until("the end of rkt run", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let mut rest = Vec::new();
        self.child.stdout.take().unwrap().read_to_end(&mut rest).unwrap();
        (status.unwrap().code().unwrap_or(-1), rest)
    }
}

impl Drop for Unread<'_> {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

const FLOOD: &str = "seq 1 300000; echo all written >&2";

#[test]
fn case_38_a_reader_that_stops_reading_does_not_keep_the_pod_from_stopping() {
    let rkt = Rkt::new();
    let image = rkt.image("flood", |image| image.sh("while :; do seq 1 100000; done"));
    let pod = Unread::start(&rkt, args![&image]);
    pod.wait_until_stuck("flood");
    let start = Instant::now();
    rkt.rkt(["stop", &pod.uuid]).success();
    let (status, read) = pod.end();
    assert_eq!(status, 0);
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    // What was passed on is the beginning of what was written, without a hole.
    let numbers = String::from_utf8(read).unwrap();
    let whole = numbers.rsplit_once('\n').unwrap().0;
    assert!(whole.lines().enumerate().all(|(index, line)| line == (index + 1).to_string()), "{whole}");
}

#[test]
fn case_38_another_app_still_logs_while_a_reader_does_not_read() {
    let rkt = Rkt::new();
    let image = rkt.image("app", |image| image.exec(&["/bin/sh"]));
    let other = "while :; do echo tick >&2; sleep 0.1; done";
    let pod = Unread::start(
        &rkt,
        args![&image, "--name=flood", "--", "-c", FLOOD, "---", &image, "--name=other", "--", "-c", other],
    );
    pod.wait_until_stuck("flood");
    let ticks = || pod.log().stdout.matches("other: tick").count();
    let before = ticks();
    wait_until("more of the other app", || ticks() > before + 5);
    rkt.rkt(["stop", &pod.uuid]).success();
    assert_eq!(pod.end().0, 0);
}

#[test]
fn case_38_nothing_is_lost_where_a_reader_comes_late() {
    let rkt = Rkt::new();
    let image = rkt.image("flood", |image| image.sh(FLOOD));
    let mut pod = Unread::start(&rkt, args![&image]);
    pod.wait_until_stuck("flood");
    let mut all = String::new();
    pod.child.stdout.as_mut().unwrap().read_to_string(&mut all).unwrap();
    let expected: String = (1..=300_000).map(|n| format!("{n}\n")).collect();
    assert!(all == expected, "{} bytes instead of {}", all.len(), expected.len());
    assert!(pod.child.wait().unwrap().success());
    wait_until("all of it in the log", || pod.log().stdout.contains("\n300000\n"));
}

#[test]
fn case_38_what_an_ended_app_wrote_waits_for_its_reader_unless_somebody_asks_for_the_end() {
    let rkt = Rkt::new();
    let image = rkt.image("last", |image| image.sh("head -c 100000 /dev/zero; exit 3"));
    for stops in [false, true] {
        let mut pod = Unread::start(&rkt, args![&image]);
        wait_until("the app's end", || rkt.pod_dir(&pod.uuid).join("stage1/rootfs/rkt/status/last").exists());
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(pod.child.try_wait().unwrap(), None, "its output is not read yet");
        if stops {
            rkt.rkt(["stop", &pod.uuid]).success();
            let (status, read) = pod.end();
            assert_eq!((status, read.len()), (3, 64 << 10));
        } else {
            let mut all = Vec::new();
            pod.child.stdout.as_mut().unwrap().read_to_end(&mut all).unwrap();
            assert_eq!(all.len(), 100_000);
            assert_eq!(pod.child.wait().unwrap().code(), Some(3));
        }
        rkt.collect();
    }
}

#[test]
fn case_39_a_second_signal_kills_though_nobody_reads_a_word() {
    let rkt = Rkt::new();
    let image =
        rkt.image("deaf", |image| image.sh("trap '' TERM; while :; do seq 1 100000 | tee /dev/stderr; done"));
    let pod = Unread::start(&rkt, args![&image]);
    pod.wait_until_stuck("deaf");
    let start = Instant::now();
    rkt.rkt(["stop", &pod.uuid]).success();
    std::thread::sleep(Duration::from_millis(300));
    rkt.rkt(["stop", &pod.uuid]).success();
    pod.end();
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[test]
fn case_38_a_terminal_that_takes_nothing_does_not_keep_the_pod_from_stopping() {
    let rkt = Rkt::new();
    let image = rkt.image("shell", |image| image.sh("while :; do seq 1 100000; done"));
    let command = rkt.command(rkt.run_args(args!["--interactive", &image]));
    let terminal = Terminal::start_unread(&command);
    wait_until("the pod", || !rkt.pods_on_disk().is_empty());
    let uuid = rkt.only_pod();
    wait_until("the app", || rkt.rkt(["ps", &uuid]).stdout.contains("seq"));
    std::thread::sleep(Duration::from_millis(500));
    rkt.rkt(["stop", &uuid]).success();
    assert_eq!(terminal.wait(), 0);
}
