//! Rendered trees: an image's files as a directory, made once and never changed.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use appc::aci::{self, Limits};
use rkt_pod::lock::{Kind, Lock};
use sha2::{Digest, Sha512};

use super::{
    ImageRecord, Result, Store, StoreError,
    import::sync,
    unpack::Unpacker,
    workspace::{Workspace, make},
};
use crate::files::Step;

/// A tree that is ready to be an overlay's lower layer.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    /// Its directory's name in the store.
    pub(crate) id: String,
    /// Its root.
    pub(crate) path: PathBuf,
}

/// The name of the tree of an image without dependencies.
pub(super) fn id_of(image: &ImageRecord) -> String {
    let hash: String = Sha512::digest(image.key()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("deps-sha512-{}", &hash[..64])
}

/// Adds to an unpacked tree what says that it is whole.
pub(super) fn complete(tree: &Path, image: &ImageRecord, manifest: &[u8]) -> Result<()> {
    for (name, content) in [("manifest", manifest), ("image", image.key().as_bytes()), ("rendered", b"")] {
        let path = tree.join(name);
        fs::write(&path, content).step("write", &path)?;
    }
    Ok(())
}

impl Store {
    pub(super) fn tree_path(&self, id: &str) -> PathBuf {
        self.base.join("tree").join(id)
    }

    /// The image's tree, rendered where it is missing. Many who need it at once have it rendered once.
    pub(crate) fn tree(&self, image: &ImageRecord) -> Result<Tree> {
        let id = id_of(image);
        let path = self.tree_path(&id);
        if !path.join("rendered").exists() {
            let lock = self.base.join("treestorelocks").join(&id);
            make(&lock)?;
            let _lock =
                Lock::wait(&lock, Kind::Exclusive).map_err(|error| StoreError::Lookup(error.to_string()))?;
            if !path.join("rendered").exists() {
                self.render(image, &path)?;
            }
        }
        Ok(Tree { id, path: path.join("rootfs") })
    }

    fn render(&self, image: &ImageRecord, path: &Path) -> Result<()> {
        let manifest = self.manifest(image)?;
        if let Some(dependency) = manifest.dependencies.first() {
            return Err(StoreError::Lookup(format!(
                "image {} depends on {}: images with dependencies cannot be rendered in this version",
                image.display_name(),
                dependency.image_name
            )));
        }
        let blob = self.blob_path(&image.key());
        let file = File::open(&blob).step("open", &blob)?;
        let workspace = Workspace::new(&self.base)?;
        let tree = workspace.path().join("tree");
        let mut unpacker = Unpacker::new(&tree)?;
        let archive = aci::read(file, &Limits::default(), &mut |entry, content| unpacker.add(entry, content))
            .map_err(|error| StoreError::of_read(&blob, error))?;
        if archive.id != image.id {
            return Err(StoreError::Lookup(format!(
                "image {}: its file {} was changed (it is {} now); remove and fetch the image again",
                image.id,
                blob.display(),
                archive.id
            )));
        }
        let size = unpacker.finish(&manifest.path_whitelist)?;
        complete(&tree, image, &archive.manifest_bytes)?;
        sync(&tree)?;
        make(&self.base.join("tree"))?;
        // What is in the way is not whole, or we would not be here.
        crate::files::remove_tree(path)?;
        fs::rename(&tree, path).step("move to its place", path)?;
        self.index.set_tree_size(image.id.as_str(), i64::try_from(size).unwrap_or(i64::MAX))
    }
}

/// Whether pods in this data directory can have overlays, or why not.
pub(crate) fn overlay_supported(data: &Path) -> std::result::Result<(), String> {
    let filesystems = fs::read_to_string("/proc/filesystems").map_err(|error| error.to_string())?;
    if !filesystems.lines().any(|line| line.split_whitespace().last() == Some("overlay"))
        && !Path::new("/sys/module/overlay").exists()
    {
        return Err("the kernel has no overlay file system (try: modprobe overlay)".to_owned());
    }
    const AUFS: i64 = 0x6175_6673;
    const ZFS: i64 = 0x2fc1_2fc1;
    const OVERLAY: i64 = 0x794c_7630;
    match rustix::fs::statfs(data).map(|fs| fs.f_type) {
        Ok(AUFS | ZFS | OVERLAY) => {
            Err(format!("{} is on a file system that cannot hold overlays", data.display()))
        }
        _ => Ok(()),
    }
}
