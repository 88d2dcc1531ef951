//! What an archive may contain (spec, image archives): the rules for names and for entries among each other.

use std::{
    collections::{HashMap, hash_map::RandomState},
    ffi::OsStr,
    hash::BuildHasher,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

use super::{AciError, Entry, EntryKind, Limits};

/// Remembers which entries were seen: a hash of each name (128 bits, keyed at random) and what it is, so that the memory
/// for a million entries stays small.
#[derive(Debug)]
pub(super) struct Checker<'a> {
    limits: &'a Limits,
    shape: Shape,
    keys: (RandomState, RandomState),
    seen: HashMap<(u64, u64), Seen>,
}

/// Whose rules count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// An image's: nothing twice, and links only to what is there.
    Image,
    /// A layer's: what comes later counts, and links may lead to files of the layers below.
    Layer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Directory,
    /// A directory that no entry names, but entries below it need.
    Implied,
    Regular,
    Other,
}

fn refuse(name: &[u8], rule: impl Into<String>) -> AciError {
    AciError::Entry { name: String::from_utf8_lossy(name).into_owned(), rule: rule.into() }
}

/// Cleans a name: relative, without `.` and doubled slashes, and not leading upwards.
pub(super) fn clean(name: &[u8], limits: &Limits) -> Result<PathBuf, AciError> {
    if name.len() > limits.path {
        let shown = &name[..name.len().min(64)];
        return Err(refuse(
            shown,
            format!("the name has {} bytes, at most {} are allowed", name.len(), limits.path),
        ));
    }
    if name.contains(&0) {
        return Err(refuse(name, "the name contains a NUL character"));
    }
    let mut path = PathBuf::new();
    for part in Path::new(OsStr::from_bytes(name)).components() {
        match part {
            Component::Normal(part) if part.len() > 255 => {
                return Err(refuse(name, "a part of the name is longer than 255 bytes"));
            }
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir => return Err(refuse(name, "the name contains \"..\"")),
            Component::RootDir | Component::Prefix(_) => return Err(refuse(name, "the name is absolute")),
        }
    }
    if path.components().count() > limits.depth {
        return Err(refuse(name, format!("more than {} directories deep", limits.depth)));
    }
    Ok(path)
}

impl<'a> Checker<'a> {
    pub(super) fn new(shape: Shape, limits: &'a Limits) -> Checker<'a> {
        Checker { limits, shape, keys: (RandomState::new(), RandomState::new()), seen: HashMap::new() }
    }

    fn key(&self, path: &Path) -> (u64, u64) {
        let bytes = path.as_os_str().as_bytes();
        (self.keys.0.hash_one(bytes), self.keys.1.hash_one(bytes))
    }

    fn kind(&self, path: &Path) -> Option<Seen> {
        self.seen.get(&self.key(path)).copied()
    }

    /// Checks an entry against the rules and those that came before it.
    pub(super) fn check(&mut self, entry: &Entry) -> Result<(), AciError> {
        let path = entry.path.as_path();
        let wrong = |rule: &str| Err(refuse(path.as_os_str().as_bytes(), rule));
        let is_manifest = path == Path::new("manifest");
        if !is_manifest && !path.starts_with("rootfs") {
            return wrong("unrecognized file path in layout: only \"manifest\" and \"rootfs\" may be there");
        }
        if is_manifest && entry.kind != EntryKind::Regular {
            return wrong("must be a regular file");
        }
        if path == Path::new("rootfs") && entry.kind != EntryKind::Directory {
            return wrong("must be a directory");
        }
        match self.kind(path) {
            None => {}
            Some(Seen::Implied) if entry.kind == EntryKind::Directory => {}
            Some(Seen::Implied) => return wrong("earlier entries need it to be a directory"),
            Some(earlier)
                if self.shape == Shape::Layer
                    && (earlier == Seen::Directory) == (entry.kind == EntryKind::Directory) => {}
            Some(_) => return wrong("duplicate file entry in archive"),
        }
        if let EntryKind::HardLink(target) = &entry.kind {
            if !target.starts_with("rootfs/") {
                return wrong("a hard link to a file outside rootfs");
            }
            match (self.shape, self.kind(target)) {
                (_, Some(Seen::Regular)) => {}
                (Shape::Layer, Some(Seen::Other) | None) if target != path => {}
                _ => return wrong("a hard link to what is not a regular file earlier in the archive"),
            }
        }
        self.check_parents(path)?;
        let kind = match entry.kind {
            EntryKind::Directory => Seen::Directory,
            EntryKind::Regular | EntryKind::HardLink(_) => Seen::Regular,
            _ => Seen::Other,
        };
        self.insert(path, kind)
    }

    /// What is above an entry must be directories. Those that were seen before have been checked before, so that the
    /// work does not grow with the depth.
    pub(super) fn check_parents(&mut self, path: &Path) -> Result<(), AciError> {
        for parent in path.ancestors().skip(1).take_while(|parent| !parent.as_os_str().is_empty()) {
            match self.kind(parent) {
                Some(Seen::Directory | Seen::Implied) => break,
                Some(_) => {
                    return Err(refuse(path.as_os_str().as_bytes(), "an entry above it is not a directory"));
                }
                None => self.insert(parent, Seen::Implied)?,
            }
        }
        Ok(())
    }

    fn insert(&mut self, path: &Path, kind: Seen) -> Result<(), AciError> {
        if self.seen.len() as u64 >= self.limits.entries {
            return Err(AciError::Archive(format!("more than {} entries", self.limits.entries)));
        }
        self.seen.insert(self.key(path), kind);
        Ok(())
    }

    /// Checks that nothing is missing.
    pub(super) fn finish(&self) -> Result<(), AciError> {
        match self.kind(Path::new("rootfs")) {
            Some(Seen::Directory) => Ok(()),
            _ => Err(AciError::Archive("no rootfs found in layout".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, kind: EntryKind) -> Entry {
        Entry {
            path: clean(name.as_bytes(), &Limits::default()).unwrap(),
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 0,
            mtime_nsec: 0,
            xattrs: Vec::new(),
        }
    }

    // APPC-054, APPC-055
    #[test]
    fn names_are_cleaned_or_refused() {
        let limits = Limits::default();
        let clean = |name: &[u8]| clean(name, &limits).map(|path| path.to_string_lossy().into_owned());
        for (name, want) in [
            ("./manifest", "manifest"),
            ("rootfs/", "rootfs"),
            ("./rootfs//a/./b/", "rootfs/a/b"),
            ("./", ""),
        ] {
            assert_eq!(clean(name.as_bytes()).unwrap(), want);
        }
        let long = vec![b'a'; 5000];
        let deep = "a/".repeat(300);
        for name in [
            b"/rootfs/x".as_slice(),
            b"rootfs/../../x",
            b"..",
            b"rootfs/a\0b",
            &long,
            deep.as_bytes(),
            &[b'a'; 300],
        ] {
            assert!(clean(name).is_err(), "{name:?}");
        }
    }

    // APPC-051, APPC-052, APPC-053, APPC-054, APPC-056, APPC-057
    #[test]
    fn entries_follow_the_rules() {
        use EntryKind::{Directory, Fifo, HardLink, Regular, Symlink};
        type List = Vec<(&'static str, EntryKind)>;
        let link = |target: &str| Symlink(target.into());
        let hard = |target: &str| HardLink(target.into());
        let good: List = vec![
            ("rootfs", Directory),
            ("rootfs/a", Regular),
            ("rootfs/b", hard("rootfs/a")),
            ("rootfs/c", hard("rootfs/b")),
            ("rootfs/d/e", Fifo),
            ("rootfs/l", link("/etc/passwd")),
            ("manifest", Regular),
        ];
        let run = |list: &List| {
            let limits = Limits::default();
            let mut checker = Checker::new(Shape::Image, &limits);
            list.iter().try_for_each(|(name, kind)| checker.check(&entry(name, kind.clone())))?;
            checker.finish()
        };
        assert_eq!(run(&good), Ok(()));
        let late: List = vec![
            ("rootfs/d/e", Regular),
            ("rootfs/d/f", Regular),
            ("rootfs/d", Directory),
            ("rootfs", Directory),
        ];
        assert_eq!(run(&late), Ok(()));
        let bad: Vec<List> = vec![
            vec![],
            vec![("rootfs", Regular)],
            vec![("rootfs", link("/"))],
            vec![("rootfsX", Regular)],
            vec![("other", Regular)],
            vec![("manifest", Directory)],
            vec![("rootfs/a", Regular), ("rootfs/a", Regular)],
            vec![("rootfs/a", link("/etc")), ("rootfs/a/b", Regular)],
            vec![("rootfs/a", Regular), ("rootfs/a/b/c", Regular)],
            vec![("rootfs/a", hard("rootfs/b"))],
            vec![("rootfs/l", link("/x")), ("rootfs/a", hard("rootfs/l"))],
            vec![("manifest", Regular), ("rootfs/a", hard("manifest"))],
            vec![("rootfs/a", Regular)],
            vec![("rootfs", Directory), ("rootfs/d/e", Regular), ("rootfs/d", link("/etc"))],
            vec![("rootfs", Directory), ("rootfs/d/e", Regular), ("rootfs/d", Regular)],
        ];
        for list in bad {
            assert!(run(&list).is_err(), "{list:?}");
        }
    }
}
