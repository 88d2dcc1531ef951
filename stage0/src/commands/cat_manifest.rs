//! `rkt cat-manifest`

use anyhow::{Context, Result};
use appc::schema::PodManifest;

use super::{global::Global, uuids::Uuids};

/// Inspect and print the pod manifest.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Apply indent to the output
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true)]
    pretty_print: bool,
    #[command(flatten)]
    pod: Uuids,
}

/// Prints the manifest.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    let pod = args.pod.one(global)?;
    let path = pod.path().join(rkt_pod::layout::MANIFEST);
    let text = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let manifest = PodManifest::from_slice(&text).with_context(|| format!("pod {}: manifest", pod.uuid()))?;
    let mut text = if args.pretty_print { manifest.to_vec_pretty("\t")? } else { manifest.to_vec()? };
    text.push(b'\n');
    crate::output::print(&text)?;
    Ok(0)
}
