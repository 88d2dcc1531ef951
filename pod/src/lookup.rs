//! Finding pods: all of them, or the one that a user means.

use std::path::Path;

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, RawDir},
    io::Errno,
};

use crate::{
    directory::PodDir,
    error::{Error, Result, io_error},
    layout, names,
    state::Place,
};

/// All pods in `places`, ordered by UUID. Whatever else lies in those directories is passed over: only names that are
/// UUIDs are pods. A pod that moves on meanwhile is listed once, where it was seen last.
///
/// # Errors
/// Where a place exists and cannot be read.
pub fn all(data: &Path, places: &[Place]) -> Result<Vec<PodDir>> {
    beginning(data, places, "")
}

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// How much of a directory is read at once, in bytes: a thousand pods.
const BUFFER: usize = 64 * 1024;

fn beginning(data: &Path, places: &[Place], prefix: &str) -> Result<Vec<PodDir>> {
    let mut pods: Vec<PodDir> = Vec::new();
    let mut buffer = Vec::with_capacity(BUFFER);
    for &place in places {
        let directory = data.join(layout::PODS).join(place.directory());
        let opened = match rustix::fs::open(&directory, OPEN, Mode::empty()) {
            Ok(opened) => opened,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(io_error("list", &directory)(errno)),
        };
        let mut entries = RawDir::new(&opened, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(io_error("list", &directory))?;
            let is_directory = || match entry.file_type() {
                // Some file systems do not tell.
                FileType::Unknown => {
                    rustix::fs::statat(&opened, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
                }
                kind => kind == FileType::Directory,
            };
            if let Ok(name) = entry.file_name().to_str()
                && name.starts_with(prefix)
                && is_uuid(name)
                && is_directory()
            {
                pods.push(PodDir::new(data, place, name));
            }
        }
    }
    pods.sort_by(|a, b| a.uuid().cmp(b.uuid()).then(b.place().cmp(&a.place())));
    pods.dedup_by(|later, earlier| later.uuid() == earlier.uuid());
    Ok(pods)
}

/// The pod whose UUID starts with `prefix` (case does not matter), or whose name it is, among those that users see.
///
/// # Errors
/// [`Error::EmptyUuid`], [`Error::NoMatch`], [`Error::Ambiguous`], or where the directories cannot be read.
pub fn by_prefix(data: &Path, prefix: &str) -> Result<PodDir> {
    let wanted = prefix.to_ascii_lowercase();
    if wanted.is_empty() {
        return Err(Error::EmptyUuid);
    }
    if is_uuid(&wanted)
        && let Some(pod) = by_uuid(data, &wanted)
        && Place::VISIBLE.contains(&pod.place())
    {
        return Ok(pod);
    }
    let mut matching = beginning(data, &Place::VISIBLE, &wanted)?;
    if names::check(prefix).is_ok() {
        let mut named = names::holders(data, prefix)?;
        named.retain(|pod| Place::VISIBLE.contains(&pod.place()) && !pod.uuid().starts_with(&wanted));
        // A name that is given again means the pod that has it now.
        if let Some(living) = named.iter().position(names::lives) {
            named = vec![named.swap_remove(living)];
        }
        matching.append(&mut named);
    }
    match matching.len() {
        0 => Err(Error::NoMatch(prefix.to_owned())),
        1 => Ok(matching.remove(0)),
        _ => {
            let matches = matching.iter().map(|pod| pod.uuid().to_owned()).collect();
            Err(Error::Ambiguous { prefix: prefix.to_owned(), matches })
        }
    }
}

/// The pod with this whole UUID, in any place. Looked for in the order in which pods move, twice: a pod that moves on
/// while we look is found by the second pass.
pub fn by_uuid(data: &Path, uuid: &str) -> Option<PodDir> {
    let find =
        || Place::ALL.map(|place| PodDir::new(data, place, uuid)).into_iter().find(|pod| pod.path().is_dir());
    find().or_else(find)
}

/// Whether `name` is a UUID as rkt writes them: lower case hexadecimal digits, 8-4-4-4-12.
pub fn is_uuid(name: &str) -> bool {
    name.len() == 36
        && name.bytes().enumerate().all(|(i, byte)| match i {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn prefixes_name_one_pod_or_none() {
        let data = tempfile::tempdir().unwrap();
        PodDir::make_places(data.path()).unwrap();
        let a = PodDir::new(data.path(), Place::Run, "0a000000-0000-4000-8000-000000000001");
        let b = PodDir::new(data.path(), Place::Prepared, "0a000000-0000-4000-8000-000000000002");
        for pod in [&a, &b] {
            fs::create_dir(pod.path()).unwrap();
        }
        fs::create_dir(data.path().join("pods/run/not-a-pod")).unwrap();
        assert_eq!(all(data.path(), &Place::VISIBLE).unwrap(), [a.clone(), b]);
        assert_eq!(by_prefix(data.path(), "0A000000-0000-4000-8000-000000000001").unwrap(), a);
        assert!(
            matches!(by_prefix(data.path(), "0a"), Err(Error::Ambiguous { matches, .. }) if matches.len() == 2)
        );
        assert!(matches!(by_prefix(data.path(), "not"), Err(Error::NoMatch(_))));
        assert!(matches!(by_prefix(data.path(), ""), Err(Error::EmptyUuid)));
    }
}
