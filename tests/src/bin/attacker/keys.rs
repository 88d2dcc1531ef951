//! Keys of the kernel.

use std::{ffi::CString, fs, os::unix::process::CommandExt, process::Command};

use crate::calls::{call, say};

const JOIN_SESSION_KEYRING: usize = 1;
const SETPERM: usize = 5;
const LINK: usize = 8;
const SEARCH: usize = 10;
const READ: usize = 11;
/// Special keyrings, as the kernel's negative numbers.
const PROCESS: usize = -2_isize as usize;
const SESSION: usize = -3_isize as usize;

/// Puts a key into a session keyring of this process's own, its number into a file, and becomes the command.
pub(crate) fn plant(name: &str, file: &str, command: &[&str]) {
    let (kind, name) = (CString::new("user").unwrap(), CString::new(name).unwrap());
    let joined = call(libc::SYS_keyctl, &[JOIN_SESSION_KEYRING, 0]);
    let added = joined.and_then(|_| {
        let secret = b"sesame";
        let words = [kind.as_ptr() as usize, name.as_ptr() as usize, secret.as_ptr() as usize, 6, SESSION];
        call(libc::SYS_add_key, &words)
    });
    let serial = added.map_or(String::new(), |serial| serial.to_string());
    fs::write(file, serial).unwrap();
    panic!("{}", Command::new(command[0]).args(&command[1..]).exec());
}

/// Looks for the key that was planted outside, by its name and by its number.
pub(crate) fn take(name: &str, serial: usize) {
    let (kind, name) = (CString::new("user").unwrap(), CString::new(name).unwrap());
    let (kind, name) = (kind.as_ptr() as usize, name.as_ptr() as usize);
    say("search", call(libc::SYS_keyctl, &[SEARCH, SESSION, kind, name, 0]));
    say("request", call(libc::SYS_request_key, &[kind, name, 0, 0]));
    let buffer = [0_u8; 64];
    say("read", call(libc::SYS_keyctl, &[READ, serial, buffer.as_ptr() as usize, 64]));
    say("link", call(libc::SYS_keyctl, &[LINK, serial, PROCESS]));
    say("permit", call(libc::SYS_keyctl, &[SETPERM, serial, 0x3f3f_3f3f]));
    say("read again", call(libc::SYS_keyctl, &[READ, serial, buffer.as_ptr() as usize, 64]));
}
