//! Names that users give to pods. A pod's name stands in its directory, and is its own as long as it lives: until it has
//! exited, or was removed without having run.

use std::{fs, io::ErrorKind, path::Path};

use crate::{
    directory::{PodDir, write_atomically},
    error::{Error, Result, io_error},
    layout,
    lock::Lock,
    lookup,
    state::{Place, State},
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
    for other in lookup::all(data, &Place::ALL)? {
        if other.uuid() != pod.uuid() && of(&other).as_deref() == Some(name) && lives(&other) {
            return Err(Error::Name(format!("{name:?} is the name of pod {:?}", other.uuid())));
        }
    }
    let path = pod.path();
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let directory =
        rustix::fs::open(&path, flags, rustix::fs::Mode::empty()).map_err(io_error("open", &path))?;
    write_atomically(directory, Path::new(layout::POD_NAME), name.as_bytes(), 0o640)
        .map_err(io_error("note the name of", &path))
}

/// The pod's name, where it has one that can be read.
pub fn of(pod: &PodDir) -> Option<String> {
    match fs::read_to_string(pod.path().join(layout::POD_NAME)) {
        Ok(name) => check(name.trim()).ok().map(|()| name.trim().to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(_) => None,
    }
}

/// Whether a pod has not ended.
pub fn lives(pod: &PodDir) -> bool {
    matches!(pod.state(), Ok(State::Embryo | State::Preparing | State::Prepared | State::Running))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
