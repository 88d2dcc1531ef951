//! An app on the user's terminal, and one without.

use rkt_tests::{Rkt, Terminal, args};

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
