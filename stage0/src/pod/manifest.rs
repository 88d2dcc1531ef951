//! The pod manifest that `run` makes of its arguments.

use std::{path::Path, str::FromStr};

use anyhow::{Context, Result, bail};
use appc::{
    isolator::{Isolator, IsolatorValue},
    schema::{App, Mount, PodManifest, RuntimeApp, RuntimeImage, Volume},
    types::{AcName, Annotations, check_os_arch, host_os_arch},
};
use rkt_pod::{
    extras::{self, Extras},
    stage1::MUTABLE,
    streams::Streams,
    sysctl,
};
use rkt_seccomp::Mode;
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
    /// `--signature`
    pub(crate) signature: Option<String>,
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
    /// `--tmpfs`, `--device`, and the propagation of mounts.
    pub(crate) extras: Extras,
    /// `--environment`
    pub(crate) environment: Vec<(String, String)>,
    /// `--caps-retain`
    pub(crate) caps_retain: Option<Vec<String>>,
    /// `--caps-remove`
    pub(crate) caps_remove: Option<Vec<String>>,
    /// `--oom-score-adj`
    pub(crate) oom_score_adj: Option<i32>,
    /// `--no-new-privileges`
    pub(crate) no_new_privileges: Option<bool>,
    /// `--seccomp`
    pub(crate) seccomp: Option<Isolator>,
    /// `--memory`, `--cpu` and the like.
    pub(crate) isolators: Vec<Isolator>,
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
    /// `--pod-memory` and the like.
    pub(crate) isolators: Vec<Isolator>,
    /// `--inherit-env`: our own environment.
    pub(crate) inherited: Vec<(String, String)>,
    /// `--set-env-file`, then `--set-env`.
    pub(crate) environment: Vec<(String, String)>,
    /// Whether apps come and go.
    pub(crate) mutable: bool,
}

/// Makes the manifest.
pub(crate) fn generate(pod: &PodOptions, apps: &[(AppOptions, &AppImage)]) -> Result<PodManifest> {
    let mut annotations = Annotations::default();
    annotations.set(MUTABLE, if pod.mutable { "true" } else { "false" })?;
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
        isolators: pod.isolators.clone(),
        annotations,
        ports: Vec::new(),
        user_annotations: Default::default(),
        user_labels: Default::default(),
    })
}

/// Adds an app, and returns its name.
pub(crate) fn add(manifest: &mut PodManifest, options: &AppOptions, image: &AppImage) -> Result<String> {
    let app = runtime_app(&PodOptions::default(), options, image)
        .with_context(|| format!("image {}", options.image))?;
    if manifest.apps.iter().any(|earlier| earlier.name == app.name) {
        bail!("the pod has an app {:?} already; give this one another name with --name", app.name.as_str());
    }
    let name = app.name.to_string();
    manifest.apps.push(app);
    Ok(name)
}

/// Refuses mounts of volumes that nobody declares.
pub(crate) fn check_mounts(manifest: &PodManifest) -> Result<()> {
    for app in &manifest.apps {
        for mount in app.mounts.iter().filter(|mount| mount.app_volume.is_none()) {
            if !manifest.volumes.iter().any(|volume| volume.name == mount.volume) {
                let (name, path, volume) = (app.name.as_str(), &mount.path, mount.volume.as_str());
                bail!("app {name:?}: dangling mount point {path:?}: volume {volume:?} not found");
            }
        }
    }
    Ok(())
}

/// Refuses limits of nothing, and beyond all that can be counted, and sets of system calls that there are none of.
pub(crate) fn check_isolators(whose: &str, isolators: &[Isolator]) -> Result<()> {
    isolators.iter().try_for_each(|isolator| {
        check_isolator(isolator).with_context(|| format!("{whose}: {}", isolator.name))
    })
}

fn check_isolator(isolator: &Isolator) -> Result<()> {
    let (mode, set) = match &isolator.value {
        IsolatorValue::SeccompRetain(set) => (Mode::Retain, set),
        IsolatorValue::SeccompRemove(set) => (Mode::Remove, set),
        IsolatorValue::Sysctl(settings) => {
            return settings.iter().try_for_each(|(key, _)| match sysctl::owner(key) {
                Some(_) => Ok(()),
                None => bail!("{key:?} is no setting that a pod has for itself"),
            });
        }
        IsolatorValue::CapabilitiesRetain(set) | IsolatorValue::CapabilitiesRemove(set) => {
            return set.iter().try_for_each(|name| check_capability(name));
        }
        _ => return isolator.check_amounts().map_err(anyhow::Error::msg),
    };
    rkt_seccomp::filter(mode, &set.set, set.errno.as_deref())?;
    Ok(())
}

/// Refuses a capability that Linux does not have.
fn check_capability(name: &str) -> Result<()> {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    match caps::Capability::from_str(&full) {
        Ok(_) => Ok(()),
        Err(_) => bail!("there is no capability {name:?}"),
    }
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

/// Refuses streams that lead where this version cannot lead them.
pub(crate) fn check_streams(annotations: &Annotations) -> Result<()> {
    Streams::of(|name| annotations.get(name)).map(|_| ()).map_err(anyhow::Error::msg)
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
    check_streams(&annotations)?;
    if !options.extras.is_empty() {
        annotations.set(extras::ANNOTATION, &serde_json::to_string(&options.extras)?)?;
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
        // Paths are compared by what they name: doubled slashes and single dots say nothing.
        let same =
            |earlier: &Mount| Path::new(&earlier.path).components().eq(Path::new(&mount.path).components());
        if !mounts.iter().any(same) {
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
    if let Some(set) = options.no_new_privileges {
        let name = "os/linux/no-new-privileges";
        replace(name, name, json!(set)).context("--no-new-privileges")?;
    }
    if let Some(isolator) = &options.seccomp {
        replace("os/linux/seccomp-", isolator.name.as_str(), isolator.raw().clone()).context("--seccomp")?;
    }
    if let Some(score) = options.oom_score_adj {
        let name = "os/linux/oom-score-adj";
        replace(name, name, json!(score)).context("--oom-score-adj")?;
    }
    for isolator in &options.isolators {
        // Of resources the last one counts; of the others there may be one.
        let name = isolator.name.as_str();
        if !name.starts_with("resource/") {
            app.isolators.retain(|earlier| earlier.name.as_str() != name);
        }
        app.isolators.push(isolator.clone());
    }
    check_isolators("its isolators", &app.isolators)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn app() -> App {
        let mut app = App {
            exec: vec!["/bin/app".to_owned(), "--own".to_owned()],
            user: "0".to_owned(),
            group: "0".to_owned(),
            ..App::default()
        };
        for name in ["A", "B", "C"] {
            app.set_variable(name, "image").unwrap();
        }
        app
    }

    // APPC-108
    #[test]
    fn arguments_follow_the_image_s_own_unless_the_command_is_another() {
        for (exec, arguments, want) in [
            (None, None, &["/bin/app", "--own"][..]),
            (None, Some(vec!["x"]), &["/bin/app", "--own", "x"]),
            (Some("/sh"), None, &["/sh"]),
            (Some("/sh"), Some(vec!["-c", ""]), &["/sh", "-c", ""]),
        ] {
            let options = AppOptions {
                exec: exec.map(str::to_owned),
                arguments: arguments.map(|list| list.into_iter().map(str::to_owned).collect()),
                ..AppOptions::default()
            };
            assert_eq!(adapt(app(), &PodOptions::default(), &options).unwrap().exec, want);
        }
    }

    // APPC-108
    #[test]
    fn variables_of_the_pod_win_over_the_app_s_over_the_image_s() {
        let pod = PodOptions {
            inherited: pairs(&[
                ("A", "inherited"),
                ("NEW", "inherited"),
                ("SET", "inherited"),
                ("1=", "bad"),
            ]),
            environment: pairs(&[("C", "set"), ("SET", "set")]),
            ..PodOptions::default()
        };
        let options =
            AppOptions { environment: pairs(&[("B", "app"), ("C", "app")]), ..AppOptions::default() };
        let app = adapt(app(), &pod, &options).unwrap();
        for (name, want) in [("A", "image"), ("B", "app"), ("C", "set"), ("NEW", "inherited"), ("SET", "set")]
        {
            assert_eq!(app.variable(name), Some(want), "{name}");
        }
        assert_eq!(app.environment.len(), 5);
    }

    #[test]
    fn an_app_s_own_mount_wins_over_that_for_all() {
        let mount = |volume: &str, path: &str| Mount {
            volume: volume.parse().unwrap(),
            path: path.to_owned(),
            app_volume: None,
        };
        let pod =
            PodOptions { mounts: vec![mount("all", "/a//b/."), mount("all", "/c")], ..PodOptions::default() };
        let options = AppOptions {
            mounts: vec![mount("own", "/a/b"), mount("late", "/a/b/")],
            ..AppOptions::default()
        };
        let volumes: Vec<String> =
            mounts(&pod, &options).iter().map(|mount| mount.volume.to_string()).collect();
        assert_eq!(volumes, ["own", "all"]);
    }

    #[test]
    fn isolators_of_the_command_line_replace_the_image_s() {
        let mut image = app();
        let retain = "os/linux/capabilities-retain-set";
        image.isolators = vec![
            Isolator::new(retain, json!({"set": ["CAP_KILL"]})).unwrap(),
            Isolator::new("os/linux/oom-score-adj", json!(1)).unwrap(),
        ];
        let options = AppOptions {
            caps_remove: Some(vec!["CAP_CHOWN".to_owned()]),
            oom_score_adj: Some(-5),
            ..AppOptions::default()
        };
        let app = adapt(image.clone(), &PodOptions::default(), &options).unwrap();
        let names: Vec<&str> = app.isolators.iter().map(|isolator| isolator.name.as_str()).collect();
        assert_eq!(names, ["os/linux/capabilities-remove-set", "os/linux/oom-score-adj"]);
        for options in [
            AppOptions { caps_retain: Some(vec![]), caps_remove: Some(vec![]), ..AppOptions::default() },
            AppOptions { oom_score_adj: Some(1001), ..AppOptions::default() },
            AppOptions { working_directory: Some("relative".to_owned()), ..AppOptions::default() },
            AppOptions { environment: pairs(&[("1=", "x")]), ..AppOptions::default() },
        ] {
            assert!(adapt(image.clone(), &PodOptions::default(), &options).is_err(), "{options:?}");
        }
    }
}
