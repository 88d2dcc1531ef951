//! `rkt stop`

use anyhow::{Result, bail};
use rkt_pod::{State, stage1::Entry};

use super::{global::Global, uuids::Uuids};
use crate::stage1;

/// Stop a pod.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Forced stopping: kill the pod
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pods: Uuids,
}

/// Asks each pod to end. Does not wait for it.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    let flags: &[&str] = if args.force { &["--force"] } else { &[] };
    let good = args.pods.each(global, "stop", |pod| {
        let state = pod.state()?;
        if state.is_exited() {
            crate::output::print(format!("pod {:?} is already stopped\n", pod.uuid()).as_bytes())?;
            return Ok(());
        }
        if state != State::Running {
            bail!("pod {:?} is not running (it is {state})", pod.uuid());
        }
        stage1::call(Entry::Stop, &pod, flags)?;
        crate::output::print(format!("{:?}\n", pod.uuid()).as_bytes())?;
        Ok(())
    })?;
    if !good {
        bail!("failed to stop one or more pods");
    }
    Ok(0)
}
