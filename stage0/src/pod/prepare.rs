//! Filling a new pod's directory: all that stage1 needs, by names it knows.

use std::{
    fs,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use appc::schema::PodManifest;
use rkt_pod::{PodDir, directory::write_atomically, failpoint, layout, users::Range};
use rustix::{
    fs::{AtFlags, Gid, Mode, OFlags, Uid},
    io::Errno,
};

use crate::{
    files::remove_tree,
    store::{ImageRecord, Store, Tree},
};

/// An app's image: what the store knows of it, its manifest as it was, and its tree.
#[derive(Debug)]
pub(crate) struct AppImage {
    /// The record.
    pub(crate) record: ImageRecord,
    /// The manifest's text.
    pub(crate) manifest: Vec<u8>,
    /// The tree.
    pub(crate) tree: Tree,
}

impl AppImage {
    /// Looks an image up, and renders its tree where that is missing.
    pub(crate) fn new(store: &Store, record: ImageRecord) -> Result<AppImage> {
        Ok(AppImage { manifest: store.manifest_bytes(&record)?, tree: store.tree(&record)?, record })
    }
}

/// Fills the pod's directory. Nothing is synced: a pod that was being made when the power went is garbage anyway.
pub(crate) fn fill(
    pod: &PodDir,
    manifest: &PodManifest,
    images: &[AppImage],
    overlay: bool,
    users: Option<Range>,
) -> Result<()> {
    let path = pod.path();
    let base = open(&path)?;
    let maker = Maker { base: &base, path: &path };
    for directory in
        ["stage1", "stage1/rootfs", "stage1/rootfs/rkt", "stage1/rootfs/rkt/status", "stage1/rootfs/proc"]
    {
        maker.directory(directory)?;
    }
    for directory in ["dev", "dev/shm", "dev/mqueue", "opt", layout::STAGE2] {
        maker.directory(&format!("{}/{directory}", layout::STAGE1_ROOTFS))?;
    }
    maker.directory(layout::APPS_INFO)?;
    if overlay {
        maker.directory(layout::OVERLAY)?;
        maker.file(layout::OVERLAY_PREPARED, b"")?;
    }
    for (app, image) in manifest.apps.iter().zip(images) {
        lay_out(&maker, app.name.as_str(), image, overlay, users)?;
    }
    failpoint!("pod-laid-out");
    maker.file(layout::MANIFEST, &manifest.to_vec()?)?;
    maker.file(layout::CREATED, b"")
}

/// What an app needs in the pod's directory.
fn lay_out(
    maker: &Maker<'_>,
    name: &str,
    image: &AppImage,
    overlay: bool,
    users: Option<Range>,
) -> Result<()> {
    let info = format!("{}/{name}", layout::APPS_INFO);
    maker.directory(&info)?;
    maker.file(&format!("{info}/{}", layout::APP_MANIFEST), &image.manifest)?;
    let ids: Vec<&str> = image.tree.layers.iter().map(|layer| layer.id.as_str()).collect();
    maker.file(&format!("{info}/{}", layout::APP_TREE_ID), ids.join("\n").as_bytes())?;
    let rootfs = layout::app_rootfs(name);
    maker.directory(&rootfs.parent().unwrap_or(Path::new("")).to_string_lossy())?;
    maker.directory(&rootfs.to_string_lossy())?;
    if overlay {
        return layers(maker, name, image, users);
    }
    image.tree.copy(&maker.path.join(&rootfs)).with_context(|| format!("app {name:?}: copy its image"))
}

/// Lays out an app in a pod that is there, and writes the manifest that has it. Without that the app is not there, and what
/// was laid out of it is removed before the next try. The caller changes the pod alone.
pub(crate) fn add(pod: &PodDir, app: &str, image: &AppImage, manifest: &PodManifest) -> Result<()> {
    let path = pod.path();
    let base = open(&path)?;
    remove_app(&path, app)?;
    let overlay = path.join(layout::OVERLAY_PREPARED).exists();
    lay_out(&Maker { base: &base, path: &path }, app, image, overlay, Range::of_pod(&path)?)?;
    write_manifest(&base, &path, manifest)
}

/// Writes the manifest that an app is no longer in, and removes what was laid out of it.
pub(crate) fn drop_app(pod: &PodDir, app: &str, manifest: &PodManifest) -> Result<()> {
    let path = pod.path();
    write_manifest(&open(&path)?, &path, manifest)?;
    remove_app(&path, app)
}

fn write_manifest(base: &OwnedFd, path: &Path, manifest: &PodManifest) -> Result<()> {
    write_atomically(base, layout::MANIFEST.as_ref(), &manifest.to_vec()?, 0o640)
        .with_context(|| format!("write {}", path.join(layout::MANIFEST).display()))
}

fn remove_app(pod: &Path, app: &str) -> Result<()> {
    let (upper, _) = layout::app_overlay(app);
    let root = layout::app_rootfs(app);
    let trees = [upper.parent(), root.parent()].into_iter().flatten().map(Path::to_owned);
    let files = [
        layout::app_status(app),
        layout::app_started(app),
        layout::app_out_of_memory(app),
        layout::app_process(app),
        layout::app_log(app),
        Path::new(layout::SPECS).join(app),
    ];
    // What says that there is an app goes last.
    let info = Path::new(layout::APPS_INFO).join(app);
    for path in trees.chain(files).chain([info]) {
        remove_tree(&pod.join(path))?;
    }
    Ok(())
}

/// Has the file system write all of the pod.
pub(crate) fn sync(pod: &PodDir) -> Result<()> {
    let path = pod.path();
    rustix::fs::syncfs(open(&path)?).with_context(|| format!("sync {}", path.display()))
}

/// The upper layer's root is the app's: it has what the image's root has. What is in this layer belongs to the users of the
/// host that the pod's users are, while the layers below are mounted with mapped owners.
fn layers(maker: &Maker<'_>, app: &str, image: &AppImage, users: Option<Range>) -> Result<()> {
    let (upper, work) = layout::app_overlay(app);
    let parent = upper.parent().unwrap_or(Path::new("")).to_owned();
    for directory in [&parent, &upper, &work] {
        maker.directory(&directory.to_string_lossy())?;
    }
    let root = &image.tree.root;
    let root = fs::metadata(root).with_context(|| format!("look at {}", root.display()))?;
    let on_host = |id| match users {
        None => Ok(id),
        Some(users) => users.host_id(id).with_context(|| {
            format!(
                "app {app:?}: the image's root belongs to {id}, and the pod has users 0 to {}",
                users.count() - 1
            )
        }),
    };
    let (uid, gid) = (on_host(root.uid())?, on_host(root.gid())?);
    if (uid, gid) != (0, 0) {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        rustix::fs::chownat(maker.base, &upper, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .context("set the owner of the app's upper layer")?;
    }
    rustix::fs::chmodat(maker.base, &upper, Mode::from_raw_mode(root.mode() & 0o7777), AtFlags::empty())
        .context("set the mode of the app's upper layer")
}

fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).with_context(|| format!("open {}", path.display()))
}

/// Makes files in the pod's directory.
struct Maker<'a> {
    base: &'a OwnedFd,
    path: &'a Path,
}

impl Maker<'_> {
    fn directory(&self, name: &str) -> Result<()> {
        match rustix::fs::mkdirat(self.base, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => {
                Err(errno).with_context(|| format!("make directory {}", self.shown(name).display()))
            }
        }
    }

    fn file(&self, name: &str, content: &[u8]) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let write = || -> rustix::io::Result<()> {
            let fd = rustix::fs::openat(self.base, name, flags, Mode::from_raw_mode(0o640))?;
            let mut rest = content;
            while !rest.is_empty() {
                let written = rustix::io::retry_on_intr(|| rustix::io::write(&fd, rest))?;
                rest = &rest[written..];
            }
            Ok(())
        };
        write().with_context(|| format!("write {}", self.shown(name).display()))
    }

    fn shown(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}
