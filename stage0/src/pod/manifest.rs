//! The pod manifest that `run` makes of its arguments.

use anyhow::{Context, Result, bail};
use appc::{
    isolator::Isolator,
    schema::{App, Mount, PodManifest, RuntimeApp, RuntimeImage, Volume},
    types::{AcName, Annotations, check_os_arch, host_os_arch},
};
use serde_json::json;

use super::prepare::AppImage;

/// What the command line says of one app.
#[derive(Debug, Default, Clone)]
pub(crate) struct AppOptions {
    /// The image argument.
    pub(crate) image: String,
    /// `--name`
    pub(crate) name: Option<String>,
    /// `--exec`
    pub(crate) exec: Option<String>,
    /// What stood between `--` and `---`.
    pub(crate) arguments: Option<Vec<String>>,
    /// `--working-dir`
    pub(crate) working_directory: Option<String>,
    /// `--user`
    pub(crate) user: Option<String>,
    /// `--group`
    pub(crate) group: Option<String>,
    /// `--supplementary-gids`
    pub(crate) supplementary_gids: Vec<u32>,
    /// `--readonly-rootfs`
    pub(crate) read_only: Option<bool>,
    /// `--mount`
    pub(crate) mounts: Vec<Mount>,
    /// `--environment`
    pub(crate) environment: Vec<(String, String)>,
    /// `--caps-retain`
    pub(crate) caps_retain: Option<Vec<String>>,
    /// `--caps-remove`
    pub(crate) caps_remove: Option<Vec<String>>,
    /// `--oom-score-adj`
    pub(crate) oom_score_adj: Option<i32>,
    /// `--annotation`
    pub(crate) annotations: Vec<(String, String)>,
    /// `--user-annotation`
    pub(crate) user_annotations: Vec<(String, String)>,
    /// `--user-label`
    pub(crate) user_labels: Vec<(String, String)>,
}

/// What the command line says of the whole pod.
#[derive(Debug, Default)]
pub(crate) struct PodOptions {
    /// `--volume`
    pub(crate) volumes: Vec<Volume>,
    /// `--mount` before any image.
    pub(crate) mounts: Vec<Mount>,
    /// `--inherit-env`: our own environment.
    pub(crate) inherited: Vec<(String, String)>,
    /// `--set-env-file`, then `--set-env`.
    pub(crate) environment: Vec<(String, String)>,
}

/// Makes the manifest.
pub(crate) fn generate(pod: &PodOptions, apps: &[(AppOptions, &AppImage)]) -> Result<PodManifest> {
    let mut annotations = Annotations::default();
    annotations.set("coreos.com/rkt/stage1/mutable", "false")?;
    let mut runtime: Vec<RuntimeApp> = Vec::new();
    for (options, image) in apps {
        let app = runtime_app(pod, options, image).with_context(|| format!("image {}", options.image))?;
        if runtime.iter().any(|earlier| earlier.name == app.name) {
            bail!("multiple apps with name {:?}; give them different names with --name", app.name.as_str());
        }
        runtime.push(app);
    }
    Ok(PodManifest {
        ac_version: appc::SPEC_VERSION.parse()?,
        apps: runtime,
        volumes: pod.volumes.clone(),
        isolators: Vec::new(),
        annotations,
        ports: Vec::new(),
        user_annotations: Default::default(),
        user_labels: Default::default(),
    })
}

/// Refuses an image for another machine.
pub(crate) fn check_platform(image: &AppImage) -> Result<()> {
    let manifest = appc::schema::ImageManifest::from_slice(&image.manifest)?;
    let os = manifest.labels.get("os").context("missing os label in the image manifest")?;
    let arch = manifest.labels.get("arch").context("missing arch label in the image manifest")?;
    check_os_arch(os, Some(arch)).map_err(|error| anyhow::anyhow!(error.rule))?;
    let (host_os, host_arch) = host_os_arch();
    if os != host_os {
        bail!("bad os {os:?} (this machine runs {host_os})");
    }
    let runs_here = arch == host_arch || (host_arch, arch) == ("amd64", "i386");
    if !runs_here {
        bail!("bad arch {arch:?} for {os} (this machine is {host_arch})");
    }
    Ok(())
}

fn runtime_app(pod: &PodOptions, options: &AppOptions, image: &AppImage) -> Result<RuntimeApp> {
    let manifest = appc::schema::ImageManifest::from_slice(&image.manifest)?;
    check_platform(image)?;
    let name = match &options.name {
        Some(name) => name.parse().context("--name")?,
        None => AcName::sanitize(manifest.name.as_str().rsplit('/').next().unwrap_or_default())?,
    };
    let app = match (&manifest.app, &options.exec) {
        (Some(app), _) => app.clone(),
        // An image without a command becomes one that runs what it is told, as whoever runs rkt.
        (None, Some(_)) => App {
            user: rustix::process::getuid().as_raw().to_string(),
            group: rustix::process::getgid().as_raw().to_string(),
            ..App::default()
        },
        (None, None) => bail!("the image does not say what to execute (try --exec=BINARY)"),
    };
    let mut annotations = Annotations::default();
    for (key, value) in &options.annotations {
        annotations.set(key, value).context("--annotation")?;
    }
    Ok(RuntimeApp {
        name,
        image: RuntimeImage {
            name: Some(manifest.name.clone()),
            id: Some(image.record.key().parse()?),
            labels: manifest.labels.clone(),
        },
        app: Some(adapt(app, pod, options)?),
        read_only_root_fs: options.read_only.unwrap_or(false),
        mounts: mounts(pod, options),
        annotations,
    })
}

/// The app's own mounts win over those for all apps.
fn mounts(pod: &PodOptions, options: &AppOptions) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for mount in options.mounts.iter().chain(&pod.mounts) {
        if !mounts.iter().any(|earlier| earlier.path == mount.path) {
            mounts.push(mount.clone());
        }
    }
    mounts
}

fn adapt(mut app: App, pod: &PodOptions, options: &AppOptions) -> Result<App> {
    if let Some(exec) = &options.exec {
        app.exec = vec![exec.clone()];
    }
    // Arguments come after those of the image; with --exec there are none of the image.
    app.exec.extend(options.arguments.iter().flatten().cloned());
    if let Some(directory) = &options.working_directory {
        if !directory.starts_with('/') {
            bail!("--working-dir={directory}: must be an absolute path");
        }
        app.working_directory = Some(directory.clone());
    }
    options.user.clone_into_some(&mut app.user);
    options.group.clone_into_some(&mut app.group);
    if !options.supplementary_gids.is_empty() {
        app.supplementary_gids.clone_from(&options.supplementary_gids);
    }
    for (name, value) in &options.environment {
        app.set_variable(name, value).context("--environment")?;
    }
    for (name, value) in &pod.inherited {
        // Of ours, what cannot be a variable's name there is left out.
        if app.variable(name).is_none() && app.set_variable(name, value).is_err() {
            continue;
        }
    }
    for (name, value) in &pod.environment {
        app.set_variable(name, value).context("--set-env")?;
    }
    isolate(&mut app, options)?;
    if !options.user_annotations.is_empty() {
        app.user_annotations = options.user_annotations.iter().cloned().collect();
    }
    if !options.user_labels.is_empty() {
        app.user_labels = options.user_labels.iter().cloned().collect();
    }
    Ok(app)
}

/// Isolators of the command line replace the image's of the same sort.
fn isolate(app: &mut App, options: &AppOptions) -> Result<()> {
    let mut replace = |prefix: &str, name: &str, value: serde_json::Value| -> Result<()> {
        app.isolators.retain(|isolator| !isolator.name.as_str().starts_with(prefix));
        app.isolators.push(Isolator::new(name, value)?);
        Ok(())
    };
    let capabilities = "os/linux/capabilities-";
    match (&options.caps_retain, &options.caps_remove) {
        (Some(_), Some(_)) => bail!("--caps-retain and --caps-remove exclude each other"),
        (Some(set), None) => {
            replace(capabilities, "os/linux/capabilities-retain-set", json!({ "set": set }))
                .context("--caps-retain")?;
        }
        (None, Some(set)) => {
            replace(capabilities, "os/linux/capabilities-remove-set", json!({ "set": set }))
                .context("--caps-remove")?;
        }
        (None, None) => {}
    }
    if let Some(score) = options.oom_score_adj {
        let name = "os/linux/oom-score-adj";
        replace(name, name, json!(score)).context("--oom-score-adj")?;
    }
    Ok(())
}

/// Replaces a value where there is one to replace it with.
trait CloneIntoSome {
    fn clone_into_some(&self, target: &mut String);
}

impl CloneIntoSome for Option<String> {
    fn clone_into_some(&self, target: &mut String) {
        if let Some(value) = self {
            target.clone_from(value);
        }
    }
}
