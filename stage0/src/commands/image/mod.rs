//! `rkt image …`

mod cat_manifest;
mod export;
mod gc;
mod list;
mod render;
mod rm;
mod verify;

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
    /// Render an image, with all that it depends on, into a directory
    Render(render::Args),
    /// Unpack an image, without what it depends on, into a directory
    Extract(render::Args),
    /// Write an image into a file, as an uncompressed archive
    Export(export::Args),
    /// Verify that the files of image(s) are as they were rendered
    Verify(verify::Args),
    /// Remove images that are not used any more, and what nothing needs
    Gc(gc::Args),
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
            Commands::Render(_) => "render",
            Commands::Extract(_) => "extract",
            Commands::Export(_) => "export",
            Commands::Verify(_) => "verify",
            Commands::Gc(_) => "gc",
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
        Commands::Render(args) => render::render(global, &args),
        Commands::Extract(args) => render::extract(global, &args),
        Commands::Export(args) => export::run(global, &args),
        Commands::Verify(args) => verify::run(global, &args),
        Commands::Gc(args) => gc::run(global, &args),
        Commands::Fetch(args) => {
            super::fetch::run(global, &args, matches.and_then(ArgMatches::subcommand).map(|(_, own)| own))
        }
    }
}
