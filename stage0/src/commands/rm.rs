//! `rkt rm`

use anyhow::{Result, bail};
use rkt_pod::{Place, State};

use super::{global::Global, need_root, uuids::Uuids};
use crate::pod::remove;

/// Remove all files and resources associated with an exited pod.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pods: Uuids,
}

/// Removes each pod that is not at work.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    need_root()?;
    let good = args.pods.each(global, "rm", |mut pod| {
        let state = pod.state()?;
        match state {
            State::Running => bail!("pod {:?} is running; stop it first", pod.uuid()),
            State::Preparing | State::Deleting | State::ExitedDeleting => {
                bail!("pod {:?} is {state}", pod.uuid())
            }
            State::Embryo | State::AbortedPrepare | State::Prepared => pod.move_to(Place::Garbage)?,
            State::Exited => pod.move_to(Place::ExitedGarbage)?,
            State::ExitedGarbage | State::Garbage => {}
        }
        let lock = pod.lock()?;
        remove::pod(&pod, lock, global.debug)?;
        crate::output::print(format!("{:?}\n", pod.uuid()).as_bytes())?;
        Ok(())
    })?;
    if !good {
        bail!("failed to remove one or more pods");
    }
    Ok(0)
}
