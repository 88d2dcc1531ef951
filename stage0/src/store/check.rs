//! Verifying trees, and making anew what is not as it was.

use std::fs;

use super::{
    ImageRecord, Result, Store, StoreError, listing, lock,
    workspace::{Workspace, make},
};
use rkt_pod::failpoint;

use crate::files::{Step, remove_tree};
use rkt_pod::lock::Kind;

/// What became of an image's trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checked {
    /// There are none.
    NotRendered,
    /// They are as they were made.
    Whole,
    /// They were not, and have been made anew.
    Repaired,
}

impl Store {
    /// Reads all of an image's trees and compares them with what was recorded. `report` is told the first difference. A
    /// tree that differs is made anew, unless a pod runs on it or is about to: nothing is ever changed below a pod.
    pub(crate) fn verify(&self, image: &ImageRecord, report: &mut dyn FnMut(&str)) -> Result<Checked> {
        self.unless_removed(image, self.verify_trees(image, report))
    }

    fn verify_trees(&self, image: &ImageRecord, report: &mut dyn FnMut(&str)) -> Result<Checked> {
        let is_layered = !self.index.layers(image.id.as_str())?.is_empty();
        let names = self.tree_names(image)?;
        if !names.iter().any(|name| self.is_rendered_tree(name)) {
            return Ok(Checked::NotRendered);
        }
        for name in &names {
            let reading = self.reading()?;
            let Some(difference) = self.difference(name)? else { continue };
            drop(reading);
            if is_layered {
                report(&format!("{difference} (tree {name})"));
                return self.give_up_layer(image, name);
            }
            report(&difference);
            self.replace_tree(image, name)?;
            return Ok(Checked::Repaired);
        }
        Ok(Checked::Whole)
    }

    /// How a tree differs from what was recorded.
    pub(super) fn difference(&self, name: &str) -> Result<Option<String>> {
        if !self.is_rendered_tree(name) {
            return Ok(Some("it is not there".to_owned()));
        }
        listing::verify(&self.tree_path(name))
    }

    fn replace_tree(&self, image: &ImageRecord, name: &str) -> Result<()> {
        self.check_unused(image, name)?;
        let _lock = lock::wait(&self.base.join("treestorelocks").join(name), Kind::Exclusive)?;
        let workspace = Workspace::new(&self.base)?;
        let (tree, _) = self.make_tree(image, &self.parts(image)?, workspace.path())?;
        let _alone = self.alone()?;
        self.check_unused(image, name)?;
        let path = self.tree_path(name);
        let old = workspace.path().join("old");
        make(&self.base.join("tree"))?;
        if path.exists() {
            fs::rename(&path, &old).step("move away", &path)?;
        }
        failpoint!("verify-moved-away");
        fs::rename(&tree, &path).step("move to its place", &path)?;
        Ok(())
    }

    /// A layer has nothing that it could be made of again: it goes, and the next fetch gets it.
    fn give_up_layer(&self, image: &ImageRecord, name: &str) -> Result<Checked> {
        let _alone = self.alone()?;
        self.check_unused(image, name)?;
        self.discard_tree(name)?;
        Err(StoreError::Lookup(format!(
            "image {}: its layer {name} was damaged, and has been removed; fetch the image again",
            image.display_name()
        )))
    }

    fn check_unused(&self, image: &ImageRecord, name: &str) -> Result<()> {
        let used = self.used()?;
        let pods = used.live_on(name);
        if pods.is_empty() {
            return Ok(());
        }
        Err(StoreError::Lookup(format!(
            "image {}: its tree differs, and is not made anew while pods have it ({}); stop or remove them and verify \
             the image again",
            image.display_name(),
            pods.join(", ")
        )))
    }

    /// Removes a tree so that nobody finds half of it. The caller is alone.
    pub(super) fn discard_tree(&self, name: &str) -> Result<()> {
        let workspace = Workspace::new(&self.base)?;
        let path = self.tree_path(name);
        fs::rename(&path, workspace.path().join("old")).step("remove", &path)?;
        failpoint!("remove-tree");
        remove_tree(workspace.path())?;
        Ok(())
    }
}
