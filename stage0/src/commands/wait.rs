//! `rkt wait`

use std::{fs, thread::sleep, time::Duration};

use anyhow::Result;
use rkt_pod::{Error, Lock, PodDir, State, layout, lock::Kind, lookup};

use super::{global::Global, uuids::Uuids};
use crate::{output, pod::describe::Description};

/// How often we look at a pod that has not begun to run.
const INTERVAL: Duration = Duration::from_millis(50);

/// Wait until pods have exited, and print the exit status of each.
///
/// It is that of the app that was the first to end with another one than 0.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pods: Uuids,
}

/// Waits for one after the other.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    let good = args.pods.each(global, "wait", |pod| {
        let pod = exited(global, pod)?;
        let mut problems = Vec::new();
        let description = Description::new(pod, &mut problems)?;
        output::print(format!("{}\n", status(&description)).as_bytes())?;
        Ok(())
    })?;
    Ok(if good { 0 } else { rkt_pod::stage1::EXIT_FAILURE })
}

fn exited(global: &Global, mut pod: PodDir) -> Result<PodDir> {
    loop {
        match pod.state() {
            Ok(state) if state.is_finished() => return Ok(pod),
            // Whoever works on the pod holds its lock: the kernel tells us when it is free.
            Ok(State::Running | State::Preparing) => drop(Lock::wait(&pod.path(), Kind::Shared)),
            Ok(_) => sleep(INTERVAL),
            // It moved on: look where it is now.
            Err(Error::Gone(uuid)) => match lookup::by_uuid(&global.dir, &uuid) {
                Some(moved) => pod = moved,
                None => anyhow::bail!("pod {uuid:?} was removed"),
            },
            Err(error) => return Err(error.into()),
        }
    }
}

/// The status of the app that failed first, by the times at which they were written down.
fn status(description: &Description) -> i32 {
    let failed = description.apps().into_iter().filter_map(|app| {
        let status = description.pod.exit_status(app).filter(|status| *status != 0)?;
        let file = description.pod.path().join(layout::app_status(app));
        Some((fs::metadata(file).and_then(|data| data.modified()).ok()?, status))
    });
    failed.min().map_or(0, |(_, status)| status)
}
