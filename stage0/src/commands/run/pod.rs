//! The pod that `run` and `prepare` make of their arguments.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use appc::{
    isolator::Isolator,
    schema::{Mount, PodManifest, Volume},
};
use clap::ArgMatches;
use rkt_net::ports::{self, PortOption};
use rkt_pod::{Lock, Place, PodDir, failpoint, names, users};

use super::{arguments, environment, users::Users};
use crate::{
    commands::{global::Global, policy::PolicyArgs},
    fetch::Reference,
    output::Progress,
    pod::{
        manifest::{self, AppOptions, PodOptions},
        prepare::{self, AppImage},
        remove,
    },
    store::{PullPolicy, Store, make_mount_points, overlay_supported},
};

/// What a pod consists of.
#[derive(Debug, clap::Args)]
pub(crate) struct PodArgs {
    /// Images: files, URLs, IDs or names
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// Name of the pod, its own as long as it lives; it stands for the UUID, and the machine is called so
    #[arg(long, value_name = "NAME")]
    pod_name: Option<String>,
    /// Volumes to make available in the pod: NAME,kind=host,source=PATH or NAME,kind=empty
    #[arg(long, value_name = "VOLUME")]
    volume: Vec<Volume>,
    /// Port of the host to forward to the port of this name that an app has: NAME:[IP:]HOSTPORT[/udp]
    #[arg(long, value_name = "PORT")]
    port: Vec<PortOption>,
    /// Inherit all environment variables not set by apps
    #[arg(long)]
    inherit_env: bool,
    /// Environment variable to set for all the apps in the form key=value
    #[arg(long, value_name = "KEY=VALUE")]
    set_env: Vec<String>,
    /// Path to a file of environment variables to set for all the apps
    #[arg(long, value_name = "FILE")]
    set_env_file: Vec<PathBuf>,
    /// Path to a pod manifest to run instead of images
    #[arg(long, value_name = "FILE")]
    pod_manifest: Option<PathBuf>,
    /// Memory limit of the whole pod
    #[arg(long, value_name = "QUANTITY", allow_hyphen_values = true)]
    pod_memory: Option<String>,
    /// Processor limit of the whole pod
    #[arg(long, value_name = "QUANTITY", allow_hyphen_values = true)]
    pod_cpu: Option<String>,
    /// Share of processor time of the whole pod among its siblings
    #[arg(long, value_name = "SHARES", allow_hyphen_values = true)]
    pod_cpu_shares: Option<String>,
    /// Limit of processes and threads of the whole pod
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pod_pids_limit: Option<String>,
    /// Bytes a second that may go through each network interface of the pod, in each direction
    #[arg(long, value_name = "QUANTITY", allow_hyphen_values = true)]
    pod_network_bandwidth: Option<String>,
    /// Run the pod in a user namespace, with users of the host of its own: auto, or BASE:COUNT
    #[arg(long, value_name = "RANGE", num_args = 0..=1, require_equals = true, default_missing_value = "auto",
        value_parser = super::users::parse)]
    private_users: Option<Users>,
    /// Kernel setting of the pod's own namespaces in the form key=value
    #[arg(long, value_name = "KEY=VALUE")]
    sysctl: Vec<String>,
    /// Copy the images instead of using overlays
    #[arg(long)]
    no_overlay: bool,
    /// Print nothing about downloads
    #[arg(long)]
    quiet: bool,
    /// File with the passphrase of encrypted images in its first line
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    apps: AppArgs,
}

/// Options of the image before them.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of the image before them")]
pub(crate) struct AppArgs {
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
    /// File system in memory: TARGET[:size=BYTES][,mode=OCTAL]
    #[arg(long, value_name = "TARGET[:OPTIONS]")]
    tmpfs: Vec<String>,
    /// Device of the host: SOURCE[:TARGET][:rwm]
    #[arg(long, value_name = "DEVICE")]
    device: Vec<String>,
    /// Environment variable to set for the app in the form key=value
    #[arg(long, value_name = "KEY=VALUE")]
    environment: Vec<String>,
    /// Capabilities to retain, comma-separated
    #[arg(long, value_name = "CAPS")]
    caps_retain: Vec<String>,
    /// Capabilities to remove, comma-separated
    #[arg(long, value_name = "CAPS")]
    caps_remove: Vec<String>,
    /// Whether the app gives up to gain privileges by executing programs
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    no_new_privileges: Vec<String>,
    /// System calls to retain or to remove: mode=retain|remove,[errno=ERRNO,]CALL,…
    #[arg(long, value_name = "FILTER")]
    seccomp: Vec<String>,
    /// Out-of-memory score adjustment, -1000 to 1000
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true)]
    oom_score_adj: Vec<String>,
    /// Memory limit, in bytes or like 64Mi
    #[arg(long, value_name = "QUANTITY", allow_hyphen_values = true)]
    memory: Vec<String>,
    /// Processor limit, in cores or like 500m
    #[arg(long, value_name = "QUANTITY", allow_hyphen_values = true)]
    cpu: Vec<String>,
    /// Share of processor time, 2 to 262144; 1024 is what an app without any has
    #[arg(long, value_name = "SHARES", allow_hyphen_values = true)]
    cpu_shares: Vec<String>,
    /// Limit of processes and threads
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pids_limit: Vec<String>,
    /// Bytes a second that may be read from, and written to, each block device
    #[arg(long, value_name = "QUANTITY", allow_hyphen_values = true)]
    block_bandwidth: Vec<String>,
    /// Operations a second that may read from, and write to, each block device
    #[arg(long, value_name = "QUANTITY", allow_hyphen_values = true)]
    block_iops: Vec<String>,
    /// Bytes a second that may go through each network interface of a pod with one app, in each direction
    #[arg(long, value_name = "QUANTITY", allow_hyphen_values = true)]
    network_bandwidth: Vec<String>,
    /// Where standard input comes from: null
    #[arg(long, value_name = "MODE")]
    stdin: Vec<String>,
    /// Where standard output goes: log, or null for nowhere; not with --interactive, which gives the app the terminal
    #[arg(long, value_name = "MODE")]
    stdout: Vec<String>,
    /// Where standard error goes: as --stdout
    #[arg(long, value_name = "MODE")]
    stderr: Vec<String>,
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

/// A pod whose images are there.
pub(crate) struct Planned {
    /// Its manifest.
    pub(crate) manifest: PodManifest,
    images: Vec<AppImage>,
    overlay: bool,
    users: Option<Users>,
    name: Option<String>,
    /// Trees that pods are being prepared on are not collected.
    _preparing: Lock,
}

/// What the arguments say of the pod's apps.
pub(crate) struct Wanted {
    mounts: Vec<Mount>,
    isolators: Vec<Isolator>,
    apps: Vec<AppOptions>,
    policy: PullPolicy,
    mutable: bool,
}

impl Wanted {
    /// Whether apps come and go.
    pub(crate) fn is_mutable(&self) -> bool {
        self.mutable
    }
}

impl PodArgs {
    /// Checks all that can be checked without looking for images.
    pub(crate) fn check(&self, matches: Option<&ArgMatches>) -> Result<Wanted> {
        let (mounts, apps) = arguments::apps(matches.context("no arguments")?)?;
        let policy = self.policy.get(PullPolicy::New)?;
        let isolators = self.isolators()?;
        if apps.is_empty() && self.pod_manifest.is_none() {
            bail!("must provide at least one image or --pod-manifest");
        }
        check(self, policy, &mounts, &apps, &isolators)?;
        if let Some(users) = self.private_users {
            users.check()?;
        }
        Ok(Wanted { mounts, isolators, apps, policy, mutable: false })
    }

    /// The same for a pod that starts without apps.
    pub(crate) fn check_sandbox(&self, matches: Option<&ArgMatches>) -> Result<Wanted> {
        let (mounts, apps) = arguments::apps(matches.context("no arguments")?)?;
        if !apps.is_empty() || self.pod_manifest.is_some() {
            bail!("a sandbox starts without apps; rkt app add gives it some");
        }
        let policy = self.policy.get(PullPolicy::New)?;
        let isolators = self.isolators()?;
        check(self, policy, &mounts, &apps, &isolators)?;
        if let Some(users) = self.private_users {
            users.check()?;
        }
        Ok(Wanted { mounts, isolators, apps, policy, mutable: true })
    }

    /// What the pod as a whole is bound to.
    fn isolators(&self) -> Result<Vec<Isolator>> {
        let mut isolators = self.limits()?;
        if !self.sysctl.is_empty() {
            let mut settings = serde_json::Map::new();
            for setting in &self.sysctl {
                let (key, value) = arguments::pair(setting).context("--sysctl")?;
                if rkt_pod::sysctl::owner(&key).is_none() {
                    bail!("--sysctl={setting}: {key:?} is no setting that a pod has for itself");
                }
                settings.insert(key, value.into());
            }
            isolators.push(Isolator::new("os/unix/sysctl", settings.into()).context("--sysctl")?);
        }
        Ok(isolators)
    }

    fn limits(&self) -> Result<Vec<Isolator>> {
        [
            ("memory", &self.pod_memory),
            ("cpu", &self.pod_cpu),
            ("cpu_shares", &self.pod_cpu_shares),
            ("pids_limit", &self.pod_pids_limit),
            ("network_bandwidth", &self.pod_network_bandwidth),
        ]
        .into_iter()
        .filter_map(|(option, value)| Some((option, value.as_deref()?)))
        .map(|(option, value)| {
            arguments::isolator(option, value).with_context(|| format!("--pod-{}", option.replace('_', "-")))
        })
        .collect()
    }

    /// Finds the images and makes the pod's manifest.
    pub(crate) fn plan(&self, global: &Global, wanted: Wanted) -> Result<Planned> {
        let Wanted { mounts, isolators, apps, policy, mutable } = wanted;
        let store = Store::open(&global.dir)?;
        let (manifest, images, preparing) = match &self.pod_manifest {
            Some(path) => from_manifest(&store, path)?,
            None => from_images(global, &store, self, policy, (mounts, isolators, mutable), &apps)?,
        };
        let overlay = !self.no_overlay && has_overlay(global);
        if overlay {
            make_mount_points(&global.dir)?;
        }
        Ok(Planned {
            manifest,
            images,
            overlay,
            users: self.private_users,
            name: self.pod_name.clone(),
            _preparing: preparing,
        })
    }
}

impl Planned {
    /// Makes the pod's directory, hands it to `early`, and fills and moves it to `place`. A pod that does not come to be
    /// leaves nothing.
    pub(crate) fn make(
        &self,
        global: &Global,
        place: Place,
        early: impl FnOnce(&PodDir) -> Result<()>,
    ) -> Result<(PodDir, Lock)> {
        let (mut pod, lock) = PodDir::create(&global.dir)?;
        match early(&pod).and_then(|()| self.fill(global, &mut pod, place)) {
            Ok(()) => Ok((pod, lock)),
            Err(error) => {
                discard(pod, lock, global.debug);
                Err(error)
            }
        }
    }

    fn fill(&self, global: &Global, pod: &mut PodDir, place: Place) -> Result<()> {
        if let Some(name) = &self.name {
            names::take(&global.dir, pod, name)?;
        }
        let users = self.users.and_then(Users::wanted);
        let users = users.map(|wanted| users::allocate(&global.dir, pod, wanted)).transpose()?;
        prepare::fill(pod, &self.manifest, &self.images, self.overlay, users)?;
        if place == Place::Prepared {
            prepare::sync(pod)?;
        }
        failpoint!("pod-filled");
        pod.move_to(place)?;
        failpoint!("pod-moved");
        Ok(())
    }
}

/// Removes a pod that did not come to be.
pub(crate) fn discard(mut pod: PodDir, lock: Lock, debug: bool) {
    let removed =
        pod.move_to(Place::Garbage).map_err(Into::into).and_then(|()| remove::pod(&pod, lock, debug));
    if let Err(error) = removed {
        crate::output::print_error("run", &error.context("remove the pod that could not be made"), debug);
    }
}

/// Refuses what does not go together.
fn check(
    args: &PodArgs,
    policy: PullPolicy,
    mounts: &[Mount],
    apps: &[AppOptions],
    isolators: &[Isolator],
) -> Result<()> {
    if args.pod_manifest.is_some() {
        let others = !apps.is_empty()
            || !mounts.is_empty()
            || !isolators.is_empty()
            || !args.volume.is_empty()
            || !args.port.is_empty()
            || args.inherit_env
            || policy != PullPolicy::New
            || args.passphrase_file.is_some()
            || !args.set_env.is_empty()
            || !args.set_env_file.is_empty();
        if others {
            bail!("conflicting flags set with --pod-manifest (see --help)");
        }
        return Ok(());
    }
    if let Some(name) = &args.pod_name {
        names::check(name)?;
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
    args: &PodArgs,
    policy: PullPolicy,
    (mounts, isolators, mutable): (Vec<Mount>, Vec<Isolator>, bool),
    apps: &[AppOptions],
) -> Result<(PodManifest, Vec<AppImage>, Lock)> {
    let progress = Progress::new(args.quiet);
    let fetcher = global.fetcher(store, policy, args.passphrase_file.as_deref(), &progress)?;
    let mut records = Vec::new();
    for app in apps {
        let signature = app.signature.as_deref().map(Path::new);
        records.push(fetcher.fetch(&Reference::read(&app.image)?, signature)?);
    }
    // Not before: nobody waits for our downloads.
    let preparing = store.preparing()?;
    let images: Vec<AppImage> =
        records.into_iter().map(|record| AppImage::new(store, record)).collect::<Result<_>>()?;
    let options = PodOptions {
        volumes: args.volume.clone(),
        mounts,
        isolators,
        inherited: if args.inherit_env { environment::own() } else { Vec::new() },
        environment: environment::set(&args.set_env_file, &args.set_env)?,
        mutable,
    };
    let pairs: Vec<(AppOptions, &AppImage)> = apps.iter().cloned().zip(&images).collect();
    let mut manifest = manifest::generate(&options, &pairs)?;
    ports::expose(&mut manifest, &args.port)?;
    Ok((manifest, images, preparing))
}

fn from_manifest(store: &Store, path: &Path) -> Result<(PodManifest, Vec<AppImage>, Lock)> {
    let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let manifest =
        PodManifest::from_slice(&text).with_context(|| format!("pod manifest {}", path.display()))?;
    if manifest.apps.is_empty() {
        bail!("pod must contain at least one application");
    }
    manifest::check_mounts(&manifest)?;
    manifest::check_isolators("pod", &manifest.isolators)?;
    let preparing = store.preparing()?;
    let mut images = Vec::new();
    for app in &manifest.apps {
        let name = app.name.as_str();
        let id = app.image.id.as_ref().with_context(|| format!("app {name:?}: its image has no id"))?;
        let record = store.by_id(id.as_str()).with_context(|| format!("app {name:?}: image {id}"))?;
        let image = AppImage::new(store, record)?;
        manifest::check_platform(&image).with_context(|| format!("app {name:?}"))?;
        manifest::check_streams(&app.annotations).with_context(|| format!("app {name:?}"))?;
        let isolators = app.app.as_ref().map_or(&[][..], |app| &app.isolators);
        manifest::check_isolators(&format!("app {name:?}"), isolators)?;
        if app.app.is_none() && store.manifest(&image.record)?.app.is_none() {
            bail!("app {name:?}: neither the pod manifest nor its image says what to execute");
        }
        images.push(image);
    }
    Ok((manifest, images, preparing))
}
