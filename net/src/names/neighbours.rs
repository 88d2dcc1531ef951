//! How pods of one network find each other: by lines in the `/etc/hosts` of their apps.
//!
//! `networks/NETWORK/names/UUID` below the data directory says by what names a pod is found at what addresses, as lines of
//! such a file; it is empty for a pod that has no name. Who comes or goes writes all such lines into the file [`FILE`] in
//! the directory of each pod of the network, which the pod's apps have as `/etc/hosts`, and holds the directory's lock
//! meanwhile. Apps have it mounted: it keeps its inode, and is written in place.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{ErrorKind, Read},
    os::unix::fs::{DirBuilderExt, FileExt},
    path::{Path, PathBuf},
};

use rkt_pod::{Lock, Place as Where, directory::write_atomically, layout, lock::Kind, lookup};
use rustix::fs::{Mode, OFlags};

use crate::{
    NetInfo, Place,
    error::{Result, failed},
    lease,
};

/// What the pod's apps have as `/etc/hosts`, in the pod's directory.
pub const FILE: &str = "hosts";
/// In the directory of a network.
const NAMES: &str = "names";
/// What stands before the lines of a network.
const HEADING: &str = "# Pods of network ";

/// Has a pod found by `names` in its networks, and writes its [`FILE`]: `base`, and the others' names.
///
/// # Errors
/// Where something cannot be written.
pub fn introduce(place: Place<'_>, networks: &[NetInfo], names: &[String], base: &str) -> Result<()> {
    let path = place.pod.join(FILE);
    let made = fs::write(&path, base).and_then(|()| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))
    });
    made.map_err(failed("write", path.display()))?;
    for network in networks {
        let known = Known::lock(place.data, &network.net_name)?;
        known.put(place.uuid, &lines(network, names))?;
        if names.is_empty() {
            rewrite(&path, &network.net_name, &known.all()?)?;
        } else {
            known.tell()?;
        }
    }
    Ok(())
}

/// Has a pod found no more, wherever it was.
///
/// # Errors
/// Where something cannot be written.
pub(crate) fn forget(data: &Path, uuid: &str) -> Result<()> {
    for network in lease::networks(data)? {
        let path = directory(data, &network).join(uuid);
        let Ok(before) = fs::metadata(&path) else { continue };
        let known = Known::lock(data, &network)?;
        lease::remove(&path)?;
        if before.len() > 0 {
            known.tell()?;
        }
    }
    Ok(())
}

/// Forgets pods that are gone without a trace. Returns their UUIDs.
pub(crate) fn forget_unknown(data: &Path) -> Result<Vec<String>> {
    let mut forgotten = Vec::new();
    for network in lease::networks(data)? {
        for uuid in entries(&directory(data, &network))? {
            if lookup::by_uuid(data, &uuid).is_none() {
                forget(data, &uuid)?;
                forgotten.push(uuid);
            }
        }
    }
    Ok(forgotten)
}

/// How a pod is found in a network.
fn lines(network: &NetInfo, names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let addresses = std::iter::once(&network.ip).chain(&network.ip6).filter(|address| !address.is_empty());
    addresses.map(|address| format!("{address} {}\n", names.join(" "))).collect()
}

/// What is known of the pods of a network, locked.
struct Known<'a> {
    data: &'a Path,
    network: &'a str,
    directory: PathBuf,
    _lock: Lock,
}

impl<'a> Known<'a> {
    fn lock(data: &'a Path, network: &'a str) -> Result<Known<'a>> {
        let directory = directory(data, network);
        let made = fs::DirBuilder::new().recursive(true).mode(0o750).create(&directory);
        made.map_err(failed("make directory", directory.display()))?;
        let lock = Lock::wait(&directory, Kind::Exclusive)?;
        Ok(Known { data, network, directory, _lock: lock })
    }

    fn put(&self, uuid: &str, lines: &str) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&self.directory, flags, Mode::empty())
            .and_then(|directory| write_atomically(directory, Path::new(uuid), lines.as_bytes(), 0o640))
            .map_err(failed("write", self.directory.join(uuid).display()))
    }

    /// The lines of all pods that have not ended.
    fn all(&self) -> Result<String> {
        let mut all = String::new();
        for uuid in entries(&self.directory)? {
            let text = fs::read_to_string(self.directory.join(&uuid)).unwrap_or_default();
            if !text.is_empty() && self.of(&uuid).exists() {
                all += &text;
            }
        }
        Ok(all)
    }

    /// Writes the lines of all pods into the files of all.
    fn tell(&self) -> Result<()> {
        let all = self.all()?;
        for uuid in entries(&self.directory)? {
            rewrite(&self.of(&uuid), self.network, &all)?;
        }
        Ok(())
    }

    fn of(&self, uuid: &str) -> PathBuf {
        self.data.join(layout::PODS).join(Where::Run.directory()).join(uuid).join(FILE)
    }
}

fn directory(data: &Path, network: &str) -> PathBuf {
    lease::directory(data).join(network).join(NAMES)
}

/// The UUIDs of the pods of a network.
fn entries(directory: &Path) -> Result<Vec<String>> {
    let read = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed("list", directory.display()))?,
    };
    let names = read.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<String> = names.filter(|name| !name.ends_with(".tmp")).collect();
    found.sort();
    Ok(found)
}

/// Writes the lines of a network into a pod's file. A pod that has none, or has just ended, is fine.
fn rewrite(path: &Path, network: &str, lines: &str) -> Result<()> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut file = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        other => File::from(other.map_err(failed("open", path.display()))?),
    };
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed("read", path.display()))?;
    let new = with_section(&text, network, lines);
    if new == text {
        return Ok(());
    }
    // Whoever reads it meanwhile finds empty lines rather than the end of what stood there before.
    let padding = "\n".repeat(text.len().saturating_sub(new.len()));
    file.write_all_at((new.clone() + &padding).as_bytes(), 0)
        .and_then(|()| file.set_len(new.len() as u64))
        .map_err(failed("write", path.display()))
}

/// The text with these lines of a network in place of those that it had.
fn with_section(text: &str, network: &str, lines: &str) -> String {
    let (base, rest) = text.split_at(text.find(HEADING).unwrap_or(text.len()));
    let mut sections: BTreeMap<&str, &str> =
        rest.split(HEADING).filter_map(|section| section.trim_end().split_once('\n')).collect();
    if lines.is_empty() {
        sections.remove(network);
    } else {
        sections.insert(network, lines.trim_end());
    }
    let sections = sections.iter().map(|(network, lines)| format!("{HEADING}{network}\n{lines}\n"));
    std::iter::once(base.to_owned()).chain(sections).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_the_place_of_the_one_before() {
        let base = "127.0.0.1 localhost\n";
        let one = with_section(base, "one", "192.0.2.1 a\n");
        assert_eq!(one, "127.0.0.1 localhost\n# Pods of network one\n192.0.2.1 a\n");
        let both = with_section(&one, "on", "192.0.2.2 b\n192.0.2.3 c\n");
        let want = "127.0.0.1 localhost\n# Pods of network on\n192.0.2.2 b\n192.0.2.3 c\n# Pods of network one\n192.0.2.1 a\n";
        assert_eq!(both, want);
        // As somebody leaves it who was killed while writing.
        assert_eq!(with_section(&(both.clone() + "\n\n"), "one", "192.0.2.1 a\n"), both);
        assert_eq!(with_section(&with_section(&both, "one", ""), "on", ""), base);
    }

    #[test]
    fn pods_come_and_go() {
        let data = tempfile::tempdir().unwrap();
        let file = |uuid: &str| data.path().join("pods/run").join(uuid).join(FILE);
        let start = |uuid: &str, ip: &str, names: &[&str]| {
            let pod = data.path().join("pods/run").join(uuid);
            fs::create_dir_all(&pod).unwrap();
            let info = NetInfo { net_name: "n".to_owned(), ip: ip.to_owned(), ..NetInfo::default() };
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            introduce(Place { data: data.path(), pod: &pod, uuid }, &[info], &names, "base\n").unwrap();
        };
        start("u1", "192.0.2.1", &[]);
        start("u2", "192.0.2.2", &["db", "app.db"]);
        let want = "base\n# Pods of network n\n192.0.2.2 db app.db\n";
        assert_eq!(fs::read_to_string(file("u1")).unwrap(), want);
        assert_eq!(fs::read_to_string(file("u2")).unwrap(), want);
        start("u3", "192.0.2.3", &[]);
        assert_eq!(fs::read_to_string(file("u3")).unwrap(), want);
        forget(data.path(), "u2").unwrap();
        forget(data.path(), "u2").unwrap();
        assert_eq!(fs::read_to_string(file("u1")).unwrap(), "base\n");
        // Its directory went with all that was in it.
        start("u4", "192.0.2.4", &["gone"]);
        fs::remove_dir_all(data.path().join("pods/run/u4")).unwrap();
        assert_eq!(forget_unknown(data.path()).unwrap(), ["u4"]);
        assert_eq!(fs::read_to_string(file("u1")).unwrap().trim_end(), "base");
    }
}
