//! Users, working directories, and commands that are found or not.

use std::os::unix::fs::{PermissionsExt, chown};

use crate::support::{Pod, Root, is_root, spec};

const PASSWD: &str = "root:x:0:0::/:/bin/sh\nbroken line\nweb:x:1234:99::/:/bin/sh\n77:x:78:78::/:/bin/sh\n";
const GROUP: &str = "root:x:0:\nweb:x:4321:\n";

/// User, group, and the ids that they are, or why they are not.
const IDENTITIES: [(&str, &str, Result<&str, &str>); 10] = [
    ("root", "root", Ok("0 0")),
    ("web", "web", Ok("1234 4321")),
    ("1000", "1001", Ok("1000 1001")),
    ("77", "5", Ok("78 5")),
    ("/srv/file", "/srv/file", Ok("55 66")),
    ("nobody", "0", Err("look up user \"nobody\": not in the image's /etc/passwd")),
    ("0", "nogroup", Err("look up group \"nogroup\": not in the image's /etc/group")),
    ("-1", "0", Err("look up user \"-1\": not in the image's /etc/passwd")),
    ("4294967295", "0", Err("look up user \"4294967295\": not in the image's /etc/passwd")),
    ("/srv/none", "0", Err("look up user \"/srv/none\": No such file or directory")),
];

fn image() -> Root {
    let root = Root::busybox();
    root.file("etc/passwd", PASSWD);
    root.file("etc/group", GROUP);
    root.file("srv/file", "");
    chown(root.path("srv/file"), Some(55), Some(66)).unwrap();
    root
}

// APPC-109, APPC-110
#[test]
fn users_and_groups_are_the_images() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    for (user, group, want) in IDENTITIES {
        let mut spec = spec("echo $(id -u) $(id -g)");
        spec.user = user.to_owned();
        spec.group = group.to_owned();
        let outcome = pod.run(&image(), &spec);
        match want {
            Ok(ids) => assert_eq!(outcome.success().trim(), ids, "{user} {group}"),
            Err(reason) => assert_eq!(outcome.refusal(), reason, "{user} {group}"),
        }
    }
}

// APPC-111
#[test]
fn a_user_that_is_not_root_holds_nothing() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let mut spec = spec(
        "id -G; grep -E '^(Cap(Inh|Prm|Eff|Amb|Bnd)|NoNewPrivs|Seccomp):' /proc/self/status | cut -f2; \
         echo out >/dev/stdout",
    );
    spec.user = "1000".to_owned();
    spec.group = "1000".to_owned();
    spec.supplementary_gids = vec![10, 20];
    let none = "0000000000000000\n";
    let want = format!("1000 10 20\n{none}{none}{none}00000000a80425fb\n{none}0\n2\nout\n");
    assert_eq!(pod.run(&image(), &spec).success(), want);
}

#[test]
fn the_group_of_a_docker_image_may_be_its_users() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let mut spec = spec("id -g");
    spec.user = "77".to_owned();
    spec.group = "nogroup".to_owned();
    spec.group_falls_back_to_user = true;
    assert_eq!(pod.run(&image(), &spec).success(), "78\n");
}

// APPC-115, APPC-245
#[test]
fn the_working_directory_is_entered_as_the_app() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let image = || {
        let root = image();
        root.directory("srv/private");
        std::fs::set_permissions(root.path("srv/private"), std::fs::Permissions::from_mode(0o700)).unwrap();
        root
    };
    let mut spec = spec("pwd");
    spec.working_directory = "/srv".to_owned();
    assert_eq!(pod.run(&image(), &spec).success(), "/srv\n");
    for (user, path, reason) in [
        ("0", "/none", "No such file or directory"),
        ("0", "/etc/passwd", "Not a directory"),
        ("1000", "/srv/private", "Permission denied"),
    ] {
        spec.user = user.to_owned();
        spec.working_directory = path.to_owned();
        let outcome = pod.run(&image(), &spec);
        assert_eq!(outcome.refusal(), format!("change to working directory {path}: {reason}"));
        assert_eq!(outcome.status, 200);
    }
}

/// Command, and how it fails.
const COMMANDS: [(&str, &str); 10] = [
    ("/none", "exec /none: No such file or directory"),
    ("none", "exec none: not found in PATH (/opt/bin:/bin)"),
    ("", "exec the command: it is empty (try --exec=BINARY)"),
    ("/srv/text", "exec /srv/text: Permission denied (the file is not executable)"),
    ("/srv", "exec /srv: Permission denied (it is a directory)"),
    ("/srv/script", "exec /srv/script: its interpreter \"/usr/bin/perl\" does not exist in the image"),
    ("/srv/dynamic", "exec /srv/dynamic: its loader \"/lib/ld-none.so\" does not exist in the image"),
    ("script", "exec /opt/bin/script: its interpreter \"/nowhere/sh\" does not exist in the image"),
    ("/srv/dangling", "exec /srv/dangling: No such file or directory (it is a link to nothing)"),
    (
        "/srv/prose",
        "exec /srv/prose: Exec format error (neither a program for this machine nor a script with #!)",
    ),
];

/// The head of a 64-bit ELF program with a loader.
fn program(machine: u16, loader: &str) -> Vec<u8> {
    let mut head = vec![0; 120];
    head[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    head[16] = 2;
    head[18..20].copy_from_slice(&machine.to_le_bytes());
    head[20] = 1;
    head[32] = 64;
    head[52] = 64;
    head[54] = 56;
    head[56] = 1;
    head[64] = 3;
    head[72] = 120;
    head[96] = u8::try_from(loader.len() + 1).unwrap();
    head.extend_from_slice(loader.as_bytes());
    head.push(0);
    head
}

#[test]
fn a_command_that_cannot_be_executed_is_explained() {
    if !is_root() {
        return;
    }
    let (own, other) = if std::env::consts::ARCH == "x86_64" { (62, 183) } else { (183, 62) };
    let pod = Pod::start();
    let image = || {
        let root = image();
        root.file("srv/text", "x");
        root.program("srv/prose", "hello");
        root.program("srv/script", "#!/usr/bin/perl -w\n");
        root.program("opt/bin/script", "#!/nowhere/sh\n");
        root.program("srv/dynamic", program(own, "/lib/ld-none.so"));
        root.program("srv/foreign", program(other, "/lib/ld-none.so"));
        root.link("srv/dangling", "/none/at/all");
        root
    };
    let mut spec = spec("");
    spec.environment = vec!["PATH=/opt/bin:/bin".to_owned()];
    for (command, want) in COMMANDS {
        spec.exec = vec![command.to_owned()];
        let outcome = pod.run(&image(), &spec);
        assert_eq!(outcome.refusal(), want);
        assert_eq!(outcome.status, 203);
    }
    spec.exec = vec!["/srv/foreign".to_owned()];
    let refusal = pod.run(&image(), &spec).refusal();
    assert!(refusal.starts_with("exec /srv/foreign: is a program for "), "{refusal}");
}

// APPC-106
#[test]
fn commands_are_looked_up_as_the_specification_says() {
    if !is_root() {
        return;
    }
    let pod = Pod::start();
    let image = || {
        let root = image();
        root.program("opt/bin/tool", "#!/bin/sh\necho in path");
        root.program("srv/tool", "#!/bin/sh\necho in working directory");
        root
    };
    for (command, path, want) in [
        ("tool", "PATH=/none:/opt/bin", "in path\n"),
        ("tool", "X=", "in working directory\n"),
        ("./tool", "PATH=/opt/bin", "in working directory\n"),
        ("../opt/bin/tool", "PATH=", "in path\n"),
    ] {
        let mut spec = spec("");
        spec.working_directory = "/srv".to_owned();
        spec.environment = vec![path.to_owned()];
        spec.exec = vec![command.to_owned()];
        assert_eq!(pod.run(&image(), &spec).success(), want, "{command} {path}");
    }
}
