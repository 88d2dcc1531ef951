//! Rendered trees: an image's files as a directory, made once and never changed.

use std::{
    collections::HashSet,
    fs::{self, File},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use appc::aci::{self, Limits};
use rkt_pod::lock::Kind;
use sha2::{Digest, Sha512};

use super::{
    ImageRecord, Result, Store, StoreError,
    dependencies::Part,
    import::sync,
    listing::{self, Hashes},
    lock,
    merge::merge,
    unpack::{Unpacked, Unpacker, keep_only},
    workspace::{Workspace, make},
};
use rkt_pod::failpoint;

use crate::files::{FileError, Step, copy_layer, copy_metadata, copy_tree};

/// The files of an image, ready to be lower layers of an overlay.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    /// What is stacked, the lowest first: one for most images.
    pub(crate) layers: Vec<Layer>,
    /// The root whose owner and mode are the image's.
    pub(crate) root: PathBuf,
}

/// One layer of a tree.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// Its directory's name in the store.
    pub(crate) id: String,
    /// Its root.
    pub(crate) path: PathBuf,
}

impl Tree {
    fn single(id: String, directory: &Path) -> Tree {
        let root = directory.join("rootfs");
        Tree { layers: vec![Layer { id, path: root.clone() }], root }
    }

    /// Copies all files into the empty directory `to`.
    pub(crate) fn copy(&self, to: &Path) -> std::result::Result<(), FileError> {
        match self.layers.as_slice() {
            [only] if only.path == self.root => copy_tree(&only.path, to),
            layers => {
                layers.iter().try_for_each(|layer| copy_layer(&layer.path, to))?;
                let open = |path: &Path| File::open(path).map(OwnedFd::from).step("open", path);
                copy_metadata(&open(&self.root)?, &open(to)?, to)
            }
        }
    }
}

/// The name of the tree of an image without dependencies.
pub(super) fn id_of(image: &ImageRecord) -> String {
    id(&image.key())
}

/// The name of the tree of an image that is made of these.
fn id_of_parts(parts: &[Part]) -> String {
    let keys: Vec<String> = parts.iter().map(|part| part.image.key()).collect();
    id(&keys.join(","))
}

/// The name of the tree of these images, the lowest first, with commas between them.
fn id(keys: &str) -> String {
    let hash: String = Sha512::digest(keys).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("deps-sha512-{}", &hash[..64])
}

/// Adds to an unpacked tree what says that it is whole.
pub(super) fn complete(tree: &Path, image: &ImageRecord, manifest: &[u8], hashes: &Hashes) -> Result<()> {
    listing::write(tree, hashes)?;
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

    /// Whether the store has a whole tree of this name.
    pub(super) fn is_rendered_tree(&self, id: &str) -> bool {
        self.tree_path(id).join("rendered").exists()
    }

    /// Whether the image depends on nothing and is rendered.
    pub(crate) fn is_rendered(&self, image: &ImageRecord) -> bool {
        self.is_rendered_tree(&id_of(image))
    }

    /// The image's tree, rendered where it is missing. Many who need it at once have it rendered once.
    pub(crate) fn tree(&self, image: &ImageRecord) -> Result<Tree> {
        self.unless_removed(image, self.find_tree(image))
    }

    fn find_tree(&self, image: &ImageRecord) -> Result<Tree> {
        let alone = id_of(image);
        let path = self.tree_path(&alone);
        // Most images depend on nothing, and are rendered when they are imported.
        if path.join("rendered").exists() {
            return Ok(Tree::single(alone, &path));
        }
        let layers = self.index.layers(image.id.as_str())?;
        if !layers.is_empty() {
            return self.stack(&layers);
        }
        let parts = self.parts(image)?;
        let id = id_of_parts(&parts);
        let path = self.tree_path(&id);
        if !path.join("rendered").exists() {
            let _lock = lock::wait(&self.base.join("treestorelocks").join(&id), Kind::Exclusive)?;
            if !path.join("rendered").exists() {
                // What it is made of stays meanwhile.
                let _placing = self.placing()?;
                let workspace = Workspace::new(&self.base)?;
                let (tree, size) = self.make_tree(image, &parts, workspace.path())?;
                make(&self.base.join("tree"))?;
                // What is in the way is not whole, or we would not be here.
                crate::files::remove_tree(&path)?;
                fs::rename(&tree, &path).step("move to its place", &path)?;
                failpoint!("render-placed");
                self.index.set_tree_size(image.id.as_str(), i64::try_from(size).unwrap_or(i64::MAX))?;
            }
        }
        Ok(Tree::single(id, &path))
    }

    /// The names of the trees that the image has, or would have were it rendered.
    pub(crate) fn tree_names(&self, image: &ImageRecord) -> Result<Vec<String>> {
        let layers = self.index.layers(image.id.as_str())?;
        if !layers.is_empty() {
            return Ok(layers);
        }
        Ok(vec![id_of_parts(&self.parts(image)?)])
    }

    /// Renders an image below `workspace`. Returns the whole tree, which is synced, and how many bytes it has.
    pub(super) fn make_tree(
        &self,
        image: &ImageRecord,
        parts: &[Part],
        workspace: &Path,
    ) -> Result<(PathBuf, u64)> {
        let tree = workspace.join("tree");
        let mut size = 0;
        let mut hashes = Hashes::new();
        for (number, part) in parts.iter().enumerate() {
            // The lowest is the tree, and the others are put over it.
            let place = if number == 0 { tree.clone() } else { workspace.join("part") };
            let unpacked = self.unpack_part(part, &place)?;
            size += unpacked.size;
            hashes.extend(unpacked.hashes);
            if number > 0 {
                merge(&place.join("rootfs"), &tree.join("rootfs"), &unpacked.directories)?;
                crate::files::remove_tree(&place)?;
            }
            failpoint!("render-part");
        }
        // The copy of a layer may have the number of a file that was removed before.
        if parts.iter().any(|part| self.index.layers(part.image.id.as_str()).is_ok_and(|l| !l.is_empty())) {
            hashes.clear();
        }
        complete(&tree, image, &self.manifest_bytes(image)?, &hashes)?;
        sync(&tree)?;
        failpoint!("render-made");
        Ok((tree, size))
    }

    fn unpack_part(&self, part: &Part, place: &Path) -> Result<Unpacked> {
        let layers = self.index.layers(part.image.id.as_str())?;
        if !layers.is_empty() {
            return self.copy_part(part, &layers, place);
        }
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

impl Store {
    /// An image that is made of layers as a part of another: its layers become one tree.
    fn copy_part(&self, part: &Part, layers: &[String], place: &Path) -> Result<Unpacked> {
        let root = place.join("rootfs");
        make(&root)?;
        self.stack(layers)?.copy(&root)?;
        let mut directories = HashSet::new();
        collect_directories(&root, Path::new("/"), &mut directories)?;
        let whitelists: Vec<&[String]> = part.whitelists.iter().map(Vec::as_slice).collect();
        keep_only(&root, &whitelists)?;
        Ok(Unpacked { size: part.image.tree_size.unsigned_abs(), directories, hashes: Hashes::new() })
    }
}

fn collect_directories(path: &Path, inside: &Path, found: &mut HashSet<PathBuf>) -> Result<()> {
    found.insert(inside.to_owned());
    for entry in fs::read_dir(path).step("list", path)? {
        let entry = entry.step("list", path)?;
        if entry.file_type().step("look at", entry.path())?.is_dir() {
            collect_directories(&entry.path(), &inside.join(entry.file_name()), found)?;
        }
    }
    Ok(())
}
