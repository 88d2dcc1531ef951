//! Where what apps print goes: the terminal, the journal, log files.

use std::process::Command;

use rkt_tests::{Launcher, Rkt, args, run, wait_until};

#[test]
fn one_app_is_passed_through_byte_by_byte() {
    let rkt = Rkt::new();
    let image = rkt.image("raw", |image| image.sh("printf 'no newline'; printf 'to err\\n' >&2"));
    let end = rkt.run_pod(args![&image]).success().stdout_is("no newline");
    assert_eq!(end.stderr, "to err\n");
}

#[test]
fn much_output_arrives_whole() {
    let rkt = Rkt::new();
    let image = rkt.image("much", |image| image.sh("seq 1 200000"));
    let end = rkt.run_pod(args![&image]).success();
    let expected: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    assert!(end.stdout == expected, "{} bytes instead of {}", end.stdout.len(), expected.len());
}

#[test]
fn lines_of_several_apps_carry_their_names() {
    let rkt = Rkt::new();
    let image = rkt.image("lines", |image| image.exec(&["/bin/sh"]));
    let end = rkt
        .run_pod(args![
            &image,
            "--name=a",
            "--",
            "-c",
            "printf 'one\\ntwo\\nunfinished'; echo err >&2",
            "---",
            &image,
            "--name=b",
            "--",
            "-c",
            "echo three"
        ])
        .success();
    let mut lines = end.lines();
    lines.sort_unstable();
    assert_eq!(lines, ["a: one", "a: two", "a: unfinished", "b: three"]);
    assert_eq!(end.stderr, "a: err\n");
}

// APPC-239
#[test]
fn rkt_logs_shows_what_apps_printed() {
    let rkt = Rkt::new();
    let image = rkt.image("lines", |image| image.exec(&["/bin/sh"]));
    let pod = rkt.start(args![
        &image,
        "--name=a",
        "--",
        "-c",
        "echo from a; echo problem >&2",
        "---",
        &image,
        "--name=b",
        "--",
        "-c",
        "echo from b"
    ]);
    let uuid = pod.uuid().to_owned();
    pod.wait().success();
    wait_until("the lines in the log", || {
        let all = rkt.rkt(["logs", &uuid]).success();
        ["from a", "problem", "from b"].iter().all(|line| all.stdout.contains(line))
    });
    rkt.rkt(["logs", "--app=b", &uuid]).success().stdout_has("from b").stdout_lacks("from a");
    rkt.rkt(["logs", "--app=nobody", &uuid]).refused(&["nobody"]);
}

#[test]
fn rkt_logs_shows_the_last_lines_alone() {
    let rkt = Rkt::new();
    let image = rkt.image("lines", |image| image.sh("seq 11 20"));
    rkt.run_pod(args![&image]).success();
    let uuid = rkt.only_pod();
    wait_until("the last line in the log", || rkt.rkt(["logs", &uuid]).success().stdout.contains("20"));
    rkt.rkt(["logs", "-n", "2", &uuid]).success().stdout_is("19\n20\n");
    rkt.rkt(["logs", "--lines=0", &uuid]).success().stdout_is("");
    let all = rkt.rkt(["logs", &uuid]).success().stdout;
    rkt.rkt(["logs", "--lines=99", &uuid]).success().stdout_is(&all);
    rkt.rkt(["logs", "--lines=some", &uuid]).refused(&["--lines", "some"]);
}

#[test]
fn rkt_logs_shows_what_was_written_in_a_time_and_when() {
    let rkt = Rkt::new();
    let image =
        rkt.image("times", |image| image.sh("echo early; sleep 0.3; echo mark; sleep 0.3; echo late"));
    rkt.run_pod(args![&image]).success();
    let uuid = rkt.only_pod();
    wait_until("the last line in the log", || rkt.rkt(["logs", &uuid]).success().stdout.contains("late"));
    let with_times = rkt.rkt(["logs", "-t", &uuid]).success();
    let mark = with_times.lines().into_iter().find_map(|line| line.strip_suffix(" mark")).expect("a time");
    let [since, until] = ["since", "until"].map(|option| format!("--{option}={mark}"));
    rkt.rkt(["logs", &since, &uuid]).success().stdout_is("mark\nlate\n");
    rkt.rkt(["logs", &until, &uuid]).success().stdout_is("early\nmark\n");
    rkt.rkt(["logs", &since, &until, &uuid]).success().stdout_is("mark\n");
    rkt.rkt(["logs", "--since=1h", "-n1", &uuid]).success().stdout_is("late\n");
    rkt.rkt(["logs", "--until=@1", &uuid]).success().stdout_is("");
    rkt.rkt(["logs", "--since=2001-02-03", "--timestamps", &uuid]).success().stdout_is(&with_times.stdout);
    rkt.rkt(["logs", "--since=yesterday", &uuid]).refused(&["--since", "yesterday", "no moment"]);
    rkt.rkt(["logs", "-f", &until, &uuid]).refused(&["--until"]);
    rkt.rkt(["logs", "-f", &since, "-n1", &uuid]).refused(&["--follow", "--lines"]);
}

#[test]
fn rkt_logs_follows_until_the_pod_ends() {
    let rkt = Rkt::new();
    let image = rkt.image("slow", |image| image.sh("for i in 1 2 3 4; do echo line $i; sleep 0.5; done"));
    let mut pod = rkt.start(args![&image]);
    pod.wait_for("line 1");
    let uuid = pod.uuid().to_owned();
    rkt.rkt(["logs", "-f", &uuid]).success().stdout_has("line 1").stdout_has("line 4");
    pod.wait().success();
}

// APPC-239
#[test]
fn files_are_in_the_cri_log_format_where_there_is_no_journal() {
    let rkt = Rkt::new();
    if rkt.launcher() == Launcher::Systemd {
        return;
    }
    let image = rkt.image("lines", |image| image.sh("echo out; echo err >&2"));
    rkt.run_pod(args![&image]).success();
    let dir = rkt.pod_dir(&rkt.only_pod());
    let log = std::fs::read_to_string(dir.join("logs/lines.log")).unwrap();
    let mut lines: Vec<Vec<&str>> = log.lines().map(|line| line.splitn(4, ' ').collect()).collect();
    lines.sort_by_key(|fields| fields[1]);
    assert_eq!(
        lines.iter().map(|fields| &fields[1..]).collect::<Vec<_>>(),
        [["stderr", "F", "err"], ["stdout", "F", "out"]]
    );
    assert!(lines.iter().all(|fields| fields[0].contains('T') && fields[0].len() >= 20), "{log}");
}

// APPC-239
#[test]
fn the_journal_finds_lines_by_pod_and_app() {
    let rkt = Rkt::new();
    if rkt.launcher() == Launcher::Direct {
        return;
    }
    let image = rkt.image("lines", |image| image.exec(&["/bin/echo"]));
    let pod = rkt.start(args![&image, "--name=a", "--", "from a", "---", &image, "--name=b", "--", "from b"]);
    let uuid = pod.uuid().to_owned();
    pod.wait().success();
    let journal = |matches: &[&str]| {
        run(Command::new("journalctl").args(["--no-pager", "--output=json"]).args(matches)).success()
    };
    let pod_field = format!("RKT_POD_UUID={uuid}");
    wait_until("both lines in the journal", || {
        let all = journal(&[&pod_field]);
        all.stdout.contains("from a") && all.stdout.contains("from b")
    });
    let only_a = journal(&[&pod_field, "RKT_APP_NAME=a"]).stdout_lacks("from b");
    let line = only_a.lines().into_iter().find(|line| line.contains("from a")).unwrap().to_owned();
    let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(entry["SYSLOG_IDENTIFIER"], "a");
    assert_eq!(entry["MESSAGE"], "from a");
    assert_eq!(entry["RKT_APP_NAME"], "a");
    journal(&["-u", &format!("rkt-{uuid}-b.service")]).stdout_has("from b").stdout_lacks("from a");
}

#[test]
fn a_reader_that_goes_away_does_not_end_the_pod() {
    let rkt = Rkt::new();
    let image =
        rkt.image("chatty", |image| image.sh("for i in $(seq 2000); do echo line $i; done; echo done >&2"));
    let mut rkt_run = rkt.command(rkt.run_args(args![&image]));
    let mut child =
        rkt_run.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let end = child.wait_with_output().unwrap();
    assert!(end.status.success(), "{end:?}");
    assert!(String::from_utf8_lossy(&end.stderr).contains("done"), "{end:?}");
}
