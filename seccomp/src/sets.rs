//! Sets of system calls that have a name: `@appc.io/…`, `@rkt/…`, `@docker/…`, `@systemd/…`.

use std::collections::HashSet;

/// The calls that apps make, and those that are not for them. The default filter is made of the same lists.
const ALLOWED: &str = include_str!("../lists/allow.txt");
const DENIED: &str = include_str!("../lists/deny.txt");
/// systemd's groups.
const SYSTEMD: &str = include_str!("../lists/systemd.txt");

/// The members of a set, where there is one of this name (with its `@`).
pub(super) fn members(name: &str) -> Option<Vec<&'static str>> {
    match name.strip_prefix('@')?.split_once('/')? {
        ("rkt" | "docker", "default-whitelist") => Some(lines(ALLOWED)),
        ("rkt" | "docker", "default-blacklist") => Some(lines(DENIED)),
        // Its name in rkt.
        ("systemd", "default-whitelist") => group("default"),
        ("systemd", name) => group(name),
        _ => None,
    }
}

/// The calls that the default filter allows, and those that it refuses as known and not for apps.
pub(super) fn default() -> (Vec<&'static str>, Vec<&'static str>) {
    (lines(ALLOWED), lines(DENIED))
}

/// What a program needs to come to be and to end, whatever set is retained: systemd's group of what is always allowed.
pub(super) fn always() -> Vec<&'static str> {
    group("default").unwrap_or_default()
}

fn lines(list: &'static str) -> Vec<&'static str> {
    list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// A group of systemd's with the members of the groups in it.
fn group(name: &str) -> Option<Vec<&'static str>> {
    let members_of = |name: &str| {
        SYSTEMD.lines().find_map(|line| {
            let mut words = line.split(' ');
            (words.next()?.strip_prefix('@')? == name).then(|| words.collect::<Vec<_>>())
        })
    };
    let mut waiting = members_of(name)?;
    let mut seen = HashSet::new();
    let mut members = Vec::new();
    while let Some(word) = waiting.pop() {
        match word.strip_prefix('@') {
            Some(inner) if seen.insert(inner) => waiting.extend(members_of(inner).unwrap_or_default()),
            Some(_) => {}
            None => members.push(word),
        }
    }
    Some(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    // APPC-285, APPC-286
    #[test]
    fn sets_have_members_and_groups_those_of_their_groups() {
        for name in [
            "clock",
            "default-whitelist",
            "mount",
            "network-io",
            "obsolete",
            "privileged",
            "process",
            "raw-io",
        ] {
            assert!(!members(&format!("@systemd/{name}")).unwrap().is_empty(), "{name}");
        }
        let service = members("@systemd/system-service").unwrap();
        assert!(service.contains(&"openat") && service.contains(&"chown"), "of a group in it");
        assert!(members("@docker/default-whitelist").unwrap().contains(&"read"));
        assert!(members("@rkt/default-blacklist").unwrap().contains(&"mount"));
        assert!(always().contains(&"execve"));
        for name in ["@rkt/none", "@systemd/none", "@other/default-whitelist", "@mount", "mount"] {
            assert_eq!(members(name), None, "{name}");
        }
    }
}
