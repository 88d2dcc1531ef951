//! The pod's user namespace: its maps, and mounts that show owners as it has them.

use std::{
    cell::RefCell,
    os::fd::{AsFd, OwnedFd},
};

use anyhow::{Context, Result, anyhow};
use rkt_pod::users::Range;
use rustix::{
    fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags},
    io::{self, Errno},
    process::Pid,
};

use crate::{
    init,
    sys::{self, CloneSpec, Namespaces},
};

const PROC_MAGIC: i64 = 0x9fa0;

/// The number of procfs's root directory.
const PROC_ROOT: u64 = 1;

/// Opens the directory of one of our children in procfs, and makes sure that it is one: whatever else may be at that path
/// is refused.
fn process(pid: Pid) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let proc = rustix::fs::open("/proc", flags, Mode::empty())?;
    let is_procfs = rustix::fs::fstatfs(&proc)?.f_type == PROC_MAGIC;
    if !is_procfs || rustix::fs::fstat(&proc)?.st_ino != PROC_ROOT {
        return Err(Errno::NOSYS);
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(proc, pid.as_raw_nonzero().to_string(), flags, Mode::empty(), resolve)
}

/// Maps the users and groups of a child's new user namespace to those of the host.
pub(crate) fn map(pid: Pid, range: Range) -> io::Result<()> {
    let map = format!("0 {} {}\n", range.base(), range.count());
    write_maps(pid, &map, &map)
}

fn write_maps(pid: Pid, users: &str, groups: &str) -> io::Result<()> {
    let process = process(pid)?;
    for (name, map) in [("uid_map", users), ("gid_map", groups)] {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        let file =
            rustix::fs::openat2(&process, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve)?;
        // The kernel takes a map whole or not at all.
        io::write(file, map.as_bytes())?;
    }
    Ok(())
}

/// A user namespace for mounts that show what is `uid`'s and `gid`'s on the host as the root's of a pod with this range,
/// or of one without, and all else but the host's root's as ever.
pub(crate) fn with_root(range: Option<Range>, uid: u32, gid: u32) -> Result<OwnedFd> {
    let (base, count) = range.map_or((0, u32::MAX - 1), |range| (range.base(), range.count()));
    let (users, groups) = (root_map(base, count, uid), root_map(base, count, gid));
    let made = RefCell::new(None);
    let take = |pid| {
        write_maps(pid, &users, &groups)?;
        *made.borrow_mut() = Some(namespace(pid));
        // The process is of no further use.
        Err(Errno::CANCELED)
    };
    let nothing = init::open_null()?;
    let spawned = sys::spawn(&CloneSpec {
        program: nothing.as_fd(),
        argv: &[],
        environment: &[],
        descriptors: &[],
        namespaces: Namespaces::default().user(),
        cgroup: None,
        map_users: Some(&take),
    });
    match (made.into_inner(), spawned) {
        (Some(namespace), _) => namespace,
        (None, Err(errno)) => Err(errno).context("make a user namespace for a volume"),
        (None, Ok(_)) => Err(anyhow!("make a user namespace for a volume: no process waited")),
    }
}

/// The map by which the host's `id` is a pod's first user, and the others are who they are without.
fn root_map(base: u32, count: u32, id: u32) -> String {
    if id == 0 {
        return format!("0 {base} {count}\n");
    }
    let mut map = format!("{id} {base} 1\n");
    let below = id.min(count) - 1;
    if below > 0 {
        map.push_str(&format!("1 {} {below}\n", base + 1));
    }
    if let Some(above) = count.checked_sub(id + 1).filter(|above| *above > 0) {
        map.push_str(&format!("{} {} {above}\n", id + 1, base + id + 1));
    }
    map
}

/// The user namespace of a child.
pub(crate) fn namespace(pid: Pid) -> Result<OwnedFd> {
    let open = || {
        let process = process(pid)?;
        rustix::fs::openat(process, "ns/user", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    };
    open().context("open the pod's user namespace")
}

/// Has a detached mount show owners as the pod has them.
pub(crate) fn map_owners(mount: &OwnedFd, namespace: &OwnedFd) -> Result<()> {
    match sys::map_owners(mount, namespace) {
        Ok(()) => Ok(()),
        Err(errno @ (Errno::INVAL | Errno::OPNOTSUPP)) => {
            let kind = filesystem(mount).unwrap_or_else(|| "its file system".to_owned());
            Err(anyhow!(
                "{kind}, or one that is mounted below, cannot be mounted with mapped owners ({}), \
                 which --private-users needs",
                std::io::Error::from(errno)
            ))
        }
        Err(errno) => Err(errno).context("map its owners"),
    }
}

/// The kind of file system that a detached mount is of: that of any other mount of the same one.
fn filesystem(mount: &OwnedFd) -> Option<String> {
    let stat = rustix::fs::statx(mount, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).ok()?;
    let device = format!("{}:{}", stat.stx_dev_major, stat.stx_dev_minor);
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = table.lines().find(|line| line.split(' ').nth(2) == Some(&device))?;
    line.split(" - ").nth(1)?.split(' ').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_of_the_host_takes_the_place_of_the_pods_root() {
        for (base, count, id, map) in [
            (1000, 10, 0, "0 1000 10\n"),
            (1000, 10, 1, "1 1000 1\n2 1002 8\n"),
            (1000, 10, 5, "5 1000 1\n1 1001 4\n6 1006 4\n"),
            (1000, 10, 9, "9 1000 1\n1 1001 8\n"),
            (1000, 10, 10, "10 1000 1\n1 1001 9\n"),
            (1000, 10, 77, "77 1000 1\n1 1001 9\n"),
            (1000, 1, 77, "77 1000 1\n"),
            (0, u32::MAX - 1, u32::MAX - 1, "4294967294 0 1\n1 1 4294967293\n"),
        ] {
            assert_eq!(root_map(base, count, id), map, "{base}:{count}, {id}");
        }
    }
}
