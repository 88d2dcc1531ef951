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
    dependencies::Part,
    import::sync,
    merge::merge,
    unpack::{Unpacked, Unpacker},
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
    id(&image.key())
}

/// The name of the tree of these images, the lowest first, with commas between them.
fn id(keys: &str) -> String {
    let hash: String = Sha512::digest(keys).iter().map(|byte| format!("{byte:02x}")).collect();
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

    /// Whether the image depends on nothing and is rendered.
    pub(crate) fn is_rendered(&self, image: &ImageRecord) -> bool {
        self.tree_path(&id_of(image)).join("rendered").exists()
    }

    /// The image's tree, rendered where it is missing. Many who need it at once have it rendered once.
    pub(crate) fn tree(&self, image: &ImageRecord) -> Result<Tree> {
        let alone = id_of(image);
        let path = self.tree_path(&alone);
        // Most images depend on nothing, and are rendered when they are imported.
        if path.join("rendered").exists() {
            return Ok(Tree { id: alone, path: path.join("rootfs") });
        }
        let parts = self.parts(image)?;
        let keys: Vec<String> = parts.iter().map(|part| part.image.key()).collect();
        let id = id(&keys.join(","));
        let path = self.tree_path(&id);
        if !path.join("rendered").exists() {
            let lock = self.base.join("treestorelocks").join(&id);
            make(&lock)?;
            let _lock =
                Lock::wait(&lock, Kind::Exclusive).map_err(|error| StoreError::Lookup(error.to_string()))?;
            if !path.join("rendered").exists() {
                self.render(image, &parts, &path)?;
            }
        }
        Ok(Tree { id, path: path.join("rootfs") })
    }

    fn render(&self, image: &ImageRecord, parts: &[Part], path: &Path) -> Result<()> {
        let workspace = Workspace::new(&self.base)?;
        let tree = workspace.path().join("tree");
        let mut size = 0;
        for (number, part) in parts.iter().enumerate() {
            // The lowest is the tree, and the others are put over it.
            let place = if number == 0 { tree.clone() } else { workspace.path().join("part") };
            let unpacked = self.unpack_part(part, &place)?;
            size += unpacked.size;
            if number > 0 {
                merge(&place.join("rootfs"), &tree.join("rootfs"), &unpacked.directories)?;
                crate::files::remove_tree(&place)?;
            }
        }
        complete(&tree, image, &self.manifest_bytes(image)?)?;
        sync(&tree)?;
        make(&self.base.join("tree"))?;
        // What is in the way is not whole, or we would not be here.
        crate::files::remove_tree(path)?;
        fs::rename(&tree, path).step("move to its place", path)?;
        self.index.set_tree_size(image.id.as_str(), i64::try_from(size).unwrap_or(i64::MAX))
    }

    fn unpack_part(&self, part: &Part, place: &Path) -> Result<Unpacked> {
        let blob = self.blob_path(&part.image.key());
        let file = File::open(&blob).step("open", &blob)?;
        let mut unpacker = Unpacker::new(place)?;
        let archive = aci::read(file, &Limits::default(), &mut |entry, content| unpacker.add(entry, content))
            .map_err(|error| StoreError::of_read(&blob, error))?;
        if archive.id != part.image.id {
            return Err(StoreError::Lookup(format!(
                "image {}: its file {} was changed (it is {} now); remove and fetch the image again",
                part.image.id,
                blob.display(),
                archive.id
            )));
        }
        let whitelists: Vec<&[String]> = part.whitelists.iter().map(Vec::as_slice).collect();
        unpacker.finish(&whitelists)
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
