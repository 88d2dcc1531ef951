//! Removing a pod.

use anyhow::Result;
use rkt_pod::{Lock, PodDir, layout, stage1::Entry};

use super::metadata;
use crate::{files::remove_tree, stage1};

/// Removes a pod that nobody works on, with all that it left outside its directory. The caller holds its lock.
pub(crate) fn pod(pod: &PodDir, lock: Lock, debug: bool) -> Result<()> {
    let path = pod.path();
    // A pod that was never started left nothing outside, and none that has said so.
    let was_started = path.join(layout::PPID).exists() || path.join(layout::SUBCGROUP).exists();
    if was_started && !path.join(layout::ENDED).exists() {
        let flags: &[&str] = if debug { &["--debug"] } else { &[] };
        if let Err(error) = stage1::call(Entry::Gc, pod, flags) {
            crate::output::print_error("gc", &error, debug);
        }
    }
    metadata::unregister(pod, debug);
    // What says how the pod was run goes last, so that a removal that is cut short can be done again.
    for name in ["stage1", layout::OVERLAY, layout::SHARED_VOLUMES, layout::APPS_INFO] {
        remove_tree(&path.join(name))?;
    }
    remove_tree(&path)?;
    drop(lock);
    Ok(())
}
