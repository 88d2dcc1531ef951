//! `rkt gc`

use std::{
    os::unix::fs::MetadataExt,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use rkt_pod::{Place, PodDir, lookup, names};

use super::{global::Global, need_root};
use crate::{
    output::{self, note},
    pod::{duration, remove},
};

/// How many pods are removed at once.
const SWEEPERS: usize = 4;

/// Garbage collect rkt pods no longer in use.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Duration to wait before discarding inactive pods from garbage
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = duration)]
    grace_period: Duration,
    /// Duration to wait before expiring prepared pods
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    expire_prepared: Duration,
    /// Only mark exited pods as garbage, do not remove anything
    #[arg(long)]
    mark_only: bool,
}

/// Marks, then sweeps. What cannot be removed now is left for the next time.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    need_root()?;
    mark(global, Place::Run, Place::ExitedGarbage, "moving pod")?;
    mark(global, Place::Prepare, Place::Garbage, "moving failed prepare")?;
    // What pods that died hold of networks is others' at once, whatever the grace period.
    report(rkt_net::overview::collect(&global.dir).map(drop).map_err(Into::into), global);
    if args.mark_only {
        return Ok(0);
    }
    for mut pod in lookup::all(&global.dir, &[Place::Prepared])? {
        if age(&pod).is_some_and(|age| age >= args.expire_prepared)
            && let Ok(Some(_lock)) = pod.try_lock()
        {
            note("gc", &format!("moving expired prepared pod {:?} to garbage", pod.uuid()));
            report(pod.move_to(Place::Garbage).map_err(Into::into), global);
        }
    }
    let mut marked = lookup::all(&global.dir, &[Place::ExitedGarbage])?;
    marked.retain(|pod| {
        let waits = age(pod).is_some_and(|age| age < args.grace_period);
        if waits {
            let period = args.grace_period;
            let message = format!("pod {:?} not removed: still within grace period ({period:?})", pod.uuid());
            note("gc", &message);
        }
        !waits
    });
    marked.extend(lookup::all(&global.dir, &[Place::Garbage, Place::Embryo])?);
    sweep_all(&marked, global);
    report(names::sweep(&global.dir).map_err(Into::into), global);
    Ok(0)
}

/// Moves the pods of a place whose owners are gone.
fn mark(global: &Global, from: Place, to: Place, what: &str) -> Result<()> {
    for mut pod in lookup::all(&global.dir, &[from])? {
        // Whoever holds the lock works on the pod; whoever moved it was faster than we.
        if let Ok(Some(_lock)) = pod.try_lock() {
            note("gc", &format!("{what} {:?} to garbage", pod.uuid()));
            report(pod.move_to(to).map_err(Into::into), global);
        }
    }
    Ok(())
}

/// Removes many pods, several at once: each waits for its stage1 and for the disk.
fn sweep_all(pods: &[PodDir], global: &Global) {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(pod) = pods.get(next.fetch_add(1, Ordering::Relaxed)) {
            report(sweep(pod, global), global);
        }
    };
    thread::scope(|scope| {
        for _ in 1..SWEEPERS.min(pods.len()) {
            if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                // This one does all, then.
                break;
            }
        }
        work();
    });
}

fn sweep(pod: &PodDir, global: &Global) -> Result<()> {
    // Another gc, or rm, is at it.
    let Ok(Some(lock)) = pod.try_lock() else { return Ok(()) };
    if !pod.path().exists() {
        return Ok(());
    }
    output::print(format!("Garbage collecting pod {:?}\n", pod.uuid()).as_bytes())?;
    remove::pod(pod, lock, global.debug)
}

fn report(result: Result<()>, global: &Global) {
    match result {
        Err(error) if matches!(error.downcast_ref(), Some(rkt_pod::Error::Gone(_))) => {}
        Err(error) => output::print_error("gc", &error, global.debug),
        Ok(()) => {}
    }
}

/// How long the pod has been where it is: a rename sets the directory's ctime.
fn age(pod: &PodDir) -> Option<Duration> {
    let data = pod.path().symlink_metadata().ok()?;
    let moved =
        UNIX_EPOCH + Duration::new(data.ctime().unsigned_abs(), u32::try_from(data.ctime_nsec()).ok()?);
    Some(SystemTime::now().duration_since(moved).unwrap_or_default())
}
