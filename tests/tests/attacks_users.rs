//! Attacks by changing who one is, and on what belongs to the user outside: terminal, sockets, keys.

use std::{
    fs,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    process::Command,
};

use rkt_tests::{Rkt, Terminal, args, attack, run};
use serde_json::json;

fn attacker() -> &'static str {
    env!("CARGO_BIN_EXE_attacker")
}

#[test]
fn setuid_programs_gain_nothing_with_no_new_privileges() {
    let rkt = Rkt::new();
    let describe = |value: bool| {
        move |image: rkt_tests::Image| {
            let program = fs::read(attacker()).unwrap();
            image
                .file("bin/setuid", program.clone(), 0o4755)
                .file("bin/setgid", program, 0o2755)
                .user("alice", "wonder")
                .sh("setuid whoami; setgid whoami")
                .with("isolators", json!([{"name": "os/linux/no-new-privileges", "value": value}]))
        }
    };
    let with = attack::image(&rkt, "with", attacker(), describe(true));
    let end = rkt.run_pod(args![&with]).success();
    for line in end.lines() {
        let is_alices = match line.split_once(":\t") {
            Some(("Uid", ids)) => ids == "1000\t1000\t1000\t1000",
            Some(("Gid", ids)) => ids == "1001\t1001\t1001\t1001",
            Some(("CapEff" | "CapPrm", set)) => set == "0000000000000000",
            Some(("NoNewPrivs", bit)) => bit == "1",
            _ => true,
        };
        assert!(is_alices, "{line}\n{end:?}");
    }
    // Without it they are root, with no more than root has in the app.
    let without = attack::image(&rkt, "without", attacker(), describe(false));
    let end = rkt.run_pod(args![&without]).success().stdout_has("Uid:\t1000\t0\t0\t0");
    let of =
        |name: &str| end.lines().into_iter().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
    assert_eq!(of("CapEff:\t"), of("CapBnd:\t"));
    // So it is for what enters an app.
    let waits = attack::image(&rkt, "waits", attacker(), |image| {
        describe(true)(image).sh("echo up; exec sleep 1000")
    });
    let mut pod = rkt.start(args![&waits]);
    pod.wait_for("up");
    rkt.rkt(args!["enter", pod.uuid(), "/bin/setuid", "whoami"]).success().stdout_has("NoNewPrivs:\t1");
}

#[test]
fn case_22_groups_that_keep_one_out_cannot_be_given_up() {
    let rkt = Rkt::new();
    let image = attack::image(&rkt, "groups", attacker(), |image| {
        image
            // All may read it but the members of this group.
            .file("secret", "sesame", 0o604)
            .owned_by(0, 50)
            .user("alice", "wonder")
            .with("supplementaryGIDs", json!([50]))
            .exec(&[attack::ATTACKER, "users", "/secret"])
    });
    let mut all = args!["--insecure-options=image,seccomp"].to_vec();
    all.extend(rkt.run_args(args![&image]));
    attack::all_failed(&rkt.rkt(all).success(), &[]);
    attack::all_failed(&rkt.run_pod(args![&image]).success().stdout_has("namespace made: false"), &[]);
}

/// What a shell on the user's terminal reads after `command` has ended.
fn typed_after(command: &Command, words: &[&str]) -> String {
    let quoted: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy().replace('\'', "'\\''")))
        .collect();
    let script = format!("{}; read -r -t 1 line; echo \"after[$line]\"", quoted.join(" "));
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).args(words);
    let terminal = Terminal::start(&shell);
    terminal.wait_for("after[");
    terminal.wait_for("]");
    let text = terminal.text();
    assert_eq!(terminal.wait(), 0, "{text}");
    text
}

#[test]
fn nothing_can_be_typed_into_the_users_terminal() {
    let rkt = Rkt::new();
    let image = attack::image(&rkt, "types", attacker(), |image| image.exec(&[attack::ATTACKER, "type"]));
    let waits = attack::image(&rkt, "waits", attacker(), |image| image.sh("echo up; exec sleep 1000"));
    let mut pod = rkt.start(args![&waits]);
    pod.wait_for("up");
    let mut unfiltered = args!["--insecure-options=image,seccomp"].to_vec();
    unfiltered.extend(rkt.run_args(args!["--interactive", &image]));
    for command in [
        rkt.command(rkt.run_args(args![&image])),
        rkt.command(rkt.run_args(args!["--interactive", &image])),
        rkt.command(unfiltered),
        rkt.command(args!["enter", pod.uuid(), attack::ATTACKER, "type"]),
    ] {
        let text = typed_after(&command, &[]);
        assert!(text.contains("after[]"), "{command:?}\n{text}");
        assert!(text.contains("type into 0"), "the attack was none: {command:?}\n{text}");
    }
}

#[test]
fn abstract_sockets_of_the_host_are_out_of_reach() {
    let rkt = Rkt::new();
    let name = format!("rkt-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    let image = attack::image(&rkt, "abstract", attacker(), |image| {
        image.exec(&[attack::ATTACKER, "abstract", &name])
    });
    rkt.run_pod(args![&image]).success().stdout_is("connect: errno 111\n");
    drop(listener);
}

#[test]
fn keys_of_the_user_outside_cannot_be_taken() {
    let rkt = Rkt::new();
    let name = format!("rkt-test-{}", std::process::id());
    let serial = rkt.files().join("serial");
    // The same attack outside, to see that it is one.
    let plant = |command: &Command| {
        let mut planted = Command::new(attacker());
        planted.args(["plant", &name]).arg(&serial).arg(command.get_program()).args(command.get_args());
        planted
    };
    run(&mut plant(&Command::new("/bin/true"))).success();
    if fs::read_to_string(&serial).unwrap().is_empty() {
        eprintln!("passed over: this machine lets nobody have keys");
        return;
    }
    let mut outside = Command::new("sh");
    outside.args(["-c", &format!("exec '{}' keys {name} $(cat '{}')", attacker(), serial.display())]);
    run(&mut plant(&outside)).success().stdout_has("search: OK").stdout_has("read: OK");
    let image = attack::image(&rkt, "keys", attacker(), |image| {
        image.sh("attacker keys $(cat /files/name) $(cat /files/serial)")
    });
    rkt.file("name", &name);
    let volume = format!("--volume=files,kind=host,source={}", rkt.files().display());
    let words = args![&volume, &image, "--mount=volume=files,target=/files"];
    let mut unfiltered = args!["--insecure-options=image,seccomp"].to_vec();
    unfiltered.extend(rkt.run_args(words.clone()));
    for command in [rkt.command(rkt.run_args(words.clone())), rkt.command(unfiltered)] {
        attack::all_failed(&run(&mut plant(&command)).success(), &[]);
    }
    // Nor by what enters.
    let waits = attack::image(&rkt, "waits", attacker(), |image| image.sh("echo up; exec sleep 1000"));
    let mut pod = rkt.start(args![&volume, &waits, "--mount=volume=files,target=/files"]);
    pod.wait_for("up");
    let script = "attacker keys $(cat /files/name) $(cat /files/serial)";
    let command = rkt.command(args!["enter", pod.uuid(), "/bin/sh", "-c", script]);
    attack::all_failed(&run(&mut plant(&command)).success(), &[]);
}
