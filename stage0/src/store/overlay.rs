//! Whether pods can have overlays in a data directory.

use std::{
    fs,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags},
    mount::{FsOpenFlags, fsconfig_create, fsconfig_set_string, fsopen},
};

use super::workspace::Workspace;

// The magic numbers of file systems on which overlays are always possible (statfs(2)).
const EXT: i64 = 0xef53;
const BTRFS: i64 = 0x9123_683e;
const TMPFS: i64 = 0x0102_1994;

/// Whether pods in this data directory can have overlays, or why not. One look at the kind of file system tells mostly;
/// whether others can hold an overlay (xfs without file types, NFS, another overlay) is tried out.
pub(crate) fn overlay_supported(data: &Path) -> Result<(), String> {
    match rustix::fs::statfs(data).map(|fs| fs.f_type) {
        Ok(EXT | BTRFS | TMPFS) => available(),
        _ => available().and_then(|()| if is_known(data) { Ok(()) } else { probe(data) }),
    }
}

/// Where it is noted that the file system can hold overlays, so that it is tried out once: the device's number.
fn note_path(data: &Path) -> PathBuf {
    data.join(rkt_pod::layout::STORE).join("overlay")
}

fn device(data: &Path) -> Option<String> {
    Some(fs::metadata(data).ok()?.dev().to_string())
}

fn is_known(data: &Path) -> bool {
    device(data).is_some_and(|device| fs::read_to_string(note_path(data)).is_ok_and(|known| known == device))
}

/// Whether the kernel has overlays at all.
fn available() -> Result<(), String> {
    let filesystems = fs::read_to_string("/proc/filesystems").map_err(|error| error.to_string())?;
    if filesystems.lines().any(|line| line.split_whitespace().last() == Some("overlay"))
        || Path::new("/sys/module/overlay").exists()
    {
        return Ok(());
    }
    Err("the kernel has no overlay file system (try: modprobe overlay)".to_owned())
}

/// Makes an overlay as a pod's would be, and mounts it nowhere.
fn probe(data: &Path) -> Result<(), String> {
    let workspace = Workspace::new(&data.join(rkt_pod::layout::STORE)).map_err(|error| error.to_string())?;
    let make = |name: &str| -> rustix::io::Result<OwnedFd> {
        let path = workspace.path().join(name);
        rustix::fs::mkdirat(CWD, &path, Mode::from_raw_mode(0o700))?;
        rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    };
    let mount = || -> rustix::io::Result<()> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let mut kept = Vec::new();
        for (key, name) in [("lowerdir", "lower"), ("upperdir", "upper"), ("workdir", "work")] {
            let directory = make(name)?;
            fsconfig_set_string(&context, key, format!("/proc/self/fd/{}", directory.as_raw_fd()))?;
            kept.push(directory);
        }
        fsconfig_create(&context)
    };
    let result = mount();
    if result.is_ok()
        && let Some(device) = device(data)
        && fs::write(note_path(data), device).is_err()
    {
        // It is tried out again, then.
    }
    result.map_err(|errno| {
        let text = std::io::Error::from(errno).to_string();
        let words = text.split(" (os error").next().unwrap_or_default();
        format!("{} is on a file system that cannot hold overlays ({words})", data.display())
    })
}
