//! The images that an image is rendered from.

use appc::{schema::Dependency, types::ImageName};

use super::{ImageRecord, Result, Store, StoreError};

/// Most images that one is rendered from. A shared dependency counts once for each way that leads to it.
const MAX_PARTS: usize = 1000;

/// One image that another is rendered from.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// The image.
    pub(super) image: ImageRecord,
    /// Its own list of paths that remain, and those of all images that it is below.
    pub(super) whitelists: Vec<Vec<String>>,
}

impl Store {
    /// The stored image that a dependency means.
    pub(crate) fn dependency(&self, dependency: &Dependency) -> Result<Option<ImageRecord>> {
        let name = ImageName { name: dependency.image_name.clone(), labels: dependency.labels.clone() };
        let Some(id) = &dependency.image_id else { return self.by_name(&name) };
        let found = self.index.by_id_prefix(id.as_str())?;
        Ok(found.into_iter().find(|image| self.is_whole(image) && image.name == name.name.as_str()))
    }

    /// What an image is rendered from, the lowest first: the dependencies in their order, each after its own, then the
    /// image (spec, dependency matching).
    pub(super) fn parts(&self, image: &ImageRecord) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        self.collect(image, &mut Vec::new(), &[], &mut parts)?;
        Ok(parts)
    }

    fn collect(
        &self,
        image: &ImageRecord,
        way: &mut Vec<String>,
        above: &[Vec<String>],
        parts: &mut Vec<Part>,
    ) -> Result<()> {
        let key = image.key();
        if way.contains(&key) {
            let message = format!("image {} depends on itself", image.display_name());
            return Err(StoreError::Lookup(message));
        }
        let manifest = self.manifest(image)?;
        let mut whitelists = above.to_vec();
        whitelists.push(manifest.path_whitelist.clone());
        way.push(key);
        for dependency in &manifest.dependencies {
            let found = self.dependency(dependency)?.ok_or_else(|| {
                StoreError::Lookup(format!(
                    "image {} depends on {}, which is not in the store; fetch the image anew",
                    image.display_name(),
                    dependency.image_name
                ))
            })?;
            self.collect(&found, way, &whitelists, parts)?;
        }
        way.pop();
        parts.push(Part { image: image.clone(), whitelists });
        if parts.len() > MAX_PARTS {
            let message = format!("image {} is made of more than {MAX_PARTS} others", image.display_name());
            return Err(StoreError::Lookup(message));
        }
        Ok(())
    }
}
