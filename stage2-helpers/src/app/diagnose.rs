//! Why a file cannot be executed, in words that help: a missing interpreter reads as a missing file to the kernel.

use std::{fs::File, io::Read, os::unix::fs::PermissionsExt, path::Path};

use rustix::io::Errno;

use crate::failure::words;

/// How much of a file is looked at, in bytes: its ELF headers, or its first line.
const HEAD: usize = 4096;

/// Whether there is something at `path`, be it a dangling link.
pub(super) fn exists(path: &str) -> bool {
    Path::new(path).symlink_metadata().is_ok()
}

/// The reason for `errno` from executing the file at `path`.
pub(super) fn reason(path: &str, errno: Errno) -> String {
    let metadata = Path::new(path).metadata();
    match (errno, &metadata) {
        (Errno::ACCESS, Ok(data)) if data.is_dir() => {
            return "Permission denied (it is a directory)".to_owned();
        }
        (Errno::ACCESS, Ok(data)) if data.permissions().mode() & 0o111 == 0 => {
            return "Permission denied (the file is not executable)".to_owned();
        }
        (Errno::LOOP, _) => return "Too many levels of symbolic links (or one of /proc)".to_owned(),
        (Errno::NOENT, Err(_)) => return "No such file or directory (it is a link to nothing)".to_owned(),
        _ => {}
    }
    let mut head = vec![0; HEAD];
    let length = File::open(path).and_then(|mut file| file.read(&mut head)).unwrap_or(0);
    explain(&head[..length], errno).unwrap_or_else(|| words(errno))
}

/// What the beginning of a file says about why it cannot be executed.
fn explain(head: &[u8], errno: Errno) -> Option<String> {
    match errno {
        Errno::NOENT => {
            let (what, path) = interpreter(head)?;
            Some(format!("its {what} {path:?} does not exist in the image"))
        }
        Errno::NOEXEC => {
            if let Some(machine) = machine(head).filter(|machine| *machine != std::env::consts::ARCH) {
                return Some(format!(
                    "is a program for {machine}, this machine is {}",
                    std::env::consts::ARCH
                ));
            }
            Some("Exec format error (neither a program for this machine nor a script with #!)".to_owned())
        }
        _ => None,
    }
}

/// The loader of a program, or the interpreter of a script.
fn interpreter(head: &[u8]) -> Option<(&'static str, String)> {
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?;
        let path = line.split(u8::is_ascii_whitespace).find(|part| !part.is_empty())?;
        return Some(("interpreter", String::from_utf8_lossy(path).into_owned()));
    }
    // A 64-bit little-endian ELF file; in its program headers, the one of type PT_INTERP.
    if head.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let number = |offset: usize, width: usize| -> Option<usize> {
        let bytes = head.get(offset..offset.checked_add(width)?)?;
        usize::try_from(bytes.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte))).ok()
    };
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    (0..count).find_map(|index| {
        let header = table.checked_add(index.checked_mul(size)?)?;
        if number(header, 4)? != 3 {
            return None;
        }
        let (offset, length) = (number(header.checked_add(8)?, 8)?, number(header.checked_add(32)?, 8)?);
        let path = head.get(offset..offset.checked_add(length)?)?;
        let path = path.strip_suffix(b"\0").unwrap_or(path);
        Some(("loader", String::from_utf8_lossy(path).into_owned()))
    })
}

/// The architecture that an ELF file is for, in Rust's names.
fn machine(head: &[u8]) -> Option<&'static str> {
    if head.get(..4)? != b"\x7fELF" {
        return None;
    }
    let little = *head.get(5)? == 1;
    let bytes = [*head.get(18)?, *head.get(19)?];
    let number = if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) };
    Some(match number {
        3 => "x86",
        8 => "mips",
        20 => "powerpc",
        21 => "powerpc64",
        22 => "s390x",
        40 => "arm",
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv64",
        _ => "another architecture",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(machine: u16, loader: &str) -> Vec<u8> {
        let mut head = vec![0; 64 + 56];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[18..20].copy_from_slice(&machine.to_le_bytes());
        head[32] = 64;
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
    fn a_missing_interpreter_is_named() {
        let explain = |head: &[u8]| explain(head, Errno::NOENT);
        assert_eq!(
            explain(&elf(62, "/lib/ld.so")).unwrap(),
            "its loader \"/lib/ld.so\" does not exist in the image"
        );
        assert_eq!(
            explain(b"#! /usr/bin/perl -w\nx").unwrap(),
            "its interpreter \"/usr/bin/perl\" does not exist in the image"
        );
        assert_eq!(explain(b"text"), None);
        assert_eq!(explain(b""), None);
        for cut in 0..elf(62, "/lib/ld.so").len() {
            drop(explain(&elf(62, "/lib/ld.so")[..cut]));
        }
        assert_eq!(explain(&[b"\x7fELF\x02\x01".as_slice(), &[0xff; 200]].concat()), None);
    }

    #[test]
    fn another_architecture_is_named() {
        let other = if std::env::consts::ARCH == "aarch64" { (62, "x86_64") } else { (183, "aarch64") };
        let text = explain(&elf(other.0, "/x"), Errno::NOEXEC).unwrap();
        assert!(text.starts_with(&format!("is a program for {}, this machine is", other.1)), "{text}");
        assert!(explain(b"hello", Errno::NOEXEC).unwrap().starts_with("Exec format error"));
    }
}
