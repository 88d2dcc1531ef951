//! Who gets which range.

use std::path::Path;

use super::{COUNT, Range, Wanted, host::Host};
use crate::{
    directory::{PodDir, write_atomically},
    error::{Error, Result, io_error},
    layout,
    lock::Lock,
    lookup,
    state::Place,
};

/// What systemd leaves to containers that get their users by themselves (its UIDS-GIDS.md): the first user, and the last.
const CONTAINERS: (u32, u32) = (524_288, 1_879_048_191);

/// Gives a pod a range of its own and notes it in the pod's directory. The caller holds the pod's lock.
///
/// # Errors
/// [`Error::Users`] where the range is another pod's or none is free, or where a file cannot be read or written.
pub fn allocate(data: &Path, pod: &PodDir, wanted: Wanted) -> Result<Range> {
    allocate_on(Path::new("/"), data, pod, wanted)
}

fn allocate_on(root: &Path, data: &Path, pod: &PodDir, wanted: Wanted) -> Result<Range> {
    let _lock = Lock::of_directory(data, layout::USERS_LOCK)?;
    let pods = recorded(data)?;
    let range = match wanted {
        Wanted::Exactly(range) => match pods.iter().find(|(_, other)| other.overlaps(range)) {
            Some((uuid, other)) => {
                return Err(Error::Users(format!(
                    "range {range} overlaps with {other}, which pod {uuid:?} has"
                )));
            }
            None => range,
        },
        Wanted::Auto => choose(&Host::read(root), &pods, start(pod.uuid()))?,
    };
    let path = pod.path();
    let directory = rustix::fs::open(
        &path,
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .map_err(io_error("open", &path))?;
    write_atomically(directory, Path::new(layout::PRIVATE_USERS), range.to_string().as_bytes(), 0o640)
        .map_err(io_error("note the users of", &path))?;
    Ok(range)
}

/// The pods that have a range, by UUID. Who holds the allocator's lock sees all.
///
/// # Errors
/// Where the directories of the pods cannot be read.
pub fn recorded(data: &Path) -> Result<Vec<(String, Range)>> {
    let mut found = Vec::new();
    for pod in lookup::all(data, &Place::ALL)? {
        // It may have moved on since it was seen. A pod that says nothing that can be read does not run.
        let mut range = Range::of_pod(&pod.path()).ok().flatten();
        if range.is_none()
            && !pod.path().exists()
            && let Some(moved) = lookup::by_uuid(data, pod.uuid())
        {
            range = Range::of_pod(&moved.path()).ok().flatten();
        }
        found.extend(range.map(|range| (pod.uuid().to_owned(), range)));
    }
    Ok(found)
}

/// Where a pod starts to look: spread, so that pods of other data directories look elsewhere, and so that a range that was
/// just given up is not another pod's at once.
fn start(uuid: &str) -> u32 {
    uuid.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0)
}

/// A range that is nobody's.
fn choose(host: &Host, pods: &[(String, Range)], start: u32) -> Result<Range> {
    let free = |range: &Range| {
        !pods.iter().any(|(_, other)| other.overlaps(*range))
            && !host.others.iter().any(|other| other.overlaps(*range))
    };
    match &host.ours {
        Some(ours) => {
            let slots: Vec<Range> = ours.iter().flat_map(|range| pieces(*range)).collect();
            if slots.is_empty() {
                return Err(Error::Users(format!(
                    "/etc/subuid and /etc/subgid give rkt fewer than {COUNT} users and groups of the same numbers"
                )));
            }
            slots.iter().copied().find(free).ok_or_else(|| {
                Error::Users(format!(
                    "none of the {} ranges that /etc/subuid and /etc/subgid give rkt is free (remove pods, or give it more)",
                    slots.len()
                ))
            })
        }
        None => {
            let (first, last) = CONTAINERS;
            let slots = (last - first + 1) / COUNT;
            (0..slots)
                .map(|step| first + (start % slots + step) % slots * COUNT)
                .filter_map(|base| Range::new(base, COUNT))
                .find(free)
                .ok_or_else(|| Error::Users(format!("no range from {first} to {last} is free")))
        }
    }
}

/// The parts of a range that are as large as a pod's.
fn pieces(range: Range) -> impl Iterator<Item = Range> {
    (0..range.count() / COUNT).filter_map(move |index| Range::new(range.base() + index * COUNT, COUNT))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn host(ours: Option<&[(u32, u32)]>, others: &[(u32, u32)]) -> Host {
        let ranges = |list: &[(u32, u32)]| {
            list.iter().map(|(base, count)| Range::new(*base, *count).unwrap()).collect()
        };
        Host { ours: ours.map(ranges), others: ranges(others) }
    }

    #[test]
    fn what_is_somebodys_is_avoided() {
        let base = |host: &Host, pods: &[(String, Range)], start| choose(host, pods, start).unwrap().base();
        let nothing = host(None, &[]);
        assert_eq!(base(&nothing, &[], 0), 524_288);
        assert_eq!(base(&nothing, &[], 1), 589_824);
        let pods = [("pod".to_owned(), Range::new(524_288, 65_536).unwrap())];
        assert_eq!(base(&nothing, &pods, 0), 589_824);
        // Somebody else's, not aligned, reaches into two.
        assert_eq!(base(&host(None, &[(600_000, 65_536)]), &pods, 0), 720_896);
        let last = choose(&nothing, &[], (1_879_048_191 - 524_288) / COUNT).unwrap();
        assert_eq!(last.base() + last.count() - 1, 1_879_048_191);
    }

    #[test]
    fn our_own_line_is_used_and_nothing_else() {
        let host = host(Some(&[(1_000_000, 150_000)]), &[]);
        let first = choose(&host, &[], 7).unwrap();
        assert_eq!((first.base(), first.count()), (1_000_000, COUNT));
        let mut pods = vec![("a".to_owned(), first)];
        let second = choose(&host, &pods, 7).unwrap();
        assert_eq!(second.base(), 1_065_536);
        pods.push(("b".to_owned(), second));
        assert!(choose(&host, &pods, 7).unwrap_err().to_string().contains("none of the 2 ranges"));
        let small = self::host(Some(&[(1_000_000, 1000)]), &[]);
        assert!(choose(&small, &[], 0).unwrap_err().to_string().contains("fewer than 65536"));
    }

    #[test]
    fn a_range_is_the_pods_until_its_directory_is_gone() {
        let data = tempfile::tempdir().unwrap();
        let range = Range::new(700_000, 10).unwrap();
        let (mut pod, _lock) = PodDir::create(data.path()).unwrap();
        assert_eq!(allocate(data.path(), &pod, Wanted::Exactly(range)).unwrap(), range);
        let (other, _other_lock) = PodDir::create(data.path()).unwrap();
        let overlap = Wanted::Exactly(Range::new(700_009, 1).unwrap());
        for place in [Place::Prepared, Place::Run, Place::ExitedGarbage] {
            pod.move_to(place).unwrap();
            assert_eq!(Range::of_pod(&pod.path()).unwrap(), Some(range));
            let refused = allocate(data.path(), &other, overlap).unwrap_err().to_string();
            assert!(refused.contains(pod.uuid()), "{refused}");
        }
        assert_eq!(Range::of_pod(&other.path()).unwrap(), None, "who was refused has none");
        fs::remove_dir_all(pod.path()).unwrap();
        allocate(data.path(), &other, overlap).unwrap();
    }

    /// Ten processes: each one is this test program, run again with the variable set.
    #[test]
    fn ten_processes_at_once_get_ten_ranges() {
        const VARIABLE: &str = "RKT_TEST_ALLOCATE_IN";
        if let Some(data) = std::env::var_os(VARIABLE) {
            let data = Path::new(&data);
            for _ in 0..5 {
                let (pod, _lock) = PodDir::create(data).unwrap();
                allocate_on(&data.join("host"), data, &pod, Wanted::Auto).unwrap();
            }
            return;
        }
        let data = tempfile::tempdir().unwrap();
        // As few as are needed: each is taken, and none twice.
        fs::create_dir_all(data.path().join("host/etc")).unwrap();
        for name in ["subuid", "subgid"] {
            fs::write(data.path().join("host/etc").join(name), format!("rkt:1000000:{}\n", 50 * COUNT))
                .unwrap();
        }
        let this = std::env::current_exe().unwrap();
        let name = "users::allocate::tests::ten_processes_at_once_get_ten_ranges";
        let children: Vec<_> = (0..10)
            .map(|_| {
                std::process::Command::new(&this)
                    .args(["--exact", name])
                    .env(VARIABLE, data.path())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        let mut ranges: Vec<Range> =
            recorded(data.path()).unwrap().into_iter().map(|(_, range)| range).collect();
        ranges.sort_by_key(|range| range.base());
        assert_eq!(ranges.len(), 50);
        assert!(ranges.windows(2).all(|pair| !pair[0].overlaps(pair[1])), "{ranges:?}");
        let (pod, _lock) = PodDir::create(data.path()).unwrap();
        assert!(
            allocate_on(&data.path().join("host"), data.path(), &pod, Wanted::Auto).is_err(),
            "all are taken"
        );
    }
}
