//! Images that are made of layers, as Docker's and OCI's: each layer is a tree of its own, which all images that have it
//! share, and pods stack them.
//!
//! ```text
//! cas/tree/layer-sha256-<DiffID>/    a layer that is the same on whatever it lies
//! cas/tree/stack-sha256-<ChainID>/   one that needed the layers below it to be unpacked
//!     rootfs  rendered  layer        its files, that they are whole, what is known of it (JSON)
//! ```
//!
//! What a layer deletes is there as overlayfs wants it in a lower layer.

pub(super) mod below;
mod unpack;

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use appc::{schema::ImageManifest, types::ImageId};
use rkt_pod::lock::{Kind, Lock};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256, Sha512};

use super::{
    ImageRecord, Result, Store, StoreError,
    import::{now, rename, sync},
    listing, lock,
    origin::Origin,
    tree::{Layer, Tree},
    unpack::Unpacker,
    workspace::{Workspace, make},
};
use rkt_pod::failpoint;

use crate::files::Step;

/// Most layers of an image. Overlayfs stacks 500.
const MOST: usize = 500;

/// Opens a layer, compressed or not. Whatever is wrong with its bytes must be told at their end, at the latest.
pub(crate) type OpenLayer<'a> = dyn Fn(usize) -> io::Result<Box<dyn Read + Send + 'a>> + Sync + 'a;

/// An image that is made of layers.
pub(crate) struct Layered<'a> {
    /// Where it is from, for messages.
    pub(crate) shown: &'a str,
    /// What it is as an image of ours. It has to tell it from every other image: its hash is the image's ID.
    pub(crate) manifest: &'a ImageManifest,
    /// The SHA-256 of each uncompressed layer, in hexadecimal digits, the lowest first.
    pub(crate) diff_ids: &'a [String],
    /// Opens a layer.
    pub(crate) open: &'a OpenLayer<'a>,
}

/// What is known of an unpacked layer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Facts {
    /// Bytes of its files.
    size: u64,
    /// Whether it says what the root directory is like.
    has_root: bool,
}

/// A layer that was unpacked, but is not in its place.
struct Made {
    index: usize,
    place: PathBuf,
    unpacker: Unpacker,
    _lock: Lock,
}

impl Store {
    /// Imports an image that is made of layers. Those that the store has are not got again.
    pub(crate) fn import_layered(&self, image: &Layered<'_>, origin: &Origin<'_>) -> Result<ImageRecord> {
        let bytes = image
            .manifest
            .to_vec()
            .map_err(|error| StoreError::Invalid { path: image.shown.to_owned(), source: error.into() })?;
        let id = ImageId::from_digest(&Sha512::digest(&bytes).into());
        let placing = self.placing()?;
        if let Some(known) = self.index.by_id(id.as_str())?
            && self.is_whole(&known)
        {
            self.touch(&known)?;
            self.index.add(&known, origin, &[])?;
            return Ok(known);
        }
        drop(placing);
        if !rustix::process::geteuid().is_root() {
            let reason = "its layers can be unpacked by root only".to_owned();
            return Err(StoreError::Other { path: image.shown.to_owned(), reason });
        }
        // Others who remove what no image has wait from here on. What they have removed before is got again.
        let (layers, _placing) = loop {
            let layers = self.layers(image)?;
            let placing = self.placing()?;
            if layers.iter().all(|layer| self.is_rendered_tree(layer)) {
                break (layers, placing);
            }
        };
        failpoint!("layers-placed");
        let mut tree_size = 0;
        for name in &layers {
            tree_size += self.facts(name)?.size;
        }
        let now = now();
        let version = image.manifest.labels.get("version");
        let record = ImageRecord {
            name: image.manifest.name.to_string(),
            version: version.map(str::to_owned),
            import_time: now,
            last_used: now,
            latest: matches!(version, None | Some("latest")),
            size: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
            tree_size: i64::try_from(tree_size).unwrap_or(i64::MAX),
            id,
        };
        let workspace = Workspace::new(&self.base)?;
        let path = workspace.path().join("manifest");
        fs::write(&path, &bytes).step("write", &path)?;
        sync(workspace.path())?;
        rename(&path, &self.manifest_path(&record.key()))?;
        failpoint!("layers-manifest-placed");
        self.index.add(&record, origin, &layers)?;
        Ok(record)
    }

    /// The trees of an image's layers, the lowest first. Those that are missing are got.
    fn layers(&self, image: &Layered<'_>) -> Result<Vec<String>> {
        if image.diff_ids.is_empty() || image.diff_ids.len() > MOST {
            let reason = format!("it has {} layers, where 1 to {MOST} can be", image.diff_ids.len());
            return Err(StoreError::Other { path: image.shown.to_owned(), reason });
        }
        let names = names(image.diff_ids);
        loop {
            let known: Vec<Option<String>> = names.iter().map(|names| self.layer(names)).collect();
            let missing = missing(&names, &known);
            if missing.is_empty() {
                return Ok(without_repetitions(known.into_iter().flatten().collect()));
            }
            let workspace = Workspace::new(&self.base)?;
            let (made, busy) = self.unpack_layers(image, &names, &missing, workspace.path())?;
            failpoint!("layers-unpacked");
            self.place_layers(image, &names, &known, made, workspace.path())?;
            // Only now: nobody waits for us who has what we wait for.
            if let Some(index) = busy {
                drop(self.lock(&names[index].alone)?);
            }
        }
    }

    /// The tree of a layer, where the store has it.
    fn layer(&self, names: &Names) -> Option<String> {
        [&names.alone, &names.stacked].into_iter().find(|name| self.is_rendered_tree(name)).cloned()
    }

    /// Unpacks layers, several at once, each below `place`. Also returns one that somebody else is unpacking, or has
    /// just unpacked.
    fn unpack_layers(
        &self,
        image: &Layered<'_>,
        names: &[Names],
        missing: &[usize],
        place: &Path,
    ) -> Result<(Vec<Made>, Option<usize>)> {
        let (mut ours, mut busy) = (Vec::new(), None);
        for &index in missing {
            let lock = lock::try_now(&self.lock_path(&names[index].alone), Kind::Exclusive)?;
            match lock.filter(|_| self.layer(&names[index]).is_none()) {
                Some(lock) => ours.push((index, place.join(index.to_string()), lock)),
                None => busy = Some(index),
            }
        }
        let places: Vec<(usize, &Path)> =
            ours.iter().map(|(index, place, _)| (*index, place.as_path())).collect();
        let unpackers = unpack::layers(image, &places)?;
        let made = ours.into_iter().zip(unpackers);
        let made = made
            .map(|((index, place, lock), unpacker)| Made { index, place, unpacker, _lock: lock })
            .collect();
        Ok((made, busy))
    }

    /// Puts unpacked layers in their places. One that needs a layer below it that is not there is left out.
    fn place_layers(
        &self,
        image: &Layered<'_>,
        names: &[Names],
        known: &[Option<String>],
        made: Vec<Made>,
        workspace: &Path,
    ) -> Result<()> {
        let _placing = self.placing()?;
        if !known.iter().flatten().all(|name| self.is_rendered_tree(name)) {
            // Removed meanwhile: the next round begins anew.
            return Ok(());
        }
        let mut paths: Vec<Option<PathBuf>> =
            known.iter().map(|name| Some(self.tree_path(name.as_ref()?).join("rootfs"))).collect();
        let mut locks = Vec::new();
        let mut done = Vec::new();
        for Made { index, place, mut unpacker, _lock: lock } in made {
            let names = &names[index];
            let mut name = &names.alone;
            if unpacker.needs_what_is_below() && index > 0 {
                let below: Option<Vec<PathBuf>> = paths[..index].iter().cloned().collect();
                let Some(below) = below else { continue };
                below::settle(&mut unpacker, &below).map_err(|error| image.wrong(index, &error))?;
                name = &names.stacked;
            }
            below::check_links(&mut unpacker).map_err(|error| image.wrong(index, &error))?;
            let unpacked = unpacker.finish(&[])?;
            let has_root = unpacked.directories.contains(Path::new("/"));
            let facts = serde_json::to_vec(&Facts { size: unpacked.size, has_root })
                .map_err(|error| StoreError::Lookup(error.to_string()))?;
            listing::write(&place, &unpacked.hashes)?;
            for (file, content) in [("layer", facts.as_slice()), ("rendered", b"")] {
                let path = place.join(file);
                fs::write(&path, content).step("write", &path)?;
            }
            paths[index] = Some(place.join("rootfs"));
            locks.push(lock);
            done.push((place, name));
        }
        sync(workspace)?;
        failpoint!("layers-synced");
        make(&self.base.join("tree"))?;
        for (place, name) in done {
            let to = self.tree_path(name);
            // What is there and not whole, nobody uses.
            if !self.is_rendered_tree(name) {
                crate::files::remove_tree(&to)?;
            }
            rename(&place, &to)?;
            failpoint!("layers-one-placed");
        }
        Ok(())
    }

    fn facts(&self, name: &str) -> Result<Facts> {
        let path = self.tree_path(name).join("layer");
        let file = File::open(&path).step("open", &path)?;
        serde_json::from_reader(file)
            .map_err(|error| StoreError::Lookup(format!("layer {}: {error}", path.display())))
    }

    /// The stacked trees of an image that is made of layers.
    pub(super) fn stack(&self, names: &[String]) -> Result<Tree> {
        let layers: Vec<Layer> = names
            .iter()
            .map(|name| Layer { id: name.clone(), path: self.tree_path(name).join("rootfs") })
            .collect();
        let mut root = layers.first().map(|layer| layer.path.clone()).unwrap_or_default();
        for layer in layers.iter().rev() {
            if self.facts(&layer.id)?.has_root {
                root.clone_from(&layer.path);
                break;
            }
        }
        Ok(Tree { layers, root })
    }
}

impl Layered<'_> {
    /// A layer, for messages.
    fn layer(&self, index: usize) -> String {
        format!("{}: layer {} (sha256:{})", self.shown, index + 1, &self.diff_ids[index])
    }

    fn wrong(&self, index: usize, error: &dyn std::fmt::Display) -> StoreError {
        StoreError::Other { path: self.layer(index), reason: error.to_string() }
    }
}

/// The names that a layer's tree can have.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Names {
    /// Where it is the same on whatever it lies.
    alone: String,
    /// Where it depends on what it lies on (OCI image specification, ChainID).
    stacked: String,
}

fn names(diff_ids: &[String]) -> Vec<Names> {
    let mut chain = String::new();
    let mut names = Vec::new();
    for diff_id in diff_ids {
        chain = if chain.is_empty() {
            diff_id.clone()
        } else {
            hex(&Sha256::digest(format!("sha256:{chain} sha256:{diff_id}")))
        };
        names.push(Names {
            alone: format!("layer-sha256-{diff_id}"),
            stacked: format!("stack-sha256-{chain}"),
        });
    }
    names
}

/// The layers that are not there, each once.
fn missing(names: &[Names], known: &[Option<String>]) -> Vec<usize> {
    let mut missing: Vec<usize> = Vec::new();
    for (index, known) in known.iter().enumerate() {
        if known.is_none() && !missing.iter().any(|earlier| names[*earlier].alone == names[index].alone) {
            missing.push(index);
        }
    }
    missing
}

/// A layer that is there twice counts where it is higher: all it does is done there. Overlayfs takes none twice.
fn without_repetitions(layers: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for layer in layers.into_iter().rev() {
        if !kept.contains(&layer) {
            kept.push(layer);
        }
    }
    kept.reverse();
    kept
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_named_by_all_its_layers() {
        let ids: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        let all = names(&ids);
        assert_eq!(all[0].stacked, "stack-sha256-a");
        let second = hex(&Sha256::digest("sha256:a sha256:b"));
        assert_eq!(all[1].stacked, format!("stack-sha256-{second}"));
        let third = hex(&Sha256::digest(format!("sha256:{second} sha256:c")));
        assert_eq!(all[2].stacked, format!("stack-sha256-{third}"));
        assert_ne!(names(&ids[1..])[1].stacked, all[2].stacked);
    }

    #[test]
    fn a_layer_that_is_there_twice_counts_once() {
        let list = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        assert_eq!(without_repetitions(list("abcad")), list("bcad"));
        assert_eq!(missing(&names(&list("aba")), &[None, None, None]), [0, 1]);
        assert_eq!(missing(&names(&list("aba")), &[None, Some(String::new()), None]), [0]);
    }
}
