//! Users and groups of an image (appc spec, "user, group"): looked up in the image's own files, never in the host's.

use std::{
    ffi::OsStr,
    io::Read,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
};

use rustix::{
    fs::{FileType, OFlags, ResolveFlags},
    io::Errno,
};

use crate::mounts;

/// Largest passwd or group file that is read, in bytes.
const MAX_FILE: u64 = 8 << 20;

/// Reads a regular file inside `root`, or nothing where there is none. Links lead to places in the root only, and
/// nothing that would make us wait, like a pipe, is opened.
pub(super) fn read(root: &OwnedFd, path: &str) -> Result<Vec<u8>, String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match mounts::open_in_root(root, path, flags, ResolveFlags::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(Vec::new()),
        Err(errno) => return Err(crate::failure::words(errno)),
    };
    let stat = rustix::fs::fstat(&file).map_err(crate::failure::words)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err("is not a regular file".to_owned());
    }
    let mut content = Vec::new();
    let read = std::fs::File::from(file).take(MAX_FILE + 1).read_to_end(&mut content);
    match read {
        Ok(_) if content.len() as u64 > MAX_FILE => Err(format!("is larger than {MAX_FILE} bytes")),
        Ok(_) => Ok(content),
        Err(error) => Err(error.kind().to_string()),
    }
}

/// The id in the third field of the line whose first field is `name`, as passwd(5) and group(5) have it. Lines that are
/// not of that form are passed over.
pub(super) fn id_of(content: &[u8], name: &str) -> Option<u32> {
    content.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let first = fields.next()?;
        let id = fields.nth(1)?;
        if first != name.as_bytes() || fields.next().is_none() {
            return None;
        }
        valid_id(std::str::from_utf8(id).ok()?)
    })
}

/// The owner and group of a file inside `root`, not of what it links to.
pub(super) fn owner(root: &OwnedFd, path: &str) -> Result<(u32, u32), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    let path = Path::new(OsStr::from_bytes(path.as_bytes()));
    let file = mounts::open_in_root(root, path, flags, ResolveFlags::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    Ok((stat.st_uid, stat.st_gid))
}

/// A number that may be an id. The largest is the kernel's sign for "none".
pub(super) fn valid_id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok().filter(|id| *id != u32::MAX) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] =
        b"root:x:0:0:root:/root:/bin/sh\n\nbroken\nshort:x:7\n# comment:x:9:9\nwww-data:x:33:33::/:\n\
        big:x:4294967295:0::/:\nneg:x:-1:0::/:\n\xff:x:5:5::/:\n1000:x:77:77::/:\nwww-data:x:34:34::/:";

    // APPC-109
    #[test]
    fn names_are_found_in_well_formed_lines() {
        for (name, id) in [
            ("root", Some(0)),
            ("www-data", Some(33)),
            ("1000", Some(77)),
            ("broken", None),
            ("short", None),
            ("big", None),
            ("neg", None),
            ("nobody", None),
            ("", None),
        ] {
            assert_eq!(id_of(PASSWD, name), id, "{name}");
        }
    }

    #[test]
    fn ids_are_numbers_in_range() {
        for (text, id) in [
            ("0", Some(0)),
            ("4294967294", Some(u32::MAX - 1)),
            ("4294967295", None),
            ("-1", None),
            ("+1", None),
            ("", None),
        ] {
            assert_eq!(valid_id(text), id, "{text}");
        }
    }
}
