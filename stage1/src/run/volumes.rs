//! Which volume is mounted where in each app (appc spec, volumes; rkt's rules for what is left out).

use std::path::{Component, Path};

use anyhow::{Context, Result, bail};
use appc::schema::{Volume, VolumeKind};
use rkt_pod::extras::{self, Device, Extras, Owners, Tmpfs};
use rustix::fs::FileType;

use crate::{
    output,
    pod::{Pod, PodApp},
    sys::{self, DeviceRule},
    wrap,
};

/// What is mounted.
#[derive(Debug)]
pub(crate) enum Source {
    /// A volume of the pod.
    Volume(Volume),
    /// A file system in memory.
    Memory(Tmpfs),
    /// A device of the host.
    Device(Device),
    /// A socket in the pod's directory.
    Socket(String),
}

/// A volume and its place in an app.
#[derive(Debug)]
pub(crate) struct Mount {
    /// What it is called in messages.
    pub(super) name: String,
    /// What is mounted.
    pub(crate) source: Source,
    /// Absolute path in the app's root.
    pub(super) target: String,
    /// Whether it is read-only there.
    pub(super) read_only: bool,
    /// Whether the volume starts with what the image has there.
    pub(super) seeded: bool,
    /// Whether nothing appears in it that is mounted on the host later.
    pub(crate) private: bool,
    /// Whose its files are, where that was said.
    pub(crate) owners: Option<Owners>,
}

/// The mounts of each app of the pod, in the order of the pod's apps.
pub(super) fn resolve(pod: &Pod) -> Result<Vec<Vec<Mount>>> {
    pod.apps.iter().map(|app| of_app(pod, app)).collect()
}

/// The mounts of one app.
pub(super) fn of_app(pod: &Pod, app: &PodApp) -> Result<Vec<Mount>> {
    mounts_of(&pod.manifest.volumes, app).with_context(|| format!("app {:?}", app.name()))
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
        mounts.push(Mount::new(volume.clone(), &mount.path, read_only, false));
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
        mounts.push(Mount::new(volume, &point.path, read_only, seeded));
    }
    let extras = extras(app)?;
    for mount in &mut mounts {
        let is_here = |target: &str| clean(target) == clean(&mount.target);
        mount.private = extras.private.iter().any(|target| is_here(target));
        mount.owners = extras.owners.iter().find(|of| is_here(&of.target)).map(|of| of.owners);
        if let (Some(_), Source::Volume(Volume { kind: VolumeKind::Empty { .. }, name, .. })) =
            (mount.owners, &mount.source)
        {
            bail!("volume {:?}: idmap is for volumes of the host", name.as_str());
        }
    }
    let memory = extras.tmpfs.into_iter().map(|tmpfs| Mount {
        name: "tmpfs".to_owned(),
        target: tmpfs.target.clone(),
        source: Source::Memory(tmpfs),
        read_only: false,
        seeded: false,
        private: true,
        owners: None,
    });
    let devices = extras.devices.into_iter().map(|device| Mount {
        name: device.source.clone(),
        target: device.target.clone(),
        source: Source::Device(device),
        read_only: false,
        seeded: false,
        private: true,
        owners: None,
    });
    mounts.extend(memory.chain(devices));
    check(&mounts)?;
    Ok(mounts)
}

impl Mount {
    fn new(volume: Volume, target: &str, read_only: bool, seeded: bool) -> Mount {
        Mount {
            name: volume.name.as_str().to_owned(),
            source: Source::Volume(volume),
            target: target.to_owned(),
            read_only,
            seeded,
            private: false,
            owners: None,
        }
    }
}

/// The socket at which an app says how it is, where the app looks for it.
pub(super) fn notify(socket: String) -> Mount {
    Mount {
        name: "notify".to_owned(),
        source: Source::Socket(socket),
        target: wrap::SOCKET.to_owned(),
        read_only: false,
        seeded: false,
        private: true,
        owners: None,
    }
}

/// What the app is given besides what its manifest can say.
fn extras(app: &PodApp) -> Result<Extras> {
    match app.runtime.annotations.get(extras::ANNOTATION) {
        Some(text) => {
            serde_json::from_str(text).with_context(|| format!("annotation {}", extras::ANNOTATION))
        }
        None => Ok(Extras::default()),
    }
}

/// The devices among the mounts, and what may be done with each.
pub(super) fn devices(mounts: &[Mount]) -> Result<Vec<DeviceRule>> {
    given(mounts)
        .map(|device| {
            let stat =
                rustix::fs::stat(&device.source).with_context(|| format!("device {:?}", device.source))?;
            let access = [('r', sys::READ), ('w', sys::WRITE), ('m', sys::MAKE)];
            Ok(DeviceRule {
                block: FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice,
                major: rustix::fs::major(stat.st_rdev),
                minor: Some(rustix::fs::minor(stat.st_rdev)),
                access: access
                    .into_iter()
                    .filter(|(letter, _)| device.access.contains(*letter))
                    .fold(0, |sum, (_, bit)| sum | bit),
            })
        })
        .collect()
}

/// The devices of the host that an app gets.
pub(super) fn given(mounts: &[Mount]) -> impl Iterator<Item = &Device> {
    mounts.iter().filter_map(|mount| match &mount.source {
        Source::Device(device) => Some(device),
        _ => None,
    })
}

/// What nobody keeps an app from, and why, where its devices cannot be restricted.
pub(super) fn unrestricted(app: &str, mounts: &[Mount], reason: &str) -> Vec<String> {
    let is_whole = |access: &str| access.contains('r') && access.contains('w');
    given(mounts)
        .filter(|device| !is_whole(&device.access))
        .map(|device| {
            format!(
                "app {app:?}: device {}: it cannot be restricted to {:?}: {reason}",
                device.source, device.access
            )
        })
        .collect()
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
        let name = mount.name.as_str();
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
                    earlier.name,
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
