//! `rkt fetch`

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::global::Global;
use crate::{
    fetch::Reference,
    store::{PullPolicy, Store},
};

/// Fetch image(s) and store them in the local store.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the full image hash
    #[arg(long)]
    full: bool,
    /// Signature of the image, where it is not beside it
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// File with the passphrase of encrypted images in its first line
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// When to fetch what the store may have: never, new or update
    #[arg(long, value_name = "POLICY", default_value = "update")]
    pull_policy: PullPolicy,
    /// Images: files, URLs, names
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

/// Fetches and prints an ID a line.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    if args.signature.is_some() && args.images.len() > 1 {
        bail!("--signature is for one image, but there are {}", args.images.len());
    }
    let store = Store::open(&global.dir)?;
    let fetcher = global.fetcher(&store, args.pull_policy, args.passphrase_file.as_deref())?;
    let mut text = String::new();
    for image in &args.images {
        let record = fetcher.fetch(&Reference::read(image)?, args.signature.as_deref())?;
        if rustix::process::geteuid().is_root() {
            store.tree(&record)?;
        }
        let id = if args.full { record.id.key() } else { record.id.short() };
        text.push_str(id);
        text.push('\n');
    }
    crate::output::print(text.as_bytes())?;
    Ok(0)
}
