//! `rkt fetch`

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ArgMatches;

use super::{global::Global, policy::PolicyArgs};
use crate::{
    fetch::Reference,
    output::Progress,
    store::{PullPolicy, Store},
};

/// Fetch image(s) and store them in the local store.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the full image hash
    #[arg(long)]
    full: bool,
    /// Signature of the image before it, where it is not beside it
    #[arg(long, value_name = "FILE")]
    signature: Vec<String>,
    /// Print nothing about downloads
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    policy: PolicyArgs,
    /// File with the passphrase of encrypted images in its first line
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Images: files, URLs, names
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

/// Fetches and prints an ID a line.
pub(crate) fn run(global: &Global, args: &Args, matches: Option<&ArgMatches>) -> Result<u8> {
    let images = super::run::images(matches.context("no arguments")?)?;
    let store = Store::open(&global.dir)?;
    let progress = Progress::new(args.quiet);
    let policy = args.policy.get(PullPolicy::Update)?;
    let fetcher = global.fetcher(&store, policy, args.passphrase_file.as_deref(), &progress)?;
    let mut text = String::new();
    for image in &images {
        let signature = image.signature.as_deref().map(Path::new);
        let record = fetcher.fetch(&Reference::read(&image.image)?, signature)?;
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
