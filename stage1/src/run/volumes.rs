//! Which volume is mounted where in each app (appc spec, volumes; rkt's rules for what is left out).

use std::path::{Component, Path};

use anyhow::{Context, Result, bail};
use appc::schema::{Volume, VolumeKind};

use crate::{
    output,
    pod::{Pod, PodApp},
};

/// A volume and its place in an app.
#[derive(Debug)]
pub(super) struct Mount {
    /// The volume.
    pub(super) volume: Volume,
    /// Absolute path in the app's root.
    pub(super) target: String,
    /// Whether it is read-only there.
    pub(super) read_only: bool,
    /// Whether the volume starts with what the image has there.
    pub(super) seeded: bool,
}

/// The mounts of each app of the pod, in the order of the pod's apps.
pub(super) fn resolve(pod: &Pod) -> Result<Vec<Vec<Mount>>> {
    pod.apps
        .iter()
        .map(|app| mounts_of(&pod.manifest.volumes, app).with_context(|| format!("app {:?}", app.name())))
        .collect()
}

fn mounts_of(volumes: &[Volume], app: &PodApp) -> Result<Vec<Mount>> {
    let named = |name: &str| volumes.iter().find(|volume| volume.name.as_str() == name);
    let mut mounts = Vec::new();
    for mount in &app.runtime.mounts {
        let name = mount.volume.as_str();
        let volume = mount.app_volume.as_ref().or_else(|| named(name));
        let volume =
            volume.with_context(|| format!("mount at {:?}: there is no volume {name:?}", mount.path))?;
        let point = app.app.mount_points.iter().find(|point| point.name.as_str() == name);
        let read_only = volume.read_only.unwrap_or(point.is_some_and(|point| point.read_only));
        mounts.push(Mount { volume: volume.clone(), target: mount.path.clone(), read_only, seeded: false });
    }
    for point in &app.app.mount_points {
        if mounts.iter().any(|mount| clean(&mount.target) == clean(&point.path)) {
            continue;
        }
        let (volume, seeded) = match named(point.name.as_str()) {
            Some(volume) => (volume.clone(), false),
            None => (implicit(app, point.name.as_str())?, app.is_docker()),
        };
        let read_only = volume.read_only.unwrap_or(point.read_only);
        mounts.push(Mount { volume, target: point.path.clone(), read_only, seeded });
    }
    check(&mounts)?;
    Ok(mounts)
}

/// A mount point that nobody gave a volume for gets an empty one of its own.
fn implicit(app: &PodApp, point: &str) -> Result<Volume> {
    let name = format!("{}-{point}", app.name());
    output::say(&format!(
        "warning: no volume specified for mount point {point:?}, implicitly creating an \"empty\" volume"
    ));
    Ok(Volume {
        name: name.parse().with_context(|| format!("implicit volume {name:?}"))?,
        kind: VolumeKind::Empty { mode: 0o755, uid: 0, gid: 0 },
        read_only: None,
    })
}

/// Targets are absolute, without `..`, and none is the same as another or hides one that was mounted before.
fn check(mounts: &[Mount]) -> Result<()> {
    for (index, mount) in mounts.iter().enumerate() {
        let target = Path::new(&mount.target);
        let name = mount.volume.name.as_str();
        if !target.is_absolute() || target.components().any(|part| part == Component::ParentDir) {
            bail!("volume {name:?}: target {:?} must be an absolute path without \"..\"", mount.target);
        }
        if target.components().count() < 2 {
            bail!("volume {name:?}: the target cannot be the root directory");
        }
        for earlier in &mounts[..index] {
            if clean(&earlier.target).starts_with(clean(&mount.target)) {
                bail!(
                    "volume {name:?} at {:?} would hide volume {:?} at {:?}",
                    mount.target,
                    earlier.volume.name.as_str(),
                    earlier.target
                );
            }
        }
    }
    Ok(())
}

fn clean(path: &str) -> std::path::PathBuf {
    Path::new(path).components().collect()
}
