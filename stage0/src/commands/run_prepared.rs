//! `rkt run-prepared`

use std::fs;

use anyhow::{Context, Result, bail};
use appc::schema::PodManifest;
use rkt_pod::{Place, State, layout, lookup, names};

use super::{global::Global, need_root, run::StartArgs};

/// Run a prepared application pod in rkt.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    start: StartArgs,
    /// Name of the pod, its own as long as it lives; it stands for the UUID, and the machine is called so
    #[arg(long, value_name = "NAME")]
    pod_name: Option<String>,
    /// UUID of the pod, or the beginning of it
    #[arg(value_name = "UUID")]
    uuid: String,
}

/// Becomes the pod. Returns only on failure; a pod that did not start has exited.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    need_root()?;
    let start = args.start.check(global)?;
    let mut pod = lookup::by_prefix(&global.dir, &args.uuid)?;
    let not_prepared = format!("pod {:?} is not prepared", pod.uuid());
    if pod.state()? != State::Prepared {
        bail!(not_prepared);
    }
    let path = pod.path().join(layout::MANIFEST);
    let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let manifest = PodManifest::from_slice(&text).with_context(|| path.display().to_string())?;
    start.check_apps(&manifest)?;
    // Of several who want to run it, one does.
    let lock = pod.lock().ok().with_context(|| not_prepared.clone())?;
    if let Some(name) = &args.pod_name {
        names::take(&global.dir, &pod, name)?;
    }
    pod.move_to(Place::Run).ok().context(not_prepared)?;
    Err(start.exec(&pod, &lock))
}
