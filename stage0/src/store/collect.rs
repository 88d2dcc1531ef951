//! Removing images, and all that no image and no pod has any more.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rkt_pod::lock::Kind;

use super::{ImageRecord, Result, Store, import::now, lock, lock::Alone, used::Used, workspace};
use rkt_pod::failpoint;

use crate::{
    files::{Step, remove_tree},
    http::Partial,
};

/// Something that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Collected {
    /// An image.
    Image(ImageRecord),
    /// An image of which files were missing.
    Remains(ImageRecord),
    /// A tree.
    Tree(String),
    /// A file that belongs to no image.
    File(PathBuf),
}

/// Whom removals are told.
pub(crate) type Report<'a> = dyn FnMut(&Collected) -> Result<()> + 'a;

impl Store {
    /// Removes an image: from the index first, so that nobody finds half of it.
    pub(crate) fn remove(&self, _alone: &Alone, image: &ImageRecord) -> Result<()> {
        self.index.remove(image.id.as_str())?;
        failpoint!("remove-index");
        let (blob, manifest) = (self.blob_path(&image.key()), self.manifest_path(&image.key()));
        remove_tree(&blob)?;
        failpoint!("remove-blob");
        remove_tree(&manifest)?;
        failpoint!("remove-manifest");
        Ok(())
    }

    /// Removes those of some trees that neither pods nor images have.
    pub(crate) fn remove_unused_trees(&self, _alone: &Alone, used: &Used, trees: &[String]) -> Result<()> {
        let kept = self.trees_of(&self.index.all()?)?;
        for tree in trees {
            if !kept.contains(tree) && !used.has_tree(tree) && self.tree_path(tree).exists() {
                self.discard_tree(tree)?;
            }
        }
        Ok(())
    }

    /// Removes images that were not used for `grace` and that no pod has; trees that no image and no pod has; and what
    /// others left behind that were interrupted.
    pub(crate) fn collect_garbage(&self, grace: Duration, report: &mut Report<'_>) -> Result<()> {
        let alone = self.alone()?;
        let used = self.used()?;
        self.collect_images(&alone, &used, grace, report)?;
        failpoint!("gc-images");
        self.collect_trees(&used, grace, report)?;
        failpoint!("gc-trees");
        self.collect_files(grace, report)?;
        failpoint!("gc-leftovers");
        self.collect_locks()
    }

    fn collect_images(
        &self,
        alone: &Alone,
        used: &Used,
        grace: Duration,
        report: &mut Report<'_>,
    ) -> Result<()> {
        let mut images = self.index.all()?;
        images.sort_by_key(|image| image.last_used);
        let (whole, remains): (Vec<_>, Vec<_>) = images.into_iter().partition(|image| self.is_whole(image));
        for image in remains {
            self.remove(alone, &image)?;
            report(&Collected::Remains(image))?;
        }
        let grace = i64::try_from(grace.as_nanos()).unwrap_or(i64::MAX);
        let oldest = now().saturating_sub(grace);
        let (old, young): (Vec<_>, Vec<_>) =
            whole.into_iter().partition(|image| image.last_used <= oldest && used.having(image).is_empty());
        // What others depend on is used with them.
        let mut needed = HashSet::new();
        for image in &young {
            needed.extend(self.parts(image).unwrap_or_default().into_iter().map(|part| part.image.key()));
        }
        for image in old {
            if !needed.contains(&image.key()) {
                self.remove(alone, &image)?;
                report(&Collected::Image(image))?;
            }
        }
        Ok(())
    }

    fn collect_trees(&self, used: &Used, grace: Duration, report: &mut Report<'_>) -> Result<()> {
        let kept = self.trees_of(&self.index.all()?)?;
        let directory = self.base.join("tree");
        for name in names(&directory)? {
            let name = name.to_string_lossy().into_owned();
            if kept.contains(&name) || used.has_tree(&name) {
                continue;
            }
            // Layers of an image that is still being fetched, or whose fetch is tried again later.
            let is_layer = name.starts_with("layer-") || name.starts_with("stack-");
            if is_layer && self.is_rendered_tree(&name) && age(&directory.join(&name)) < grace {
                continue;
            }
            self.discard_tree(&name)?;
            report(&Collected::Tree(name))?;
        }
        Ok(())
    }

    /// The trees that images have, or would have were they rendered.
    fn trees_of(&self, images: &[ImageRecord]) -> Result<HashSet<String>> {
        let mut found = HashSet::new();
        for image in images {
            found.insert(super::tree::id_of(image));
            found.extend(self.index.layers(image.id.as_str())?);
            // One whose dependencies are not there cannot be rendered, and has no tree.
            found.extend(self.tree_names(image).unwrap_or_default());
        }
        Ok(found)
    }

    /// Removes blobs and manifests that the index does not know: nobody places any now.
    fn collect_files(&self, grace: Duration, report: &mut Report<'_>) -> Result<()> {
        let known: HashSet<String> = self.index.all()?.iter().map(ImageRecord::key).collect();
        for kind in ["blob", "imageManifest"] {
            let base = self.base.join(kind).join("sha512");
            for shard in names(&base)? {
                let shard = base.join(shard);
                for name in names(&shard)? {
                    if !known.contains(&*name.to_string_lossy()) {
                        let path = shard.join(name);
                        remove_tree(&path)?;
                        report(&Collected::File(path))?;
                    }
                }
            }
        }
        workspace::sweep(&self.base.join("tmp"));
        Partial::sweep(&self.base, grace);
        Ok(())
    }

    /// Removes locks that nobody holds. Who waits for one sees that it is gone, and makes it again.
    fn collect_locks(&self) -> Result<()> {
        for kind in ["imagelocks", "treestorelocks"] {
            let base = self.base.join(kind);
            for name in names(&base)? {
                let path = base.join(name);
                if let Some(_held) = lock::try_now(&path, Kind::Exclusive)? {
                    remove_tree(&path)?;
                }
            }
        }
        Ok(())
    }
}

fn names(directory: &Path) -> Result<Vec<std::ffi::OsString>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.step("list", directory)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.step("list", directory)?.file_name());
    }
    names.sort_unstable();
    Ok(names)
}

/// For how long it has been where it is: a rename sets the time of a directory's last change.
fn age(path: &Path) -> Duration {
    use std::os::unix::fs::MetadataExt;
    let Ok(data) = fs::symlink_metadata(path) else { return Duration::MAX };
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(data.ctime().unsigned_abs());
    SystemTime::now().duration_since(changed).unwrap_or_default()
}
