//! What of the store the pods use.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use appc::schema::PodManifest;
use rkt_pod::{Place, PodDir, State, layout, lookup};

use super::{ImageRecord, Result, Store, StoreError};
use crate::files::Step;

/// Which pods use what.
#[derive(Debug, Default)]
pub(crate) struct Used {
    pods: BTreeMap<String, Pod>,
}

#[derive(Debug)]
struct Pod {
    trees: BTreeSet<String>,
    images: BTreeSet<String>,
    /// Whether it runs or can come to run. Pods that have ended keep what they had, but nothing works on it any more.
    live: bool,
}

impl Used {
    /// Whether any pod has this tree.
    pub(super) fn has_tree(&self, id: &str) -> bool {
        self.pods.values().any(|pod| pod.trees.contains(id))
    }

    /// The pods that run on this tree, or may yet.
    pub(super) fn live_on(&self, id: &str) -> Vec<&str> {
        let on = |pod: &Pod| pod.live && pod.trees.contains(id);
        self.pods.iter().filter(|(_, pod)| on(pod)).map(|(uuid, _)| uuid.as_str()).collect()
    }

    /// The pods that have this image.
    pub(crate) fn having(&self, image: &ImageRecord) -> Vec<&str> {
        let key = image.key();
        let has = |pod: &Pod| pod.images.iter().any(|id| id.starts_with(&key));
        self.pods.iter().filter(|(_, pod)| has(pod)).map(|(uuid, _)| uuid.as_str()).collect()
    }
}

impl Store {
    /// What pods use that are not removed.
    pub(crate) fn used(&self) -> Result<Used> {
        const PLACES: [Place; 4] = [Place::Prepare, Place::Prepared, Place::Run, Place::ExitedGarbage];
        let failed = |error: rkt_pod::Error| StoreError::Lookup(error.to_string());
        let mut used = Used::default();
        for pod in lookup::all(&self.data, &PLACES).map_err(failed)? {
            if let Some(found) = read(&self.data, &pod)? {
                used.pods.insert(pod.uuid().to_owned(), found);
            }
        }
        Ok(used)
    }
}

/// What a pod has, wherever it has moved meanwhile; `None` where it is gone.
fn read(data: &Path, pod: &PodDir) -> Result<Option<Pod>> {
    let mut pod = pod.clone();
    loop {
        let live = match pod.state() {
            Ok(state) => matches!(state, State::Preparing | State::Prepared | State::Running),
            Err(rkt_pod::Error::Gone(_)) => match lookup::by_uuid(data, pod.uuid()) {
                Some(moved) if moved.place() != pod.place() => {
                    pod = moved;
                    continue;
                }
                _ => return Ok(None),
            },
            Err(error) => return Err(StoreError::Lookup(error.to_string())),
        };
        let path = pod.path();
        let found = Pod { trees: trees(&path)?, images: images(&path, live)?, live };
        // Where it moved meanwhile, we may have seen nothing of it.
        if path.exists() {
            return Ok(Some(found));
        }
    }
}

fn trees(pod: &Path) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let apps = pod.join(layout::APPS_INFO);
    let entries = match fs::read_dir(&apps) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        other => other.step("list", &apps)?,
    };
    for entry in entries {
        let path = entry.step("list", &apps)?.path().join(layout::APP_TREE_ID);
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => found.extend(other.step("read", &path)?.lines().map(str::to_owned)),
        }
    }
    Ok(found)
}

/// The images in a pod's manifest. Of a pod that has ended, a damaged one does not matter: its trees stay anyway.
fn images(pod: &Path, live: bool) -> Result<BTreeSet<String>> {
    let path = pod.join(layout::MANIFEST);
    let text = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        other => other.step("read", &path)?,
    };
    let manifest = match PodManifest::from_slice(&text) {
        Ok(manifest) => manifest,
        Err(_) if !live => return Ok(BTreeSet::new()),
        Err(error) => {
            return Err(StoreError::Lookup(format!("pod manifest {}: {error}", path.display())));
        }
    };
    Ok(manifest.apps.iter().filter_map(|app| app.image.id.as_ref()).map(ToString::to_string).collect())
}
