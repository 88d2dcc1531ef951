//! Which pod has which address of a network.
//!
//! A lease is a symbolic link below the data directory, `networks/NETWORK/ADDRESS`, that leads to the pod's UUID: the
//! kernel makes it in one step, and refuses a second one. Who looks for a free address holds the directory's lock.

mod subnet;

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    net::Ipv4Addr,
    os::unix::fs::{DirBuilderExt, symlink},
    path::{Path, PathBuf},
};

use rkt_pod::{Lock, lock::Kind};

pub use subnet::{Subnet4, Subnet6};

use crate::error::{Error, Result, failed};

/// Below the data directory.
const DIRECTORY: &str = "networks";
/// The link that leads to the address that was given last.
const LAST: &str = "last";

/// The leases of one network, locked.
#[derive(Debug)]
pub(crate) struct Leases {
    directory: PathBuf,
    _lock: Lock,
}

impl Leases {
    /// Opens and locks the leases of a network.
    pub(crate) fn lock(data: &Path, network: &str) -> Result<Leases> {
        let directory = data.join(DIRECTORY).join(network);
        let lock = match Lock::wait(&directory, Kind::Exclusive) {
            Err(rkt_pod::Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                let made = fs::DirBuilder::new().recursive(true).mode(0o750).create(&directory);
                made.map_err(failed("make directory", directory.display()))?;
                Lock::wait(&directory, Kind::Exclusive)?
            }
            other => other?,
        };
        Ok(Leases { directory, _lock: lock })
    }

    /// All leases: the pods, by their addresses.
    pub(crate) fn all(&self) -> Result<BTreeMap<Ipv4Addr, String>> {
        list(&self.directory)
    }

    /// Gives `pod` the next free address that `usable` agrees to: the one behind that which was given last, so that an address
    /// rests before it is given again. `None` where there is no such address.
    pub(crate) fn take(
        &self,
        subnet: Subnet4,
        pod: &str,
        mut usable: impl FnMut(Ipv4Addr) -> Result<bool>,
    ) -> Result<Option<Ipv4Addr>> {
        let taken = self.all()?;
        let last = fs::read_link(self.directory.join(LAST)).ok();
        let last = last.and_then(|last| last.to_str()?.parse().ok()).and_then(|last| subnet.number_of(last));
        let count = subnet.hosts();
        let first = last.map_or(0, |last| last + 1);
        for step in 0..count {
            let address = subnet.host((first + step) % count);
            if !taken.contains_key(&address) && usable(address)? {
                self.put(address, pod)?;
                self.remember(address)?;
                return Ok(Some(address));
            }
        }
        Ok(None)
    }

    /// Gives `pod` this very address.
    pub(crate) fn take_this(&self, address: Ipv4Addr, pod: &str) -> Result<()> {
        if let Some(other) = self.all()?.get(&address) {
            return Err(Error::Refused(format!("address {address} is pod {other:?}'s")));
        }
        self.put(address, pod)
    }

    /// Takes back the lease of an address.
    pub(crate) fn remove(&self, address: Ipv4Addr) -> Result<()> {
        remove(&self.directory.join(address.to_string()))
    }

    fn put(&self, address: Ipv4Addr, pod: &str) -> Result<()> {
        let path = self.directory.join(address.to_string());
        symlink(pod, &path).map_err(failed("note the lease", path.display()))
    }

    fn remember(&self, address: Ipv4Addr) -> Result<()> {
        let (new, path) = (self.directory.join("last.tmp"), self.directory.join(LAST));
        remove(&new)?;
        symlink(address.to_string(), &new)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(failed("note the address given last", path.display()))
    }
}

/// Where networks have what they note, each in a directory of its own.
pub(crate) fn directory(data: &Path) -> PathBuf {
    data.join(DIRECTORY)
}

/// Names of the networks that have noted something.
pub(crate) fn networks(data: &Path) -> Result<Vec<String>> {
    let directory = directory(data);
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed("list", directory.display()))?,
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

/// The leases of a network, as they are now.
pub(crate) fn of_network(data: &Path, network: &str) -> Result<BTreeMap<Ipv4Addr, String>> {
    list(&data.join(DIRECTORY).join(network))
}

/// Takes back all leases of a pod. A lease is its pod's to give back, so no lock is needed.
pub(crate) fn release(data: &Path, pod: &str) -> Result<()> {
    for network in networks(data)? {
        let directory = data.join(DIRECTORY).join(network);
        for address in list(&directory)?.into_iter().filter(|(_, holder)| holder == pod).map(|(ip, _)| ip) {
            remove(&directory.join(address.to_string()))?;
        }
    }
    Ok(())
}

fn list(directory: &Path) -> Result<BTreeMap<Ipv4Addr, String>> {
    let mut found = BTreeMap::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
        other => other.map_err(failed("list", directory.display()))?,
    };
    for entry in entries {
        let entry = entry.map_err(failed("list", directory.display()))?;
        let Some(address) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have been given back since.
        if let Ok(pod) = fs::read_link(entry.path()) {
            found.insert(address, pod.to_string_lossy().into_owned());
        }
    }
    Ok(found)
}

pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", path.display())(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0a000000-0000-4000-8000-000000000001";
    const TWO: &str = "0a000000-0000-4000-8000-000000000002";

    fn take(data: &Path, subnet: &str, pod: &str) -> Option<String> {
        let leases = Leases::lock(data, "a").unwrap();
        let taken = leases.take(subnet.parse().unwrap(), pod, |_| Ok(true)).unwrap();
        taken.map(|address| address.to_string())
    }

    #[test]
    fn addresses_go_round() {
        let data = tempfile::tempdir().unwrap();
        let next = |pod| take(data.path(), "10.0.0.0/29", pod);
        for want in 2..=4 {
            assert_eq!(next(ONE), Some(format!("10.0.0.{want}")));
        }
        release(data.path(), ONE).unwrap();
        assert_eq!(next(TWO).as_deref(), Some("10.0.0.5"), "what was given back rests");
        assert_eq!(next(TWO).as_deref(), Some("10.0.0.6"));
        assert_eq!(next(TWO).as_deref(), Some("10.0.0.2"));
        assert_eq!(next(TWO).as_deref(), Some("10.0.0.3"));
        assert_eq!(next(TWO).as_deref(), Some("10.0.0.4"));
        assert_eq!(next(TWO), None, "the first is the gateway's, the last is broadcast's");
        assert_eq!(of_network(data.path(), "a").unwrap().len(), 5);
    }

    #[test]
    fn an_address_can_be_wished_for_and_avoided() {
        let data = tempfile::tempdir().unwrap();
        let leases = Leases::lock(data.path(), "a").unwrap();
        let third: Ipv4Addr = "10.0.0.3".parse().unwrap();
        leases.take_this(third, ONE).unwrap();
        assert!(leases.take_this(third, TWO).unwrap_err().to_string().contains(ONE));
        let subnet = "10.0.0.0/29".parse().unwrap();
        let taken = leases.take(subnet, TWO, |address| Ok(address.octets()[3] > 4)).unwrap();
        assert_eq!(taken, Some("10.0.0.5".parse().unwrap()));
        leases.remove(third).unwrap();
        leases.remove(third).unwrap();
        leases.take_this(third, TWO).unwrap();
    }

    /// Ten processes: each one is this test program, run again with the variable set.
    #[test]
    fn ten_processes_at_once_get_fifty_addresses() {
        const VARIABLE: &str = "RKT_TEST_LEASE_IN";
        if let Some(data) = std::env::var_os(VARIABLE) {
            for _ in 0..5 {
                take(Path::new(&data), "10.0.0.0/26", &format!("{}", std::process::id())).unwrap();
            }
            return;
        }
        let data = tempfile::tempdir().unwrap();
        let this = std::env::current_exe().unwrap();
        let name = "lease::tests::ten_processes_at_once_get_fifty_addresses";
        let start = || {
            std::process::Command::new(&this)
                .args(["--exact", name])
                .env(VARIABLE, data.path())
                .spawn()
                .unwrap()
        };
        let children: Vec<_> = (0..10).map(|_| start()).collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        assert_eq!(of_network(data.path(), "a").unwrap().len(), 50);
    }
}
