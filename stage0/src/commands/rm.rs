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
        match pod.state()? {
            State::Running => bail!("pod {:?} is running; stop it first", pod.uuid()),
            state @ (State::Preparing | State::Deleting | State::ExitedDeleting) => {
                bail!("pod {:?} is {state}", pod.uuid())
            }
            _ => {}
        }
        // Locked before it is moved: nobody starts what goes away. Whoever looks at the pod has its lock for a moment.
        let lock = pod.lock()?;
        match pod.place() {
            Place::Embryo | Place::Prepare | Place::Prepared => pod.move_to(Place::Garbage)?,
            Place::Run => pod.move_to(Place::ExitedGarbage)?,
            Place::ExitedGarbage | Place::Garbage if !pod.path().exists() => {
                bail!(rkt_pod::Error::Gone(pod.uuid().to_owned()))
            }
            Place::ExitedGarbage | Place::Garbage => {}
        }
        remove::pod(&pod, lock, global.debug)?;
        crate::output::print(format!("{:?}\n", pod.uuid()).as_bytes())?;
        Ok(())
    })?;
    if !good {
        bail!("failed to remove one or more pods");
    }
    Ok(0)
}
