//! `rkt prepare`

use anyhow::Result;
use clap::ArgMatches;
use rkt_pod::Place;

use super::{global::Global, need_root, run::PodArgs};

/// Prepare to run image(s) in a pod in rkt.
///
/// All is got and laid out that the pod needs, and the pod's UUID printed. `rkt run-prepared UUID` runs it then.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pod: PodArgs,
}

/// Makes the pod and leaves it.
pub(crate) fn run(global: &Global, args: &Args, matches: Option<&ArgMatches>) -> Result<u8> {
    need_root()?;
    let planned = args.pod.plan(global, args.pod.check(matches)?)?;
    let (pod, _lock) = planned.make(global, Place::Prepared, |_| Ok(()))?;
    crate::output::print(format!("{}\n", pod.uuid()).as_bytes())?;
    Ok(0)
}
