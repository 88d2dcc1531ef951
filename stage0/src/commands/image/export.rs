//! `rkt image export`

use std::path::PathBuf;

use anyhow::Result;

use super::{Global, render::absolute};
use crate::store::{GivePlace, Store};

/// Write an image into a file, as an uncompressed archive with the same image ID.
///
/// One that was made of layers becomes one archive of all its files, which is an image of its own.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Replace what is there
    #[arg(long)]
    overwrite: bool,
    /// ID or name of the image
    image: String,
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Writes the file.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    let store = Store::open(&global.dir)?;
    let image = store.resolve(&args.image)?;
    let path = absolute(&args.file)?;
    store.export(&image, GivePlace { path: &path, overwrite: args.overwrite })?;
    Ok(0)
}
