//! Which system calls an app may make: the default filter, and filters of its own, from image and command line.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use rkt_tests::{Outcome, Rkt, args};
use serde_json::json;

/// 128 + SIGSYS.
const KILLED: i32 = 128 + 31;

fn shell(rkt: &Rkt, script: &str, options: &[&str]) -> Outcome {
    let image = rkt.image("filtered", |image| image.sh(script));
    let mut arguments = vec![image.into_os_string()];
    arguments.extend(options.iter().map(std::ffi::OsString::from));
    rkt.run_pod(arguments)
}

// APPC-280, APPC-282
#[test]
fn calls_are_removed_with_an_error_or_kill() {
    let rkt = Rkt::new();
    let script = "mkdir /made; echo ended $?";
    let end = shell(&rkt, script, &["--seccomp=mode=remove,errno=EXDEV,mkdir,mkdirat"]).success();
    end.stdout_is("ended 1\n").stderr_has("link"); // "Invalid cross-device link"
    let script = "mkdir /made; echo \"ended $?\"";
    shell(&rkt, script, &["--seccomp=mode=remove,mkdir,mkdirat"])
        .success()
        .stdout_is(&format!("ended {KILLED}\n"));
    shell(&rkt, script, &["--seccomp=mode=remove,mount"]).success().stdout_is("ended 0\n");
    shell(&rkt, "exec mkdir /made", &["--seccomp=mode=remove,mkdir,mkdirat"]).exits(KILLED);
}

// APPC-281, APPC-285
#[test]
fn only_what_is_retained_can_be_called() {
    let rkt = Rkt::new();
    let script = "mkdir /made && echo made; echo ended";
    let sets = "@systemd/basic-io,@systemd/file-system,@systemd/process,@systemd/signal,ioctl,uname";
    let with = |more: &str| format!("--seccomp=mode=retain,errno=EPERM,{sets}{more}");
    shell(&rkt, script, &[&with("")]).success().stdout_is("made\nended\n");
    shell(&rkt, "chown 1:1 /bin || echo refused", &[&with("")]).success().stdout_is("refused\n");
    shell(&rkt, "chown 1:1 /bin && echo changed", &[&with(",@systemd/chown")])
        .success()
        .stdout_is("changed\n");
    // The machine that the tests run on may have a filter itself.
    let filters = |option: &str| -> u32 {
        let end = shell(&rkt, "grep Seccomp_filters: /proc/self/status", &[option]).success();
        end.stdout.split_whitespace().last().unwrap().parse().unwrap()
    };
    let none = filters("--seccomp=mode=retain,@appc.io/all");
    assert_eq!(filters("--seccomp=mode=remove,@appc.io/empty"), none + 1);
    let usual = "--seccomp=mode=retain,@docker/default-whitelist";
    shell(&rkt, script, &[usual]).success().stdout_is("made\nended\n");
}

// APPC-124, APPC-286
#[test]
fn the_images_isolator_counts_and_the_command_line_replaces_it() {
    let rkt = Rkt::new();
    let isolator = json!([
        {"name": "os/linux/seccomp-remove-set", "value": {"set": ["mkdir", "mkdirat"], "errno": "EPERM"}}
    ]);
    let handlers = json!([
        {"name": "pre-start", "exec": ["/bin/sh", "-c", "mkdir /early || echo early refused"]},
        {"name": "post-stop", "exec": ["/bin/sh", "-c", "mkdir /late || echo late refused"]},
    ]);
    let image = rkt.image("isolated", |image| {
        let image = image.sh("mkdir /made && echo made || echo refused").with("isolators", isolator);
        image.with("eventHandlers", handlers)
    });
    rkt.run_pod(args![&image]).success().stdout_is("early refused\nrefused\nlate refused\n");
    rkt.run_pod(args![&image, "--seccomp=mode=remove,mount"]).success().stdout_is("made\n");
    rkt.run_pod(args!["--insecure-options=image,seccomp", &image]).success().stdout_is("made\n");
}

#[test]
fn case_23_names_that_nothing_has_are_refused_before_anything_is_started() {
    let rkt = Rkt::new();
    let image = rkt.image("refused", |image| image.sh("echo ran"));
    for (filter, reason) in [
        ("mode=remove,frobnicate", "\"frobnicate\""),
        ("mode=retain,@rkt/mine", "\"@rkt/mine\""),
        ("mode=retain,errno=ENOTHING,read", "\"ENOTHING\""),
        ("mode=retain,errno=eperm,read", "errno"),
        ("mode=keep,read", "retain or remove"),
        ("read", "mode="),
        ("mode=retain", "empty"),
        ("mode=retain,mode=remove,read", "mode=remove"),
        ("mode=remove,execve", "execve"),
    ] {
        let end = rkt.run_pod(args![&image, format!("--seccomp={filter}")]).exits(254).stderr_has(reason);
        assert_eq!(end.stderr.lines().count(), 1, "{end:?}");
        end.stderr_has("--seccomp");
    }
    let unknown = json!([{"name": "os/linux/seccomp-remove-set", "value": {"set": ["frobnicate"]}}]);
    let image = rkt.image("unknown", |image| image.sh("echo ran").with("isolators", unknown));
    rkt.run_pod(args![&image]).exits(254).stderr_has("\"frobnicate\"");
    assert!(rkt.pods_on_disk().is_empty());
}

#[test]
fn case_23_a_filter_does_not_imply_no_new_privileges() {
    let rkt = Rkt::new();
    let script = "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status";
    for user in ["0", "1000"] {
        for filter in [&[][..], &["--seccomp=mode=remove,mount"]] {
            let mut options = vec!["--user", user, "--group", user];
            options.extend(filter);
            shell(&rkt, script, &options).success().stdout_is("NoNewPrivs:\t0\nSeccomp:\t2\n");
        }
    }
}

#[test]
fn a_command_that_is_missing_is_named_whatever_is_retained() {
    let rkt = Rkt::new();
    let image = rkt.image("missing", |image| image.exec(&["/bin/nothing"]));
    let filter = "--seccomp=mode=retain,@appc.io/empty";
    let end = rkt.run_pod(args![&image, filter]);
    assert_ne!(end.status, 0);
    end.stderr_has("/bin/nothing").stderr_has("No such file");
}

/// A static program for x86-64 whose code makes one call and leaves what it returned in eax: it exits with the error's
/// number. `PATH` in the code, four bytes, is where "/made" is.
#[cfg(target_arch = "x86_64")]
fn caller(rkt: &Rkt, name: &str, code: &[u8]) -> PathBuf {
    const BASE: u32 = 0x40_0000;
    let mut code = code.to_vec();
    // neg eax; mov edi, eax; mov eax, 60; syscall
    code.extend(b"\xf7\xd8\x89\xc7\xb8\x3c\x00\x00\x00\x0f\x05");
    let entry = 64 + 56;
    let path = BASE + entry + u32::try_from(code.len()).unwrap();
    let at = code.windows(4).position(|window| window == b"PATH");
    if let Some(at) = at {
        code[at..at + 4].copy_from_slice(&path.to_le_bytes());
    }
    code.extend(b"/made\0");
    let size = u64::from(entry) + code.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    for number in [u64::from(BASE + entry), 64, 0] {
        elf.extend(number.to_le_bytes());
    }
    elf.extend(b"\0\0\0\0\x40\0\x38\0\x01\0\0\0\0\0\0\0");
    elf.extend(b"\x01\0\0\0\x05\0\0\0");
    for number in [0, u64::from(BASE), u64::from(BASE), size, size, 0x1000] {
        elf.extend(number.to_le_bytes());
    }
    elf.extend(code);
    rkt.image(name, |image| image.file("caller", elf, 0o755).exec(&["/caller"]))
}

#[test]
#[cfg(target_arch = "x86_64")]
fn case_23_calls_of_other_architectures_do_not_slip_past() {
    let rkt = Rkt::new();
    // mov eax, 39; mov ebx, PATH; mov ecx, 0755; int 0x80: mkdir as 32-bit programs call it.
    let old = caller(&rkt, "int80", b"\xb8\x27\0\0\0\xbbPATH\xb9\xed\x01\0\0\xcd\x80");
    // mov eax, 0x40000000 | 83; mov edi, PATH; mov esi, 0755; syscall: mkdir of x32.
    let x32 = caller(&rkt, "x32", b"\xb8\x53\0\0\x40\xbfPATH\xbe\xed\x01\0\0\x0f\x05");
    // mov eax, 83; …: as a control.
    let own = caller(&rkt, "own", b"\xb8\x53\0\0\0\xbfPATH\xbe\xed\x01\0\0\x0f\x05");
    rkt.run_pod(args![&own]).success();
    let filter = "--seccomp=mode=remove,errno=EXDEV,mkdir,mkdirat";
    for image in [&old, &x32, &own] {
        rkt.run_pod(args![image, filter]).exits(18);
        rkt.run_pod(args![image, "--seccomp=mode=remove,mkdir,mkdirat"]).exits(KILLED);
    }
    let retain = "--seccomp=mode=retain,errno=EXDEV,@systemd/basic-io";
    rkt.run_pod(args![&old, retain]).exits(18);
    // x32 is not for the default filter either.
    rkt.run_pod(args![&x32]).exits(38);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn case_23_what_leads_around_filters_is_refused() {
    let rkt = Rkt::new();
    let call = |number: u8, high: u8, first: [u8; 4], second: [u8; 4]| {
        let mut code = vec![0xb8, number, high, 0, 0, 0xbf];
        code.extend(first);
        code.push(0xbe);
        code.extend(second);
        // xor edx, edx; syscall
        code.extend(b"\x31\xd2\x0f\x05");
        code
    };
    let none = [0; 4];
    for (name, code, errno) in [
        ("tiocsti", call(16, 0, none, 0x5412_u32.to_le_bytes()), 1),
        ("tioclinux", call(16, 0, none, 0x541c_u32.to_le_bytes()), 1),
        // Not a terminal: the request itself is let through.
        ("tcgets", call(16, 0, none, 0x5401_u32.to_le_bytes()), 25),
        ("clone-newuser", call(56, 0, 0x1000_0011_u32.to_le_bytes(), none), 1),
        ("clone3", call(179, 1, none, none), 38),
        ("io-uring", call(169, 1, none, none), 1),
        ("keyctl", call(250, 0, none, none), 1),
        ("unshare", call(16, 1, 0x1000_0000_u32.to_le_bytes(), none), 1),
    ] {
        let image = caller(&rkt, name, &code);
        rkt.run_pod(args![&image]).exits(errno);
        if name == "io-uring" {
            // What it does unseen is more than any set can name.
            rkt.run_pod(args![&image, "--seccomp=mode=remove,errno=EXDEV,mkdir"]).exits(18);
        }
    }
}
