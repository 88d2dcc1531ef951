//! Fetching what an image depends on, and what that does, several at once.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, bail};
use appc::{
    schema::Dependency,
    types::{ImageId, ImageName},
};
use rkt_pod::message::plain;

use super::Fetcher;
use crate::{
    output::note,
    store::{ImageRecord, PullPolicy},
};

/// Dependencies of one image that are fetched at once.
const AT_ONCE: usize = 4;

impl Fetcher<'_> {
    /// Fetches what an image depends on. `way` are the images that led to it.
    pub(super) fn dependencies(&self, image: &ImageRecord, way: &[ImageId]) -> Result<()> {
        // The tree of an image without dependencies has its own name: there is nothing to look for.
        if self.store.is_rendered(image) {
            return Ok(());
        }
        let way = [way, std::slice::from_ref(&image.id)].concat();
        let name = image.display_name();
        match self.store.manifest(image)?.dependencies.as_slice() {
            [] => Ok(()),
            [only] => self.dependency(&name, only, &way),
            several => self.in_threads(&name, several, &way),
        }
    }

    /// Fetches several. Each thread has a connection to the index of its own.
    fn in_threads(&self, name: &str, dependencies: &[Dependency], way: &[ImageId]) -> Result<()> {
        let Fetcher {
            store,
            keystore,
            insecure,
            trust_keys_from_https,
            credentials,
            registries,
            ref keys,
            policy,
            progress,
        } = *self;
        let data = store.data();
        let next = AtomicUsize::new(0);
        let failure: Mutex<Option<(usize, anyhow::Error)>> = Mutex::new(None);
        let failed = |turn: usize, error: anyhow::Error| {
            if let Ok(mut failure) = failure.lock()
                && failure.as_ref().is_none_or(|(earlier, _)| turn < *earlier)
            {
                *failure = Some((turn, error));
            }
        };
        let work = || {
            let store = match crate::store::Store::open(data) {
                Ok(store) => store,
                Err(error) => return failed(0, error.into()),
            };
            let fetcher = Fetcher {
                store: &store,
                keystore,
                insecure,
                trust_keys_from_https,
                credentials,
                registries,
                keys: keys.clone(),
                policy,
                progress,
            };
            loop {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                let Some(dependency) = dependencies.get(turn) else { return };
                if let Err(error) = fetcher.dependency(name, dependency, way) {
                    // Nobody begins another: the image cannot be rendered.
                    next.store(dependencies.len(), Ordering::Relaxed);
                    return failed(turn, error);
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..dependencies.len().min(AT_ONCE) {
                scope.spawn(work);
            }
            work();
        });
        match failure.into_inner() {
            Ok(Some((_, error))) => Err(error),
            _ => Ok(()),
        }
    }

    /// Fetches one, and what it depends on.
    fn dependency(&self, image: &str, dependency: &Dependency, way: &[ImageId]) -> Result<()> {
        let name = ImageName { name: dependency.image_name.clone(), labels: dependency.labels.clone() };
        let needed = || format!("image {image} depends on {name}");
        // Where the manifest says how large it is, no server makes it larger.
        let client = match dependency.size {
            0 => self.client(),
            size => self.client().at_most(size),
        };
        let found = match self.store.dependency(dependency).with_context(needed)? {
            // An ID says exactly which; a name may have a newer image.
            Some(found) if dependency.image_id.is_some() || self.policy != PullPolicy::Update => found,
            known => match (self.name(&name, None, client), known) {
                (Ok(found), _) => found,
                // What is there will do where no other is to be had.
                (Err(error), Some(known)) => {
                    note("image", &plain(&format!("{name}: taking the stored one: {error:#}")));
                    known
                }
                (Err(error), None) => return Err(error).with_context(needed),
            },
        };
        if let Some(id) = &dependency.image_id
            && !found.id.as_str().starts_with(id.as_str())
        {
            bail!("{} with the ID {id}, but that name is now {}", needed(), found.id);
        }
        if way.contains(&found.id) {
            bail!("{}, and that on it again", needed());
        }
        self.dependencies(&found, way)
    }
}
