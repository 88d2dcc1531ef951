//! Ranges of the host's users and groups that pods have for themselves (user namespaces).
//!
//! A pod's range is noted in its directory ([`layout::PRIVATE_USERS`]) while the lock of the allocator is held, and is free
//! again when that directory is gone: there is no other list that could say something else after a crash.

mod allocate;
mod host;

use std::{fmt, fs, io::ErrorKind, path::Path, str::FromStr};

pub use allocate::{allocate, recorded};

use crate::{
    error::{Error, Result, std_error},
    layout,
};

/// How many users a pod has that says nothing else: those of a machine of its own.
pub const COUNT: u32 = 65_536;

/// A range of users of the host, and of groups by the same numbers: the first is the pod's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    base: u32,
    count: u32,
}

/// What a user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Any range that is free.
    Auto,
    /// This one.
    Exactly(Range),
}

impl Range {
    /// The range from `base` on. `None` where it is empty, has the host's root in it, or numbers that are no users.
    pub const fn new(base: u32, count: u32) -> Option<Range> {
        // The largest number is the kernel's sign for "none".
        match base.checked_add(count) {
            Some(_) if base > 0 && count > 0 => Some(Range { base, count }),
            _ => None,
        }
    }

    /// The user of the host who is the pod's root.
    pub const fn base(self) -> u32 {
        self.base
    }

    /// How many there are.
    pub const fn count(self) -> u32 {
        self.count
    }

    /// The user of the host that a user of the pod is.
    pub const fn host_id(self, id: u32) -> Option<u32> {
        if id < self.count { Some(self.base + id) } else { None }
    }

    /// The user of the pod that a user of the host is.
    pub const fn id_in_pod(self, id: u32) -> Option<u32> {
        match id.checked_sub(self.base) {
            Some(id) if id < self.count => Some(id),
            _ => None,
        }
    }

    /// Whether both have a user in common.
    pub const fn overlaps(self, other: Range) -> bool {
        self.base < other.base + other.count && other.base < self.base + self.count
    }

    /// The range that a pod's directory says it has.
    ///
    /// # Errors
    /// Where the file cannot be read, or holds something else.
    pub fn of_pod(directory: &Path) -> Result<Option<Range>> {
        let path = directory.join(layout::PRIVATE_USERS);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(std_error("read", &path)(error)),
        };
        let range = text
            .trim()
            .parse()
            .map_err(|problem: String| Error::Corrupt { object: path.display().to_string(), problem })?;
        Ok(Some(range))
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.base, self.count)
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Range, String> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
        };
        let pair = text.split_once(':').and_then(|(base, count)| Some((number(base)?, number(count)?)));
        let (base, count) = pair.ok_or_else(|| format!("{text:?} is not BASE:COUNT, two numbers"))?;
        if base == 0 {
            return Err(format!("{text:?}: a range from 0 on has the host's root in it"));
        }
        if count == 0 {
            return Err(format!("{text:?}: a range needs at least one user"));
        }
        let range = u32::try_from(base).ok().zip(u32::try_from(count).ok());
        range
            .and_then(|(base, count)| Range::new(base, count))
            .ok_or_else(|| format!("{text:?}: the largest user is {}", u32::MAX - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_two_numbers_that_are_users() {
        let range: Range = "524288:65536".parse().unwrap();
        assert_eq!(
            (range.base(), range.count(), range.to_string().as_str()),
            (524_288, 65_536, "524288:65536")
        );
        assert_eq!(
            (range.host_id(0), range.host_id(65_535), range.host_id(65_536)),
            (Some(524_288), Some(589_823), None)
        );
        assert_eq!(
            (
                range.id_in_pod(524_288),
                range.id_in_pod(589_823),
                range.id_in_pod(589_824),
                range.id_in_pod(0)
            ),
            (Some(0), Some(65_535), None, None)
        );
        assert_eq!("1:4294967294".parse(), Ok(Range { base: 1, count: u32::MAX - 1 }));
        for wrong in [
            "",
            ":",
            "1",
            "1:",
            ":1",
            "-1:5",
            "+1:5",
            "1:5:9",
            "a:b",
            "0:65536",
            "5:0",
            "1:4294967295",
            "4294967295:1",
            "4294967296:1",
            "1:99999999999999999999999",
            "1 :5",
        ] {
            assert!(wrong.parse::<Range>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn ranges_overlap_where_they_share_a_user() {
        let range = |base, count| Range::new(base, count).unwrap();
        assert!(range(10, 10).overlaps(range(19, 1)));
        assert!(range(10, 10).overlaps(range(1, 100)));
        assert!(!range(10, 10).overlaps(range(20, 5)));
        assert!(!range(20, 5).overlaps(range(10, 10)));
    }
}
