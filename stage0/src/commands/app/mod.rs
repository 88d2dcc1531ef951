//! `rkt app …`: pods whose apps come and go.

mod add;
mod change;
mod list;
mod sandbox;

use anyhow::{Context, Result, bail};
use appc::schema::PodManifest;
use clap::ArgMatches;
use rkt_pod::{PodDir, State, stage1::MUTABLE};

use super::{enter, global::Global};
use crate::pod::{control, describe::Description};

/// Operate on the apps of a pod that was started with `rkt app sandbox`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Commands {
    /// Run a pod without apps, which others are added to
    Sandbox(Box<sandbox::Args>),
    /// Add an app to a pod
    Add(Box<add::Args>),
    /// Start an app of a pod
    Start(change::Args),
    /// Stop an app of a pod
    Stop(change::Args),
    /// Remove an app from a pod
    Rm(change::Args),
    /// List the apps of a pod
    List(list::ListArgs),
    /// Show the state of an app
    Status(list::StatusArgs),
    /// Run a command in an app, as rkt enter does
    Exec(enter::Args),
}

impl Commands {
    /// The word before error messages.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Commands::Sandbox(_) => "app sandbox",
            Commands::Add(_) => "app add",
            Commands::Start(_) => "app start",
            Commands::Stop(_) => "app stop",
            Commands::Rm(_) => "app rm",
            Commands::List(_) => "app list",
            Commands::Status(_) => "app status",
            Commands::Exec(_) => "app exec",
        }
    }
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, command: Commands, matches: Option<&ArgMatches>) -> Result<u8> {
    let own = matches.and_then(|matches| matches.subcommand()).map(|(_, matches)| matches);
    match command {
        Commands::Sandbox(args) => sandbox::run(global, &args, own),
        Commands::Add(args) => add::run(global, &args, own),
        Commands::Start(args) => change::start(global, &args),
        Commands::Stop(args) => change::stop(global, &args),
        Commands::Rm(args) => change::rm(global, &args),
        Commands::List(args) => list::list(global, &args),
        Commands::Status(args) => list::status(global, &args),
        Commands::Exec(args) => enter::run(global, &args),
    }
}

/// Whether the apps of a pod with this manifest come and go.
fn is_mutable(manifest: &PodManifest) -> bool {
    manifest.annotations.get(MUTABLE) == Some("true")
}

/// What is known of a pod, which must be one whose apps come and go.
fn mutable(pod: PodDir) -> Result<(Description, PodManifest)> {
    let mut problems = Vec::new();
    let description = Description::new(pod, &mut problems)?;
    let Some(manifest) = description.manifest.clone() else {
        bail!(problems.into_iter().next().unwrap_or_else(|| "the pod has no manifest".to_owned()))
    };
    if !is_mutable(&manifest) {
        bail!(
            "pod {:?} is immutable: only apps of pods that were started with rkt app sandbox come and go",
            description.pod.uuid()
        );
    }
    Ok((description, manifest))
}

/// Refuses a pod that does not run.
fn must_run(description: &Description) -> Result<()> {
    if description.state != State::Running {
        bail!("pod {:?} is not running (it is {})", description.pod.uuid(), description.state);
    }
    Ok(())
}

/// Refuses an app that the pod does not have.
fn must_have(manifest: &PodManifest, pod: &PodDir, app: &str) -> Result<()> {
    let apps: Vec<&str> = manifest.apps.iter().map(|app| app.name.as_str()).collect();
    if !apps.contains(&app) {
        bail!("pod {} has no app {app:?} (it has: {})", pod.uuid(), apps.join(", "));
    }
    Ok(())
}

/// Asks the pod's supervisor.
fn ask(pod: &PodDir, request: &rkt_pod::stage1::AppRequest) -> Result<()> {
    control::ask(&pod.path(), request).with_context(|| format!("pod {}", pod.uuid()))
}
