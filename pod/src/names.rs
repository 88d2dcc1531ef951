//! Names that users give to pods. A pod's name stands in its directory, and is its own as long as it lives: until it has
//! exited, or was removed without having run. Who has which name is noted beside the pods too, before the name is: nobody
//! has to open thousands of pods to find one.

use std::{collections::HashSet, fs, io::ErrorKind, os::unix::fs::DirBuilderExt, path::Path};

use crate::{
    directory::{PodDir, write_atomically},
    error::{Error, Result, io_error, std_error},
    layout,
    lock::Lock,
    lookup,
    state::State,
    view::View,
};

/// What systemd-machined takes as the name of a machine.
const LONGEST: usize = 64;

/// Refuses what is no name: it is a host name's label, and no UUID.
///
/// # Errors
/// [`Error::Name`].
pub fn check(name: &str) -> Result<()> {
    let wrong = |problem: &str| Err(Error::Name(format!("{name:?} {problem}")));
    if name.is_empty() || name.len() > LONGEST {
        return wrong("must have 1 to 64 characters");
    }
    let letters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !letters || name.starts_with('-') || name.ends_with('-') {
        return wrong(
            "must have lower case letters, digits and dashes, and neither begin nor end with a dash",
        );
    }
    if lookup::is_uuid(name) || name.strip_prefix("rkt-").is_some_and(lookup::is_uuid) {
        return wrong("is the UUID of a pod");
    }
    Ok(())
}

/// Gives a pod its name. The caller holds the pod's lock, or nobody else knows it yet.
///
/// # Errors
/// [`Error::Name`] where it is none, or another living pod's.
pub fn take(data: &Path, pod: &PodDir, name: &str) -> Result<()> {
    check(name)?;
    let _lock = Lock::of_directory(data, layout::NAMES_LOCK)?;
    for other in holders(data, name)? {
        if other.uuid() != pod.uuid() && lives(&other) {
            return Err(Error::Name(format!("{name:?} is the name of pod {:?}", other.uuid())));
        }
    }
    let noted = data.join(layout::NAMES).join(name);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(&noted)
        .map_err(std_error("make directory", &noted))?;
    let noted = noted.join(pod.uuid());
    fs::write(&noted, "").map_err(std_error("write", &noted))?;
    let path = pod.path();
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let directory =
        rustix::fs::open(&path, flags, rustix::fs::Mode::empty()).map_err(io_error("open", &path))?;
    write_atomically(directory, Path::new(layout::POD_NAME), name.as_bytes(), 0o640)
        .map_err(io_error("note the name of", &path))
}

/// The pods that have a name, dead ones too.
///
/// # Errors
/// Where the notes cannot be read.
pub fn holders(data: &Path, name: &str) -> Result<Vec<PodDir>> {
    let uuids = list(&data.join(layout::NAMES).join(name))?;
    let pods =
        uuids.iter().filter(|uuid| lookup::is_uuid(uuid)).filter_map(|uuid| lookup::by_uuid(data, uuid));
    Ok(pods.filter(|pod| of(pod).as_deref() == Some(name)).collect())
}

/// The UUIDs of the pods that may have names.
///
/// # Errors
/// Where the notes cannot be read.
pub fn noted(data: &Path) -> Result<HashSet<String>> {
    let names = data.join(layout::NAMES);
    let mut uuids = HashSet::new();
    for name in list(&names)? {
        uuids.extend(list(&names.join(name))?);
    }
    Ok(uuids)
}

/// Takes away the notes of pods that are gone.
///
/// # Errors
/// Where the notes cannot be read or removed.
pub fn sweep(data: &Path) -> Result<()> {
    let names = data.join(layout::NAMES);
    let all = list(&names)?;
    if all.is_empty() {
        return Ok(());
    }
    let _lock = Lock::of_directory(data, layout::NAMES_LOCK)?;
    for name in all {
        let noted = names.join(name);
        for uuid in list(&noted)? {
            if lookup::is_uuid(&uuid) && lookup::by_uuid(data, &uuid).is_none() {
                let path = noted.join(uuid);
                fs::remove_file(&path).map_err(std_error("remove", &path))?;
            }
        }
        match fs::remove_dir(&noted) {
            Err(error) if error.kind() != ErrorKind::DirectoryNotEmpty => {
                return Err(std_error("remove", &noted)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What is in a directory; nothing where there is none.
fn list(directory: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(std_error("list", directory)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(std_error("list", directory))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

/// The pod's name, where it has one that can be read.
pub fn of(pod: &PodDir) -> Option<String> {
    read(&fs::read(pod.path().join(layout::POD_NAME)).ok()?)
}

/// As [`of`], for a pod that is open.
pub fn in_view(view: &View) -> Option<String> {
    read(&view.read(layout::POD_NAME).ok()?)
}

fn read(content: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(content).ok()?.trim();
    check(name).ok().map(|()| name.to_owned())
}

/// Whether a pod has not ended.
pub fn lives(pod: &PodDir) -> bool {
    matches!(pod.state(), Ok(State::Embryo | State::Preparing | State::Prepared | State::Running))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Place;

    #[test]
    fn a_name_is_a_label_and_no_uuid() {
        for name in ["web", "a", "0", "web-1", &"x".repeat(64)] {
            check(name).unwrap();
        }
        let uuid = "0a000000-0000-4000-8000-000000000001";
        let machine = format!("rkt-{uuid}");
        for name in ["", "Web", "-a", "a-", "a.b", "a_b", "a/b", "ü", uuid, &machine, &"x".repeat(65)] {
            assert!(check(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_name_is_free_when_its_pod_has_ended() {
        let data = tempfile::tempdir().unwrap();
        PodDir::make_places(data.path()).unwrap();
        let pod = |number: u32, place| {
            let pod =
                PodDir::new(data.path(), place, &format!("0a000000-0000-4000-8000-00000000000{number}"));
            fs::create_dir(pod.path()).unwrap();
            pod
        };
        let (prepared, exited, new) = (pod(1, Place::Prepared), pod(2, Place::Run), pod(3, Place::Prepare));
        take(data.path(), &exited, "web").unwrap();
        take(data.path(), &prepared, "web").unwrap();
        assert!(take(data.path(), &new, "web").unwrap_err().to_string().contains(prepared.uuid()));
        assert_eq!(of(&prepared).as_deref(), Some("web"));
        // The living one is meant; UUIDs by their beginnings, as ever.
        assert_eq!(lookup::by_prefix(data.path(), "web").unwrap(), prepared);
        assert_eq!(lookup::by_prefix(data.path(), exited.uuid()).unwrap(), exited);
        take(data.path(), &new, "0a00").unwrap();
        let both = lookup::by_prefix(data.path(), "0a00").unwrap_err().to_string();
        assert!(both.contains(prepared.uuid()) && both.contains(new.uuid()), "{both}");
        // What is noted of pods that are gone goes, and nothing else.
        assert_eq!(noted(data.path()).unwrap().len(), 3);
        fs::remove_dir_all(new.path()).unwrap();
        fs::remove_dir_all(exited.path()).unwrap();
        sweep(data.path()).unwrap();
        assert_eq!(noted(data.path()).unwrap(), HashSet::from([prepared.uuid().to_owned()]));
        assert!(!data.path().join("names/0a00").exists());
    }
}
