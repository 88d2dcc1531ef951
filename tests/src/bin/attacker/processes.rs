//! The pod's init, and helpers that come by.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::calls::{call, say};

const SEIZE: usize = 0x4206;
const ATTACH: usize = 16;

/// Looks into the pod's init by every way that there is.
pub(crate) fn spy() {
    for path in ["mem", "exe", "environ", "root/", "fd/0", "maps", "stack"] {
        let file = format!("/proc/1/{path}");
        let read = fs::File::open(&file).and_then(|mut file| std::io::copy(&mut file, &mut std::io::sink()));
        // A directory that can be opened is as bad, and its content cannot be copied.
        let read = match read {
            Err(error) if error.kind() == std::io::ErrorKind::IsADirectory => Ok(0),
            other => other.map(|_| 0),
        };
        say(&format!("read {path}"), read.map_err(|error| error.raw_os_error().unwrap()));
    }
    let written = fs::OpenOptions::new().write(true).open("/proc/1/exe");
    say("write exe", written.map(|_| 0).map_err(|error| error.raw_os_error().unwrap()));
    say("seize", call(libc::SYS_ptrace, &[SEIZE, 1, 0, 0]));
    say("attach", call(libc::SYS_ptrace, &[ATTACH, 1, 0, 0]));
    let mut buffer = [0_u8; 8];
    let ours = [buffer.as_mut_ptr() as usize, 8];
    let theirs = [0x40_0000_usize, 8];
    let vectors = [1, ours.as_ptr() as usize, 1, theirs.as_ptr() as usize, 1, 0];
    say("read memory", call(libc::SYS_process_vm_readv, &vectors));
    say("write memory", call(libc::SYS_process_vm_writev, &vectors));
    let pidfd = call(libc::SYS_pidfd_open, &[1, 0]);
    for number in 0..8 {
        let got = pidfd.and_then(|pidfd| call(libc::SYS_pidfd_getfd, &[pidfd as usize, number, 0]));
        say(&format!("descriptor {number}"), got);
    }
    // No error, and no effect: the kernel keeps such signals from the first process of a namespace.
    call(libc::SYS_kill, &[1, libc::SIGKILL as usize]).ok();
    call(libc::SYS_kill, &[1, libc::SIGSTOP as usize]).ok();
    println!("over");
}

/// Waits for helpers of rkt to come by, and tries to get into each, or kills it.
pub(crate) fn stalk(seconds: u64, kills: bool) {
    println!("stalking");
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut seen = 0_u64;
    while Instant::now() < end {
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<usize>().ok()) else {
                continue;
            };
            let is_helper =
                || fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"app-exec\0"));
            if !is_helper() {
                continue;
            }
            seen += 1;
            if kills {
                call(libc::SYS_kill, &[pid, libc::SIGKILL as usize]).ok();
                continue;
            }
            let got = attempts(pid);
            // It may have become the command meanwhile, which has no more than we have.
            if is_helper() {
                for what in got {
                    println!("GOT {what}");
                }
            }
        }
    }
    println!("seen: {seen}");
}

/// What can be got of a process.
fn attempts(pid: usize) -> Vec<String> {
    let mut got = Vec::new();
    for name in ["exe", "root", "cwd", "fd/0", "fd/3", "fd/4"] {
        if let Ok(target) = fs::read_link(format!("/proc/{pid}/{name}")) {
            got.push(format!("{name} is {}", target.display()));
        }
    }
    for name in ["mem", "environ", "exe"] {
        if fs::File::open(format!("/proc/{pid}/{name}"))
            .is_ok_and(|mut file| std::io::Read::read(&mut file, &mut [0; 16]).is_ok_and(|length| length > 0))
        {
            got.push(format!("content of {name}"));
        }
    }
    if fs::OpenOptions::new().write(true).open(format!("/proc/{pid}/exe")).is_ok() {
        got.push("exe to write".to_owned());
    }
    if call(libc::SYS_ptrace, &[SEIZE, pid, 0, 0]).is_ok() {
        got.push("seized".to_owned());
    }
    if let Ok(pidfd) = call(libc::SYS_pidfd_open, &[pid, 0])
        && call(libc::SYS_pidfd_getfd, &[pidfd as usize, 3, 0]).is_ok()
    {
        got.push("descriptor 3".to_owned());
    }
    got
}

/// Waits for a process whose program is whoever executed a script of the image, and writes to that program.
pub(crate) fn overwrite(seconds: u64) {
    use std::os::fd::AsRawFd;
    println!("stalking");
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut opened = 0_u64;
    while Instant::now() < end {
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let path = entry.path();
            let is_ours =
                fs::read(path.join("cmdline")).is_ok_and(|line| line.starts_with(b"/proc/self/exe\0"));
            let Ok(program) = fs::File::open(path.join("exe")) else { continue };
            if !is_ours {
                continue;
            }
            opened += 1;
            if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<usize>().ok()) {
                call(libc::SYS_kill, &[pid, libc::SIGKILL as usize]).ok();
            }
            // As long as anybody executes it, it is busy.
            for _ in 0..200 {
                let again = format!("/proc/self/fd/{}", program.as_raw_fd());
                if fs::OpenOptions::new().write(true).open(again).is_ok() {
                    println!("GOT the program to write to");
                    return;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
    println!("opened: {opened}");
}
