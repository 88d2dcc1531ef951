//! Overlays as detached mounts.

use std::{
    fmt::Write as _,
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
        fsmount, fsopen,
    },
};

/// Bytes of one option's value (fsconfig(2)).
const VALUE: usize = 255;

/// How the kernel is told the lower layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lower {
    /// Each in an option of its own (Linux 6.8).
    Each,
    /// All in one, by the numbers of their descriptors: with longer names most would not fit.
    Numbers,
}

/// The upper layer, and the directory that the kernel wants beside it.
pub type Upper<'a> = (&'a OwnedFd, &'a OwnedFd);

/// Mounts an overlay over `lower`, whose lowest layer comes first. Without an upper layer it can only be read; then there
/// are at least two.
///
/// # Errors
/// What the kernel says, or where it cannot stack so many.
pub fn mount(lower: &[OwnedFd], upper: Option<Upper<'_>>) -> io::Result<OwnedFd> {
    match with(lower, upper, Lower::Each) {
        // Before Linux 6.8 the layers are in one option; before 6.5 one that there is not is noticed last.
        Err(Errno::INVAL) if lower.len() > 1 => {
            if number_list(lower).len() > VALUE {
                let text =
                    format!("{} layers are more than this kernel stacks; use --no-overlay", lower.len());
                return Err(io::Error::other(text));
            }
            among_descriptors(lower, upper)
        }
        other => Ok(other?),
    }
}

/// Mounts from the directory whose files have the shortest names: the numbers of our descriptors. No thread is made for it: a
/// process whose children are born in another PID namespace cannot have one, and none that we have uses relative paths.
fn among_descriptors(lower: &[OwnedFd], upper: Option<Upper<'_>>) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let own = rustix::fs::open(".", flags, Mode::empty())?;
    rustix::process::chdir("/proc/self/fd")?;
    let mounted = with(lower, upper, Lower::Numbers);
    rustix::process::fchdir(own)?;
    Ok(mounted?)
}

fn with(lower: &[OwnedFd], upper: Option<Upper<'_>>, how: Lower) -> rustix::io::Result<OwnedFd> {
    // A volatile overlay is not synced when it is unmounted: a pod's changes are of no use after a power cut, and
    // the sync would make each pod's end wait for the disk.
    match build(lower, upper, how, true) {
        Err(Errno::INVAL) => build(lower, upper, how, false),
        result => result,
    }
}

fn build(
    lower: &[OwnedFd],
    upper: Option<Upper<'_>>,
    how: Lower,
    volatile: bool,
) -> rustix::io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", "rkt")?;
    // Through our descriptors the kernel takes what was checked, and no character of a path needs escaping.
    let path = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    match (lower, how) {
        ([only], _) => fsconfig_set_string(&context, "lowerdir", path(only))?,
        (_, Lower::Each) => {
            for layer in lower.iter().rev() {
                fsconfig_set_string(&context, "lowerdir+", path(layer))?;
            }
        }
        (_, Lower::Numbers) => fsconfig_set_string(&context, "lowerdir", number_list(lower))?,
    }
    if let Some((upper, work)) = upper {
        fsconfig_set_string(&context, "upperdir", path(upper))?;
        fsconfig_set_string(&context, "workdir", path(work))?;
    }
    if volatile && upper.is_some() {
        fsconfig_set_flag(&context, "volatile")?;
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// The numbers of the layers' descriptors, the highest layer first.
fn number_list(lower: &[OwnedFd]) -> String {
    let mut list = String::new();
    for layer in lower.iter().rev() {
        let colon = if list.is_empty() { "" } else { ":" };
        if write!(list, "{colon}{}", layer.as_raw_fd()).is_err() {
            // Writing to a string does not fail.
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn layers_are_stacked_either_way() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let base = tempfile::tempdir_in("/var/tmp").unwrap();
        let open = |path: &Path| {
            fs::create_dir_all(path).unwrap();
            rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap()
        };
        let read = |mount: &OwnedFd, name: &str| {
            let fd = rustix::fs::openat(mount, name, OFlags::RDONLY, Mode::empty()).unwrap();
            std::io::read_to_string(fs::File::from(fd)).unwrap()
        };
        let lower: Vec<OwnedFd> = (0..40).map(|n| open(&base.path().join(format!("lower,:{n}")))).collect();
        for n in 0..40 {
            let layer = base.path().join(format!("lower,:{n}"));
            fs::write(layer.join("top"), n.to_string()).unwrap();
            fs::write(layer.join(format!("own-{n}")), n.to_string()).unwrap();
        }
        let (upper, work) = (open(&base.path().join("upper")), open(&base.path().join("work")));
        {
            let mount = mount(&lower, Some((&upper, &work))).unwrap();
            assert_eq!((read(&mount, "top").as_str(), read(&mount, "own-7").as_str()), ("39", "7"));
        }
        // A volatile overlay can be mounted once.
        let (upper, work) = (open(&base.path().join("upper-2")), open(&base.path().join("work-2")));
        let before = std::env::current_dir().unwrap();
        let mount = among_descriptors(&lower, Some((&upper, &work))).unwrap();
        assert_eq!((read(&mount, "top").as_str(), read(&mount, "own-7").as_str()), ("39", "7"));
        assert_eq!(std::env::current_dir().unwrap(), before);
    }
}
