//! AC Version: a semantic version, read as leniently as the reference library reads it.

use std::{cmp::Ordering, fmt, str::FromStr};

use super::TypeError;

/// A semantic version: `MAJOR.MINOR.PATCH[-PRE][+METADATA]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SemVer {
    /// Incompatible changes.
    pub major: u64,
    /// Compatible additions.
    pub minor: u64,
    /// Fixes.
    pub patch: u64,
    /// After the first `-`; empty where absent.
    pub pre_release: String,
    /// After the first `+`; empty where absent.
    pub metadata: String,
}

impl FromStr for SemVer {
    type Err = TypeError;

    fn from_str(text: &str) -> Result<SemVer, TypeError> {
        let wrong = || TypeError::new(text, "must be a semantic version, MAJOR.MINOR.PATCH");
        let (rest, metadata) = text.split_once('+').unwrap_or((text, ""));
        let (numbers, pre_release) = rest.split_once('-').unwrap_or((rest, ""));
        let parts = numbers
            .split('.')
            .map(|part| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<u64>().ok()).flatten())
            .collect::<Option<Vec<u64>>>()
            .ok_or_else(wrong)?;
        let &[major, minor, patch] = parts.as_slice() else { return Err(wrong()) };
        let version = SemVer {
            major,
            minor,
            patch,
            pre_release: pre_release.to_owned(),
            metadata: metadata.to_owned(),
        };
        if (major, minor, patch) == (0, 0, 0) && pre_release.is_empty() && metadata.is_empty() {
            return Err(TypeError::new(text, "a version cannot be zero"));
        }
        Ok(version)
    }
}

impl fmt::Display for SemVer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if !self.pre_release.is_empty() {
            write!(f, "-{}", self.pre_release)?;
        }
        if !self.metadata.is_empty() {
            write!(f, "+{}", self.metadata)?;
        }
        Ok(())
    }
}

impl PartialOrd for SemVer {
    /// Metadata does not count, so two different versions may compare as equal in order.
    fn partial_cmp(&self, other: &SemVer) -> Option<Ordering> {
        let numbers = |v: &SemVer| (v.major, v.minor, v.patch);
        let order = numbers(self).cmp(&numbers(other));
        Some(order.then_with(|| compare_pre_releases(&self.pre_release, &other.pre_release)))
    }
}

fn compare_pre_releases(a: &str, b: &str) -> Ordering {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let mut left = a.split('.');
    let mut right = b.split('.');
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(x), Some(y)) => match (x.parse::<u64>(), y.parse::<u64>()) {
                (Ok(x), Ok(y)) => x.cmp(&y),
                _ => x.cmp(y),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // APPC-008, APPC-009
    #[test]
    fn versions_are_read_leniently_and_printed_normally() {
        for (text, want) in [
            ("0.8.11", "0.8.11"),
            ("01.2.3", "1.2.3"),
            ("1.0.0-", "1.0.0"),
            ("1.0.0-rc.1_!", "1.0.0-rc.1_!"),
            ("0.0.0+x", "0.0.0+x"),
            ("1.2.3-a+b-c", "1.2.3-a+b-c"),
        ] {
            assert_eq!(text.parse::<SemVer>().unwrap().to_string(), want);
        }
        for text in
            ["", "1.0", "1.0.0.0", "v1.0.0", "-1.0.0", "+1.0.0", "0.0.0", "1..0", "1.0.99999999999999999999"]
        {
            assert!(text.parse::<SemVer>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn versions_are_ordered() {
        let ordered =
            ["0.1.0", "1.0.0-a", "1.0.0-a.2", "1.0.0-a.10", "1.0.0-b", "1.0.0", "1.0.1", "1.1.0", "2.0.0"];
        for pair in ordered.windows(2) {
            assert!(pair[0].parse::<SemVer>().unwrap() < pair[1].parse::<SemVer>().unwrap(), "{pair:?}");
        }
    }
}
