//! `rkt app sandbox`

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ArgMatches;

use crate::commands::{
    global::Global,
    need_root,
    run::{PodArgs, StartArgs, start_new},
};

/// Run a pod without apps, which others are added to.
///
/// It runs until it is stopped, whatever its apps do: `rkt app add` and `rkt app start` give it some.
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
pub(super) fn run(global: &Global, args: &Args, matches: Option<&ArgMatches>) -> Result<u8> {
    need_root()?;
    if args.start.is_interactive() {
        bail!("--interactive: a sandbox starts without an app that could have the terminal");
    }
    start_new(
        global,
        (&args.pod, &args.start),
        args.pod.check_sandbox(matches)?,
        args.uuid_file_save.as_deref(),
    )
}
