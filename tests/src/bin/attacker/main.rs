//! What a hostile program in an app would try. `attacker ATTACK [ARGUMENTS…]` prints one line for each attempt, `what: OK` or
//! `what: errno N`. The tests put it into images; it is static, and needs nothing but the kernel.

#![allow(clippy::unwrap_used, reason = "a part of the tests: a panic is how they fail")]

mod calls;
mod keys;
mod mounts;
mod processes;
mod users;

use std::{
    fs::OpenOptions,
    os::{
        fd::AsRawFd,
        linux::net::SocketAddrExt,
        unix::{
            fs::OpenOptionsExt,
            net::{SocketAddr, UnixStream},
        },
    },
};

use calls::{call, say};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["mounts"] => mounts::all(),
        ["kernel"] => mounts::kernel(),
        ["chroot", witness] => mounts::leave_by_chroot(witness),
        ["spy"] => processes::spy(),
        ["stalk", seconds] => processes::stalk(seconds.parse().unwrap(), false),
        ["kill", seconds] => processes::stalk(seconds.parse().unwrap(), true),
        ["overwrite", seconds] => processes::overwrite(seconds.parse().unwrap()),
        ["users", secret] => users::groups(secret),
        ["nested"] => users::nested(),
        ["whoami"] => users::whoami(),
        ["type"] => terminal(),
        ["abstract", name] => abstract_socket(name),
        ["open", files @ ..] => files.iter().for_each(|file| open(file)),
        ["plant", name, file, command @ ..] => keys::plant(name, file, command),
        ["keys", name, serial] => keys::take(name, serial.parse().unwrap()),
        _ => panic!("no attack {words:?}"),
    }
}

/// Types into every terminal that can be reached.
fn terminal() {
    let opened = ["/dev/tty", "/dev/console"]
        .map(|path| OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(path));
    let open = opened.iter().flatten().map(AsRawFd::as_raw_fd);
    for number in (0..20).chain(open) {
        for byte in b"pwned\n" {
            let what = std::ptr::from_ref(byte) as usize;
            let typed = call(libc::SYS_ioctl, &[number as usize, libc::TIOCSTI as usize, what]);
            if *byte == b'\n' {
                say(&format!("type into {number}"), typed);
            }
        }
        // The console's own way to paste what is selected there.
        let paste = [3_u8];
        say(
            &format!("paste into {number}"),
            call(libc::SYS_ioctl, &[number as usize, 0x541c, paste.as_ptr() as usize]),
        );
    }
}

fn abstract_socket(name: &str) {
    let address = SocketAddr::from_abstract_name(name).unwrap();
    say(
        "connect",
        UnixStream::connect_addr(&address).map(|_| 0).map_err(|error| error.raw_os_error().unwrap()),
    );
}

/// Opens a file to read it, and to write to it.
fn open(path: &str) {
    let errno = |error: std::io::Error| error.raw_os_error().unwrap();
    let read = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    say(&format!("read {path}"), read.map(|_| 0).map_err(errno));
    let write = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path);
    say(&format!("write {path}"), write.map(|_| 0).map_err(errno));
}
