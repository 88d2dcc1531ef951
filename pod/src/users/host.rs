//! Users of the host that are somebody's.

use std::{collections::BTreeSet, fs, path::Path};

use super::{COUNT, Range};

/// The owner whose line in `/etc/subuid` and `/etc/subgid` is for pods.
const OWNER: &str = "rkt";

/// Where nspawn notes which ranges its machines have: one file a range, named after its first user.
const NSPAWN: &str = "run/systemd/nspawn-uid";

/// What the host says of its users.
#[derive(Debug, Default)]
pub(super) struct Host {
    /// Ranges that `/etc/subuid` and `/etc/subgid` both give to pods. `None` where neither does.
    pub(super) ours: Option<Vec<Range>>,
    /// What others have.
    pub(super) others: Vec<Range>,
}

impl Host {
    /// Reads the host's files below `root`.
    pub(super) fn read(root: &Path) -> Host {
        let text = |name: &str| fs::read_to_string(root.join(name)).unwrap_or_default();
        let (uids, gids) = (delegated(&text("etc/subuid")), delegated(&text("etc/subgid")));
        let mut host = Host::default();
        let ours = |list: &[(String, Range)]| -> Vec<Range> {
            list.iter().filter(|(owner, _)| owner == OWNER).map(|(_, range)| *range).collect()
        };
        let (our_uids, our_gids) = (ours(&uids), ours(&gids));
        if !our_uids.is_empty() || !our_gids.is_empty() {
            let both = our_uids.iter().flat_map(|a| our_gids.iter().filter_map(|b| common(*a, *b)));
            host.ours = Some(both.collect());
        }
        host.others
            .extend(uids.into_iter().chain(gids).filter(|(owner, _)| owner != OWNER).map(|(_, range)| range));
        for name in ["etc/passwd", "etc/group"] {
            let text = text(name);
            let ids = text.lines().filter_map(|line| line.split(':').nth(2)?.parse().ok());
            host.others.extend(ids.filter_map(|id| Range::new(id, 1)));
        }
        for entry in fs::read_dir(root.join(NSPAWN)).into_iter().flatten().flatten() {
            let base = entry.file_name().to_str().and_then(|name| name.parse().ok());
            host.others.extend(base.and_then(|base| Range::new(base, COUNT)));
        }
        host.others.extend(running(&root.join("proc")));
        host
    }
}

/// The lines of `/etc/subuid`: owner, first, how many (subuid(5)). Others are passed over.
fn delegated(text: &str) -> Vec<(String, Range)> {
    let line = |line: &str| {
        let mut fields = line.trim().split(':');
        let (owner, base, count) = (fields.next()?, fields.next()?, fields.next()?);
        let (base, count): (u32, u32) = (base.parse().ok()?, count.parse().ok()?);
        Some((owner.to_owned(), Range::new(base, count.min(u32::MAX - base))?))
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(line).collect()
}

fn common(a: Range, b: Range) -> Option<Range> {
    let base = a.base.max(b.base);
    let end = (a.base + a.count).min(b.base + b.count);
    Range::new(base, end.checked_sub(base)?)
}

/// What the processes of this machine have mapped, ours aside: other machines, and pods of other data directories.
fn running(proc: &Path) -> Vec<Range> {
    let mut maps = BTreeSet::new();
    let own = fs::read(proc.join("self/uid_map")).unwrap_or_default();
    for entry in fs::read_dir(proc).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        for name in ["uid_map", "gid_map"] {
            // It may have ended meanwhile.
            if let Ok(map) = fs::read(entry.path().join(name))
                && map != own
            {
                maps.insert(map);
            }
        }
    }
    maps.iter().flat_map(|map| mapped(&String::from_utf8_lossy(map))).collect()
}

/// The outer side of a map (user_namespaces(7)).
fn mapped(map: &str) -> Vec<Range> {
    let line = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (base, count): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Range::new(base, count.min(u32::MAX - base))
    };
    map.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(files: &[(&str, &str)]) -> Host {
        let root = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        Host::read(root.path())
    }

    fn ranges(list: &[(u32, u32)]) -> Vec<Range> {
        list.iter().map(|(base, count)| Range::new(*base, *count).unwrap()).collect()
    }

    #[test]
    fn a_machine_that_says_nothing_has_nothing() {
        let host = host(&[]);
        assert!(host.ours.is_none() && host.others.is_empty(), "{host:?}");
    }

    #[test]
    fn ours_is_what_both_files_give_us() {
        let host = host(&[
            (
                "etc/subuid",
                "alice:100000:65536\nrkt:1000000:200000\n# rkt:1:1\nbroken\nrkt:x:5\nbig:5:4294967295\n",
            ),
            ("etc/subgid", "rkt:1100000:200000\nbob:300000:10\n"),
        ]);
        assert_eq!(host.ours, Some(ranges(&[(1_100_000, 100_000)])));
        assert_eq!(host.others, ranges(&[(100_000, 65_536), (5, u32::MAX - 5), (300_000, 10)]));
        let half = self::host(&[("etc/subuid", "rkt:1000000:65536\n")]);
        assert_eq!(half.ours, Some(Vec::new()), "nothing is for both users and groups");
    }

    #[test]
    fn accounts_machines_and_processes_have_theirs() {
        let host = host(&[
            ("etc/passwd", "root:x:0:0::/:\nalice:x:1000:1001::/:\nbroken\n"),
            ("etc/group", "wheel:x:10:\n"),
            ("run/systemd/nspawn-uid/655360", ""),
            ("proc/self/uid_map", "         0          0 4294967295\n"),
            ("proc/1/uid_map", "         0          0 4294967295\n"),
            ("proc/1/gid_map", "         0          0 4294967295\n"),
            ("proc/77/uid_map", "         0     720896      65536\n     70000  900000 1\n"),
            ("proc/77/gid_map", "         0     786432      65536\n"),
        ]);
        let mut others = host.others;
        others.sort_by_key(|range| range.base());
        let want =
            [(10, 1), (1000, 1), (655_360, 65_536), (720_896, 65_536), (786_432, 65_536), (900_000, 1)];
        assert_eq!(others, ranges(&want));
    }
}
