//! What every app finds in its root, and few images have: the lowest layer of every overlay.
//!
//! Where an image lacks them, they would be made in the upper layer of each pod, on the disk, and removed with it: half a
//! millisecond of a start. What the image has wins, as with any lower layer.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink},
    path::Path,
};

use rkt_pod::layout;

use super::{Result, workspace::Workspace};
use crate::files::Step;

/// Directories, and the mode of each.
const DIRECTORIES: [(&str, u32); 5] =
    [("proc", 0o755), ("sys", 0o755), ("dev", 0o755), ("etc", 0o755), ("tmp", 0o1777)];

/// Files to mount those of the pod on.
const FILES: [&str; 4] = ["etc/hostname", "etc/hosts", "etc/machine-id", "etc/resolv.conf"];

/// Makes the layer in the store below `data`, where it is missing.
pub(crate) fn make(data: &Path) -> Result<()> {
    let path = data.join(layout::MOUNT_POINTS);
    if path.exists() {
        return Ok(());
    }
    let workspace = Workspace::new(&data.join(layout::STORE))?;
    let made = workspace.path().join("made");
    directory(&made, 0o755)?;
    for (name, mode) in DIRECTORIES {
        directory(&made.join(name), mode)?;
    }
    for name in FILES {
        let file = made.join(name);
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o644).open(&file).step("make file", &file)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).step("set mode of", &file)?;
    }
    let link = made.join("etc/mtab");
    symlink("../proc/self/mounts", &link).step("make link", &link)?;
    match fs::rename(&made, &path) {
        // Somebody else was faster.
        Err(_) if path.exists() => Ok(()),
        result => Ok(result.step("make directory", &path)?),
    }
}

fn directory(path: &Path, mode: u32) -> Result<()> {
    fs::DirBuilder::new().mode(mode).create(path).step("make directory", path)?;
    // The umask took its part.
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode)).step("set mode of", path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir(data.path().join(layout::STORE)).unwrap();
        make(data.path()).unwrap();
        let path = data.path().join(layout::MOUNT_POINTS);
        assert_eq!(fs::metadata(path.join("tmp")).unwrap().permissions().mode() & 0o7777, 0o1777);
        assert_eq!(fs::metadata(path.join("etc/hosts")).unwrap().len(), 0);
        fs::write(path.join("etc/hosts"), "kept").unwrap();
        make(data.path()).unwrap();
        assert_eq!(fs::read(path.join("etc/hosts")).unwrap(), b"kept");
    }
}
