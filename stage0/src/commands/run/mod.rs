//! `rkt run`: finds the images, makes the pod, becomes it.

mod arguments;
mod environment;
mod extras;
mod names;
mod pod;
mod start;
mod users;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::ArgMatches;
use rkt_pod::Place;

use super::{global::Global, need_root};

pub(crate) use arguments::{apps as app_options, command_position, images, mark_groups};
pub(crate) use pod::{AppArgs, PodArgs};
pub(crate) use start::StartArgs;

/// Run image(s) in a pod in rkt.
///
/// Each image may be followed by options of its own and, after `--`, by arguments of its app; `---` ends them, and the
/// next image may follow.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pod: PodArgs,
    #[command(flatten)]
    start: StartArgs,
    /// Write out the pod's UUID to this file
    #[arg(long, value_name = "FILE")]
    uuid_file_save: Option<PathBuf>,
}

/// Makes the pod and becomes it. Returns only on failure.
pub(crate) fn run(global: &Global, args: &Args, matches: Option<&ArgMatches>) -> Result<u8> {
    need_root()?;
    start_new(global, (&args.pod, &args.start), args.pod.check(matches)?, args.uuid_file_save.as_deref())
}

/// Makes a pod of what is wanted, and becomes it. Returns only on failure.
pub(crate) fn start_new(
    global: &Global,
    (pod, start): (&PodArgs, &StartArgs),
    wanted: pod::Wanted,
    uuid_file: Option<&Path>,
) -> Result<u8> {
    let ready = start.check(global)?.mutable(wanted.is_mutable());
    let planned = pod.plan(global, wanted)?;
    ready.check_apps(&planned.manifest)?;
    let (pod, lock) = planned.make(global, Place::Run, |pod| match uuid_file {
        Some(file) => fs::write(file, pod.uuid()).with_context(|| format!("write {}", file.display())),
        None => Ok(()),
    })?;
    let error = ready.exec(&pod, &lock);
    pod::discard(pod, lock, global.debug);
    Err(error)
}
