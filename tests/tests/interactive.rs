//! An app on the user's terminal, and one without.

use rkt_tests::{Rkt, Terminal, args, wait_until};

#[test]
fn the_only_app_gets_the_terminal() {
    let rkt = Rkt::new();
    let image = rkt.image("shell", |image| image.exec(&["/bin/sh"]));
    let command = rkt.command(rkt.run_args(args!["--interactive", &image]));
    let mut terminal = Terminal::start(&command);
    terminal.write("tty; stty size; echo sum $((40+2))\n");
    terminal.wait_for("sum 42");
    terminal.wait_for("24 80");
    assert!(terminal.text().contains("/dev/"), "{}", terminal.text());
    terminal.resize(40, 120);
    terminal.write("sleep 0.3; stty size\n");
    terminal.wait_for("40 120");
    terminal.write("exit 6\n");
    assert_eq!(terminal.wait(), 6);
}

#[test]
fn control_c_reaches_the_app_and_not_rkt() {
    let rkt = Rkt::new();
    let image = rkt.image("shell", |image| image.exec(&["/bin/sh"]));
    let command = rkt.command(rkt.run_args(args!["--interactive", &image]));
    let mut terminal = Terminal::start(&command);
    terminal.write("echo rea''dy; sleep 1000\n");
    terminal.wait_for("ready");
    std::thread::sleep(std::time::Duration::from_millis(300));
    terminal.write("\u{3}");
    terminal.write("echo st''ill here; exit 0\n");
    terminal.wait_for("still here");
    assert_eq!(terminal.wait(), 0);
}

#[test]
fn only_one_app_can_have_it() {
    let rkt = Rkt::new();
    let image = rkt.image("shell", |image| image);
    rkt.run_pod(args!["--interactive", &image, "--name=a", &image, "--name=b"])
        .exits(254)
        .stderr_has("interactive");
}

#[test]
fn without_it_stdin_is_empty_and_no_terminal() {
    let rkt = Rkt::new();
    let image = rkt.image("stdin", |image| image.sh("test -t 0 || echo no terminal; wc -c"));
    let command = rkt.command(rkt.run_args(args![&image]));
    let terminal = Terminal::start(&command);
    terminal.wait_for("no terminal");
    terminal.wait_for("0");
    assert_eq!(terminal.wait(), 0);
}

/// A pod on a terminal, and its UUID.
fn on_terminal(rkt: &Rkt, words: &[std::ffi::OsString]) -> (Terminal, String) {
    let terminal = Terminal::start_unread(&rkt.command(rkt.run_args(words)));
    wait_until("the pod", || !rkt.pods_on_disk().is_empty());
    let uuid = rkt.only_pod();
    wait_until("the app", || rkt.rkt(["ps", &uuid]).stdout.contains("sleep 1000"));
    (terminal, uuid)
}

#[test]
fn case_39_a_pod_ends_with_the_terminal_that_is_its_own() {
    let rkt = Rkt::new();
    let image = rkt.image("stays", |image| image.sh("exec sleep 1000"));
    let (mut terminal, uuid) = on_terminal(&rkt, &args!["--interactive", &image]);
    terminal.hang_up();
    assert_eq!(terminal.wait(), 0);
    rkt.rkt(["status", &uuid]).success().stdout_has("state=exited");
}

#[test]
fn case_39_a_pod_goes_on_without_the_terminal_that_it_was_started_from() {
    let rkt = Rkt::new();
    let image = rkt.image("stays", |image| image.sh("while sleep 0.1; do echo tick; done & exec sleep 1000"));
    let (mut terminal, uuid) = on_terminal(&rkt, &args![&image]);
    terminal.hang_up();
    std::thread::sleep(std::time::Duration::from_secs(1));
    rkt.rkt(["status", &uuid]).success().stdout_has("state=running");
    assert!(rkt.rkt(["ps", &uuid]).stdout.contains("sleep 1000"), "no signal has reached the app");
    rkt.rkt(["stop", &uuid]).success();
    assert_eq!(terminal.wait(), 0);
}
