//! `rkt image …`

mod cat_manifest;
mod list;
mod rm;

use anyhow::Result;
use clap::ArgMatches;

use super::{Format, global::Global};

/// Operate on images in the local store.
#[derive(Debug, clap::Subcommand)]
#[command(infer_subcommands = true)]
pub(crate) enum Commands {
    /// List images in the local store
    List(list::Args),
    /// Remove image(s) with the given ID(s) or name(s) from the local store
    Rm(rm::Args),
    /// Inspect and print the image manifest
    CatManifest(cat_manifest::Args),
    /// Fetch image(s), as rkt fetch does
    #[command(hide = true)]
    Fetch(super::fetch::Args),
}

impl Commands {
    /// The word before error messages.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Commands::List(_) => "list",
            Commands::Rm(_) => "rm",
            Commands::CatManifest(_) => "cat-manifest",
            Commands::Fetch(_) => "fetch",
        }
    }
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, command: Commands, matches: Option<&ArgMatches>) -> Result<u8> {
    match command {
        Commands::List(args) => list::run(global, &args),
        Commands::Rm(args) => rm::run(global, &args),
        Commands::CatManifest(args) => cat_manifest::run(global, &args),
        Commands::Fetch(args) => {
            super::fetch::run(global, &args, matches.and_then(ArgMatches::subcommand).map(|(_, own)| own))
        }
    }
}
