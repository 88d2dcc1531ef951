//! The pod that stage0 prepared, as it lies in its directory.

use std::{
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use appc::schema::{App, ImageManifest, PodManifest, RuntimeApp};
use rkt_pod::{Place, PodDir, layout, names};
use rustix::fs::{Mode, OFlags};

/// A prepared pod.
#[derive(Debug)]
pub(crate) struct Pod {
    /// Its UUID.
    pub(crate) uuid: String,
    /// The name that the user gave it.
    pub(crate) name: Option<String>,
    /// Its directory, open.
    pub(crate) directory: OwnedFd,
    /// The directory's path.
    pub(crate) path: PathBuf,
    /// The data directory that it lies in.
    pub(crate) data: PathBuf,
    /// Its manifest.
    pub(crate) manifest: PodManifest,
    /// Its apps, in the order of the manifest.
    pub(crate) apps: Vec<PodApp>,
}

/// One app of a pod.
#[derive(Debug)]
pub(crate) struct PodApp {
    /// Its entry in the pod manifest.
    pub(crate) runtime: RuntimeApp,
    /// What it executes: the pod manifest's section, else the image's.
    pub(crate) app: App,
    /// Its image's manifest.
    pub(crate) image: ImageManifest,
}

impl PodApp {
    /// The app's name.
    pub(crate) fn name(&self) -> &str {
        self.runtime.name.as_str()
    }

    /// Whether the image was converted from Docker's format, whose rules for groups and volumes differ.
    pub(crate) fn is_docker(&self) -> bool {
        self.image.annotations.get("appc.io/docker/repository").is_some()
    }
}

impl Pod {
    /// Loads the pod whose directory is the working directory. Only one that is `mutable` may have no apps.
    pub(crate) fn load(uuid: &str, mutable: bool) -> Result<Pod> {
        let path = std::env::current_dir().context("find the pod's directory")?;
        let data = data_directory(&path, uuid)?;
        let directory = rustix::fs::open(
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::empty(),
        )
        .with_context(|| format!("open {}", path.display()))?;
        let text = fs::read(layout::MANIFEST).context("read the pod manifest")?;
        let manifest = PodManifest::from_slice(&text).context("pod manifest")?;
        let apps = manifest.apps.iter().map(load_app).collect::<Result<Vec<_>>>()?;
        if apps.is_empty() && !mutable {
            bail!("pod must contain at least one application");
        }
        let name = names::of(&PodDir::new(&data, Place::Run, uuid));
        Ok(Pod { uuid: uuid.to_owned(), name, directory, path, data, manifest, apps })
    }
}

/// The data directory of a pod's directory: `DATA/pods/run/UUID`.
fn data_directory(path: &Path, uuid: &str) -> Result<PathBuf> {
    let is_pod = path.file_name().is_some_and(|name| name == uuid);
    match path.ancestors().nth(3) {
        Some(data) if is_pod => Ok(data.to_owned()),
        _ => bail!("{} is not the directory of pod {uuid}", path.display()),
    }
}

fn load_app(runtime: &RuntimeApp) -> Result<PodApp> {
    let name = runtime.name.as_str();
    let path = Path::new(layout::APPS_INFO).join(name).join(layout::APP_MANIFEST);
    let text = fs::read(&path).with_context(|| format!("app {name:?}: read its image manifest"))?;
    let image = ImageManifest::from_slice(&text).with_context(|| format!("app {name:?}: image manifest"))?;
    let app =
        runtime.app.clone().or_else(|| image.app.clone()).with_context(|| {
            format!("app {name:?}: neither the pod manifest nor the image says what to run")
        })?;
    Ok(PodApp { runtime: runtime.clone(), app, image })
}
