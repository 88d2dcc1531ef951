//! `rkt run`: finds the images, makes the pod, becomes it.

mod arguments;
mod environment;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use appc::schema::{Mount, PodManifest, Volume};
use clap::ArgMatches;
use rkt_pod::{
    Lock, Place, PodDir, layout,
    lock::Kind,
    stage1::{RunArgs, Supervisor},
};

use super::{global::Global, need_root};
use crate::{
    fetch::Reference,
    pod::{
        manifest::{self, AppOptions, PodOptions},
        prepare::{self, AppImage},
        remove,
    },
    stage1,
    store::{PullPolicy, Store, overlay_supported},
};

pub(crate) use arguments::{command_position, mark_groups};

/// Run image(s) in a pod in rkt.
///
/// Each image may be followed by options of its own and, after `--`, by arguments of its app; `---` ends them, and the
/// next image may follow.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Images: files, IDs or names
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// The network: host or none
    #[arg(long, value_name = "LIST", num_args = 0..=1, require_equals = true, default_missing_value = "default")]
    net: Vec<String>,
    /// Volumes to make available in the pod: NAME,kind=host,source=PATH or NAME,kind=empty
    #[arg(long, value_name = "VOLUME")]
    volume: Vec<Volume>,
    /// Inherit all environment variables not set by apps
    #[arg(long)]
    inherit_env: bool,
    /// Environment variable to set for all the apps in the form key=value
    #[arg(long, value_name = "KEY=VALUE")]
    set_env: Vec<String>,
    /// Path to a file of environment variables to set for all the apps
    #[arg(long, value_name = "FILE")]
    set_env_file: Vec<PathBuf>,
    /// Pod's hostname
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Write out the pod's UUID to this file
    #[arg(long, value_name = "FILE")]
    uuid_file_save: Option<PathBuf>,
    /// Path to a pod manifest to run instead of images
    #[arg(long, value_name = "FILE")]
    pod_manifest: Option<PathBuf>,
    /// Run the pod interactively, with the terminal for its only app
    #[arg(long)]
    interactive: bool,
    /// Copy the images instead of using overlays
    #[arg(long)]
    no_overlay: bool,
    /// Whether to stay in the parent IPC namespace: auto, private or parent
    #[arg(long, value_name = "MODE", value_parser = ["auto", "private", "parent"])]
    ipc: Option<String>,
    /// Who starts and watches the apps: auto, systemd or direct
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = supervisor)]
    supervisor: Supervisor,
    /// File with the passphrase of encrypted images in its first line
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// When to fetch what the store may have: never, new or update
    #[arg(long, value_name = "POLICY", default_value = "new")]
    pull_policy: PullPolicy,
    #[command(flatten)]
    apps: AppArgs,
}

/// Options of the image before them.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of the image before them")]
struct AppArgs {
    /// Name of the app
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// Override the exec command
    #[arg(long, value_name = "PATH")]
    exec: Vec<String>,
    /// Override the working directory
    #[arg(long, value_name = "DIR")]
    working_dir: Vec<String>,
    /// Override the user
    #[arg(long, value_name = "USER")]
    user: Vec<String>,
    /// Override the group
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// Supplementary group IDs, comma-separated
    #[arg(long, value_name = "GIDS")]
    supplementary_gids: Vec<String>,
    /// Mount the root file system read-only: true or false
    #[arg(long, value_name = "BOOL")]
    readonly_rootfs: Vec<String>,
    /// Mount point binding a volume to a path; before any image, for all apps: volume=NAME,target=PATH
    #[arg(long, value_name = "MOUNT")]
    mount: Vec<String>,
    /// Environment variable to set for the app in the form key=value
    #[arg(long, value_name = "KEY=VALUE")]
    environment: Vec<String>,
    /// Capabilities to retain, comma-separated
    #[arg(long, value_name = "CAPS")]
    caps_retain: Vec<String>,
    /// Capabilities to remove, comma-separated
    #[arg(long, value_name = "CAPS")]
    caps_remove: Vec<String>,
    /// Out-of-memory score adjustment, -1000 to 1000
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true)]
    oom_score_adj: Vec<String>,
    /// Annotation of the app in the form key=value
    #[arg(long, value_name = "KEY=VALUE")]
    annotation: Vec<String>,
    /// User annotation of the app in the form key=value
    #[arg(long, value_name = "KEY=VALUE")]
    user_annotation: Vec<String>,
    /// User label of the app in the form key=value
    #[arg(long, value_name = "KEY=VALUE")]
    user_label: Vec<String>,
    /// Signature of the image, where it is not beside it
    #[arg(long, value_name = "FILE")]
    signature: Vec<String>,
    /// What stood between `--` and `---`
    #[arg(long, hide = true, allow_hyphen_values = true, require_equals = true)]
    app_arguments: Vec<String>,
}

fn supervisor(word: &str) -> Result<Supervisor, String> {
    Supervisor::from_word(word).ok_or_else(|| "must be auto, systemd or direct".to_owned())
}

/// Makes the pod and becomes it. Returns only on failure.
pub(crate) fn run(global: &Global, args: &Args, matches: Option<&ArgMatches>) -> Result<u8> {
    need_root()?;
    let (mounts, apps) = arguments::apps(matches.context("no arguments")?)?;
    check(args, &mounts, &apps)?;
    check_hostname(args.hostname.as_deref())?;
    let program = stage1::program()?;
    let store = Store::open(&global.dir)?;
    let (manifest, images) = match &args.pod_manifest {
        Some(path) => from_manifest(&store, path)?,
        None => from_images(global, &store, args, mounts, &apps)?,
    };
    if args.interactive && manifest.apps.len() > 1 {
        bail!("interactive option only supports one image");
    }
    let net = network(&args.net)?;
    let overlay = !args.no_overlay && has_overlay(global);
    let (mut pod, lock) = PodDir::create(&global.dir)?;
    let prepared = prepare_pod(global, args, &mut pod, &manifest, &images, overlay);
    if let Err(error) = prepared {
        discard(pod, lock, global.debug);
        return Err(error);
    }
    drop(store);
    let run_args = RunArgs {
        debug: global.debug,
        net,
        interactive: args.interactive,
        local_config: Some(global.local_config.clone().into()),
        hostname: args.hostname.clone(),
        insecure_capabilities: global.insecure.capabilities(),
        insecure_paths: global.insecure.paths(),
        insecure_seccomp: global.insecure.seccomp(),
        ipc: args.ipc.clone(),
        supervisor: args.supervisor,
        uuid: pod.uuid().to_owned(),
    };
    let error = stage1::run(&program, &pod, &lock, &run_args);
    discard(pod, lock, global.debug);
    Err(error)
}

fn prepare_pod(
    global: &Global,
    args: &Args,
    pod: &mut PodDir,
    manifest: &PodManifest,
    images: &[AppImage],
    overlay: bool,
) -> Result<()> {
    if let Some(file) = &args.uuid_file_save {
        fs::write(file, pod.uuid()).with_context(|| format!("write {}", file.display()))?;
    }
    // Trees that pods are being prepared on are not collected.
    let locks = global.dir.join(layout::LOCKS).join(layout::PREPARE_LOCK);
    let _lock = match Lock::wait(&locks, Kind::Shared) {
        Ok(lock) => lock,
        Err(_) => {
            fs::create_dir_all(&locks).with_context(|| format!("make directory {}", locks.display()))?;
            Lock::wait(&locks, Kind::Shared)?
        }
    };
    prepare::fill(pod, manifest, images, overlay)?;
    Ok(pod.move_to(Place::Run)?)
}

/// Removes a pod that did not come to be.
fn discard(mut pod: PodDir, lock: Lock, debug: bool) {
    let removed =
        pod.move_to(Place::Garbage).map_err(Into::into).and_then(|()| remove::pod(&pod, lock, debug));
    if let Err(error) = removed {
        crate::output::print_error("run", &error.context("remove the pod that could not be made"), debug);
    }
}

/// Refuses what does not go together.
fn check(args: &Args, mounts: &[Mount], apps: &[AppOptions]) -> Result<()> {
    if args.pod_manifest.is_some() {
        let others = !apps.is_empty()
            || !mounts.is_empty()
            || !args.volume.is_empty()
            || args.inherit_env
            || args.pull_policy != PullPolicy::New
            || args.passphrase_file.is_some()
            || !args.set_env.is_empty()
            || !args.set_env_file.is_empty();
        if others {
            bail!("conflicting flags set with --pod-manifest (see --help)");
        }
        return Ok(());
    }
    if apps.is_empty() {
        bail!("must provide at least one image or --pod-manifest");
    }
    for (index, volume) in args.volume.iter().enumerate() {
        if args.volume[..index].iter().any(|earlier| earlier.name == volume.name) {
            bail!("duplicate volume name {:?}", volume.name.as_str());
        }
    }
    for mount in mounts.iter().chain(apps.iter().flat_map(|app| &app.mounts)) {
        if !args.volume.iter().any(|volume| volume.name == mount.volume) {
            bail!("dangling mount point {:?}: volume {:?} not found", mount.path, mount.volume.as_str());
        }
    }
    Ok(())
}

/// Refuses what the kernel, or a program that reads it, would not take as a host name (hostname(7)).
fn check_hostname(hostname: Option<&str>) -> Result<()> {
    let Some(hostname) = hostname else { return Ok(()) };
    let valid = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if hostname.len() > 64 || !hostname.split('.').all(valid) {
        bail!("--hostname={hostname}: must have letters, digits, dots and dashes, at most 64 characters");
    }
    Ok(())
}

/// The network of the pod: the lists of all options together. One name that makes the others meaningless wins.
fn network(lists: &[String]) -> Result<String> {
    let names: Vec<&str> = lists.iter().flat_map(|list| list.split(',')).collect();
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() {
            bail!("--net={}: a network's name must not be empty", lists.join(","));
        }
        if names[..index].contains(name) {
            bail!("--net={}: network {name:?} is given twice", lists.join(","));
        }
    }
    for special in ["host", "none"] {
        if names.contains(&special) {
            return Ok(special.to_owned());
        }
    }
    let name = names.first().unwrap_or(&"default");
    bail!("network {name:?} is not available in this version; choose --net=host or --net=none")
}

fn has_overlay(global: &Global) -> bool {
    match overlay_supported(&global.dir) {
        Ok(()) => true,
        Err(reason) => {
            crate::output::note("run", &format!("disabling overlay support: {reason}"));
            false
        }
    }
}

fn from_images(
    global: &Global,
    store: &Store,
    args: &Args,
    mounts: Vec<Mount>,
    apps: &[AppOptions],
) -> Result<(PodManifest, Vec<AppImage>)> {
    let fetcher = global.fetcher(store, args.pull_policy, args.passphrase_file.as_deref())?;
    let mut images = Vec::new();
    for app in apps {
        let signature = app.signature.as_deref().map(Path::new);
        let record = fetcher.fetch(&Reference::read(&app.image)?, signature)?;
        images.push(AppImage::new(store, record)?);
    }
    let options = PodOptions {
        volumes: args.volume.clone(),
        mounts,
        inherited: if args.inherit_env { environment::own() } else { Vec::new() },
        environment: environment::set(&args.set_env_file, &args.set_env)?,
    };
    let pairs: Vec<(AppOptions, &AppImage)> = apps.iter().cloned().zip(&images).collect();
    let manifest = manifest::generate(&options, &pairs)?;
    Ok((manifest, images))
}

fn from_manifest(store: &Store, path: &Path) -> Result<(PodManifest, Vec<AppImage>)> {
    let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let manifest =
        PodManifest::from_slice(&text).with_context(|| format!("pod manifest {}", path.display()))?;
    if manifest.apps.is_empty() {
        bail!("pod must contain at least one application");
    }
    manifest::check_mounts(&manifest)?;
    let mut images = Vec::new();
    for app in &manifest.apps {
        let name = app.name.as_str();
        let id = app.image.id.as_ref().with_context(|| format!("app {name:?}: its image has no id"))?;
        let record = store.by_id(id.as_str()).with_context(|| format!("app {name:?}: image {id}"))?;
        let image = AppImage::new(store, record)?;
        manifest::check_platform(&image).with_context(|| format!("app {name:?}"))?;
        if app.app.is_none() && store.manifest(&image.record)?.app.is_none() {
            bail!("app {name:?}: neither the pod manifest nor its image says what to execute");
        }
        images.push(image);
    }
    Ok((manifest, images))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_none_are_networks_and_win() {
        let network =
            |lists: &[&str]| network(&lists.iter().map(|list| (*list).to_owned()).collect::<Vec<_>>());
        assert_eq!(network(&["host"]).unwrap(), "host");
        assert_eq!(network(&["a,none", "b"]).unwrap(), "none");
        assert_eq!(network(&["none", "host"]).unwrap(), "host");
        for lists in [&[][..], &["default"], &["", "host"], &["host,"], &["none", "none"]] {
            assert!(network(lists).is_err(), "{lists:?}");
        }
    }

    #[test]
    fn a_hostname_is_one_that_the_kernel_takes() {
        for name in ["a", "a-b.c0", &"x".repeat(64)] {
            check_hostname(Some(name)).unwrap();
        }
        for name in ["", "-a", "a..b", "a_b", "ü", "a b", "a/b", &"x".repeat(65)] {
            assert!(check_hostname(Some(name)).is_err(), "{name:?}");
        }
    }
}
