//! Comparing a tree with its listing.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Lines},
    path::Path,
};

use super::{FILE, FORMAT, Hashes, Header, Kind, Node, name::unescape, walk};
use crate::{
    files::{FileError, Step},
    store::{Result, StoreError},
};

const DAMAGED: &str = "its listing is damaged";
const MODIFIED: &str = "modified at";

/// Reads the tree at `tree` and compares it with its listing. Returns the first difference, or that there is no listing.
pub(in crate::store) fn verify(tree: &Path) -> Result<Option<String>> {
    let path = tree.join(FILE);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Some("there is no listing of what it held".to_owned()));
        }
        other => other.step("open", &path)?,
    };
    let mut listing =
        Listing { lines: BufReader::with_capacity(128 * 1024, file).lines(), next: None, late: None };
    let mut difference = listing.start().step("read", &path)?;
    if difference.is_some() {
        return Ok(difference);
    }
    let walked = walk::walk(&tree.join("rootfs"), &Hashes::new(), &mut |raw, node| {
        difference = listing.compare(raw, &node).step("read", &path)?;
        Ok::<bool, FileError>(difference.is_none())
    });
    walked.map_err(StoreError::from)?;
    if difference.is_none()
        && let Some(recorded) = listing.next
    {
        difference = Some(format!("{} is missing", recorded.path));
    }
    Ok(difference.or(listing.late))
}

/// The listing, line by line.
struct Listing {
    lines: Lines<BufReader<File>>,
    next: Option<Node>,
    /// That a directory was changed. What was changed in it tells more, and comes later.
    late: Option<String>,
}

impl Listing {
    /// Reads the first line, and the first file. Returns what is wrong with them.
    fn start(&mut self) -> io::Result<Option<String>> {
        let Some(first) = self.lines.next().transpose()? else { return Ok(Some(DAMAGED.to_owned())) };
        match serde_json::from_str::<Header>(&first) {
            Ok(Header { format: FORMAT }) => self.advance(),
            Ok(Header { format }) => {
                Ok(Some(format!("its listing has format {format}, this rkt knows {FORMAT}")))
            }
            Err(_) => Ok(Some(DAMAGED.to_owned())),
        }
    }

    fn advance(&mut self) -> io::Result<Option<String>> {
        self.next = match self.lines.next().transpose()?.map(|line| serde_json::from_str(&line)) {
            Some(Ok(node)) => Some(node),
            Some(Err(_)) => return Ok(Some(DAMAGED.to_owned())),
            None => None,
        };
        Ok(None)
    }

    /// Compares a file with the next line. Both come in the same order.
    fn compare(&mut self, raw: &[u8], found: &Node) -> io::Result<Option<String>> {
        let unexpected = || Ok(Some(format!("{} is there, and was not recorded", found.path)));
        let Some(recorded) = self.next.take() else { return unexpected() };
        if recorded.path == found.path {
            let Some(how) = differs(&recorded, found) else { return self.advance() };
            let difference = format!("{}: {how}", found.path);
            if found.kind == Kind::Directory && how.starts_with(MODIFIED) {
                self.late.get_or_insert(difference);
                return self.advance();
            }
            return Ok(Some(difference));
        }
        let Some(name) = unescape(&recorded.path) else { return Ok(Some(DAMAGED.to_owned())) };
        if name.split(|byte| *byte == b'/').lt(raw.split(|byte| *byte == b'/')) {
            return Ok(Some(format!("{} is missing", recorded.path)));
        }
        unexpected()
    }
}

/// How a file differs from what was recorded.
fn differs(recorded: &Node, found: &Node) -> Option<String> {
    if recorded == found {
        return None;
    }
    let was = |what: &str, now: &dyn std::fmt::Display, then: &dyn std::fmt::Display| {
        Some(format!("{what} {now}, recorded {then}"))
    };
    if recorded.kind != found.kind {
        return was("it is", &found.kind.as_str(), &recorded.kind.as_str());
    }
    if recorded.same_as != found.same_as {
        let of = |node: &Node| match &node.same_as {
            Some(first) => format!("a hard link to {first}"),
            None => "no hard link to an earlier file".to_owned(),
        };
        return was("it is", &of(found), &of(recorded));
    }
    if recorded.mode != found.mode {
        return was("mode", &found.mode, &recorded.mode);
    }
    if (recorded.uid, recorded.gid) != (found.uid, found.gid) {
        let of = |node: &Node| format!("{}:{}", node.uid, node.gid);
        return was("owner", &of(found), &of(recorded));
    }
    if let (Some(now), Some(then)) = (found.size, recorded.size)
        && now != then
    {
        return was("size", &now, &then);
    }
    if recorded.blake3 != found.blake3 {
        return Some("content differs".to_owned());
    }
    if recorded.target != found.target {
        let of = |node: &Node| format!("{:?}", node.target.as_deref().unwrap_or_default());
        return was("link to", &of(found), &of(recorded));
    }
    if recorded.device != found.device {
        let of = |node: &Node| node.device.map_or_else(String::new, |(a, b)| format!("{a}:{b}"));
        return was("device", &of(found), &of(recorded));
    }
    let names = found.xattrs.keys().chain(recorded.xattrs.keys());
    for name in names {
        match (found.xattrs.get(name), recorded.xattrs.get(name)) {
            (now, then) if now == then => {}
            (Some(_), None) => return Some(format!("attribute {name} was not recorded")),
            (None, _) => return Some(format!("attribute {name} is missing")),
            _ => return Some(format!("attribute {name} differs")),
        }
    }
    let of = |node: &Node| format!("{}.{:09}", node.mtime.0, node.mtime.1);
    was(MODIFIED, &of(found), &of(recorded))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{
            ffi::OsStrExt,
            fs::{PermissionsExt, symlink},
        },
    };

    use super::{super::write, *};

    fn tree() -> tempfile::TempDir {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("rootfs");
        fs::create_dir_all(root.join("etc/b")).unwrap();
        fs::write(root.join("etc/passwd"), "root").unwrap();
        fs::write(root.join("etc-1"), "x").unwrap();
        fs::write(root.join(std::ffi::OsStr::from_bytes(b"\xff\\")), "x").unwrap();
        fs::hard_link(root.join("etc/passwd"), root.join("etc/q")).unwrap();
        symlink("/nowhere", root.join("link")).unwrap();
        write(base.path(), &Hashes::new()).unwrap();
        assert_eq!(verify(base.path()).unwrap(), None);
        base
    }

    #[test]
    fn the_first_difference_is_named() {
        type Change = fn(&Path);
        let table: [(Change, &str); 11] = [
            (|root| fs::write(root.join("etc/passwd"), "toor").unwrap(), "/etc/passwd: content differs"),
            (|root| fs::write(root.join("etc/passwd"), "r").unwrap(), "/etc/passwd: size 1, recorded 4"),
            (
                |root| fs::set_permissions(root.join("etc-1"), fs::Permissions::from_mode(0o600)).unwrap(),
                "/etc-1: mode 0600, recorded 0644",
            ),
            (|root| fs::remove_file(root.join("link")).unwrap(), "/link is missing"),
            (
                |root| {
                    fs::write(root.join("etc/new"), "").unwrap();
                    fs::remove_file(root.join("etc/new")).unwrap();
                },
                "/etc: modified at",
            ),
            (
                |root| {
                    keeping_time(root, || {
                        fs::remove_file(root.join(std::ffi::OsStr::from_bytes(b"\xff\\"))).unwrap();
                    });
                },
                "/\\xff\\x5c is missing",
            ),
            (
                |root| keeping_time(root, || fs::write(root.join("a"), "").unwrap()),
                "/a is there, and was not recorded",
            ),
            (
                |root| keeping_time(root, || fs::write(root.join("zz"), "").unwrap()),
                "/zz is there, and was not recorded",
            ),
            (
                |root| {
                    keeping_time(root, || {
                        fs::remove_file(root.join("link")).unwrap();
                        fs::create_dir(root.join("link")).unwrap();
                    });
                },
                "/link: it is a directory, recorded a symbolic link",
            ),
            (
                |root| {
                    keeping_time(root, || {
                        fs::remove_file(root.join("link")).unwrap();
                        symlink("/other", root.join("link")).unwrap();
                    });
                },
                "/link: link to \"/other\", recorded \"/nowhere\"",
            ),
            (
                |root| {
                    keeping_time(&root.join("etc"), || {
                        fs::remove_file(root.join("etc/q")).unwrap();
                        fs::write(root.join("etc/q"), "root").unwrap();
                    });
                },
                "/etc/q: it is no hard link to an earlier file, recorded a hard link to /etc/passwd",
            ),
        ];
        for (change, want) in table {
            let base = tree();
            change(&base.path().join("rootfs"));
            let found = verify(base.path()).unwrap().unwrap();
            assert!(found.starts_with(want), "{found}, wanted {want}");
        }
    }

    fn keeping_time(directory: &Path, change: impl FnOnce()) {
        let time = fs::metadata(directory).unwrap().modified().unwrap();
        change();
        fs::File::open(directory).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn a_listing_that_is_none_is_a_difference() {
        let base = tree();
        for text in ["", "x", "{\"format\":2}\n", "{\"format\":1}\nx\n"] {
            fs::write(base.path().join(FILE), text).unwrap();
            let found = verify(base.path()).unwrap().unwrap();
            assert!(found.starts_with("its listing"), "{found}");
        }
        fs::remove_file(base.path().join(FILE)).unwrap();
        assert!(verify(base.path()).unwrap().unwrap().starts_with("there is no listing"));
    }
}
