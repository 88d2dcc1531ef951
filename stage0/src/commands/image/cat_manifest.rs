//! `rkt image cat-manifest`

use anyhow::Result;

use super::Global;
use crate::store::Store;

/// Inspect and print the image manifest.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Apply indent to the output
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true)]
    pretty_print: bool,
    /// ID or name of the image
    image: String,
}

/// Prints the manifest.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    let store = Store::open(&global.dir)?;
    let manifest = store.manifest(&store.resolve(&args.image)?)?;
    let mut text = if args.pretty_print { manifest.to_vec_pretty("\t")? } else { manifest.to_vec()? };
    text.push(b'\n');
    crate::output::print(&text)?;
    Ok(0)
}
