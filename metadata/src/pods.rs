//! The pods that the service knows.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

use appc::schema::{ImageManifest, PodManifest};
use rkt_pod::{Place, PodDir, State, layout};
use sha2::{Digest as _, Sha512};
use uuid::Uuid;

/// What is known of a pod.
#[derive(Debug)]
pub(crate) struct Pod {
    /// Its UUID.
    pub(crate) uuid: Uuid,
    /// The digest of its token.
    token: Digest,
    /// Its manifest, as it was told.
    pub(crate) text: Vec<u8>,
    /// The same, understood.
    pub(crate) manifest: PodManifest,
    /// The image manifests of its apps, by the apps' names, as they were told and understood.
    pub(crate) images: BTreeMap<String, (Vec<u8>, ImageManifest)>,
}

/// Tokens are kept and looked up by their digests: how long that takes tells nothing of a token.
type Digest = [u8; 64];

fn digest(token: &str) -> Digest {
    Sha512::digest(token.as_bytes()).into()
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Pods {
    by_token: HashMap<Digest, Uuid>,
    by_uuid: HashMap<Uuid, Pod>,
}

impl Pods {
    /// Adds a pod, or has it anew. `None` where its manifest is none.
    pub(crate) fn add(&mut self, uuid: Uuid, token: &str, text: Vec<u8>) -> Option<()> {
        let manifest = PodManifest::from_slice(&text).ok()?;
        self.remove(uuid);
        let token = digest(token);
        self.by_token.insert(token, uuid);
        self.by_uuid.insert(uuid, Pod { uuid, token, text, manifest, images: BTreeMap::new() });
        Some(())
    }

    /// Adds the image of an app. `None` where the manifest is none.
    pub(crate) fn add_image(pod: &mut Pod, app: &str, text: Vec<u8>) -> Option<()> {
        let manifest = ImageManifest::from_slice(&text).ok()?;
        pod.images.insert(app.to_owned(), (text, manifest));
        Some(())
    }

    /// The pod that has this UUID.
    pub(crate) fn by_uuid(&mut self, uuid: Uuid) -> Option<&mut Pod> {
        self.by_uuid.get_mut(&uuid)
    }

    /// The pod that has this token.
    pub(crate) fn by_token(&self, token: &str) -> Option<&Pod> {
        self.by_uuid.get(self.by_token.get(&digest(token))?)
    }

    /// Forgets a pod. Whether it was known.
    pub(crate) fn remove(&mut self, uuid: Uuid) -> bool {
        let Some(pod) = self.by_uuid.remove(&uuid) else { return false };
        self.by_token.remove(&pod.token);
        true
    }

    /// Those of a data directory that run and were made known to a service before. One that cannot be read is left out.
    pub(crate) fn running(data: &Path) -> Pods {
        let mut pods = Pods::default();
        let directory = data.join(layout::PODS).join(Place::Run.directory());
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Some(uuid) = entry.file_name().to_str().map(str::to_owned) else { continue };
            let pod = PodDir::new(data, Place::Run, &uuid);
            if matches!(pod.state(), Ok(State::Running)) && pods.read(&pod).is_none() {
                // Nobody can have made it known.
            }
        }
        pods
    }

    fn read(&mut self, pod: &PodDir) -> Option<()> {
        let path = pod.path();
        let token = fs::read_to_string(path.join(layout::METADATA_TOKEN)).ok()?;
        let uuid = pod.uuid().parse().ok()?;
        self.add(uuid, token.trim(), fs::read(path.join(layout::MANIFEST)).ok()?)?;
        let pod = self.by_uuid(uuid)?;
        let apps: Vec<String> = pod.manifest.apps.iter().map(|app| app.name.to_string()).collect();
        for app in apps {
            let manifest = path.join(layout::APPS_INFO).join(&app).join(layout::APP_MANIFEST);
            Pods::add_image(pod, &app, fs::read(manifest).ok()?)?;
        }
        Some(())
    }
}
