//! `rkt image render` and `rkt image extract`

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{super::need_root, Global};
use crate::{
    output::note,
    store::{GivePlace, Given, Store},
};

/// The image's manifest and its files, in `rootfs`, come to be in a new directory. It is there when it is whole.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image's files alone become the directory
    #[arg(long)]
    rootfs_only: bool,
    /// Replace what is there
    #[arg(long)]
    overwrite: bool,
    /// ID or name of the image
    image: String,
    /// The directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl Args {
    fn given(&self) -> Given {
        if self.rootfs_only { Given::Files } else { Given::Layout }
    }
}

/// Renders the image.
pub(crate) fn render(global: &Global, args: &Args) -> Result<u8> {
    need_root()?;
    let store = Store::open(&global.dir)?;
    let image = store.resolve(&args.image)?;
    let path = absolute(&args.directory)?;
    let place = GivePlace { path: &path, overwrite: args.overwrite };
    store.give_rendered(&image, args.given(), place, &mut |difference| {
        let message = format!("image {:?}: {difference}; rendering it anew", args.image);
        note("render", &message);
    })?;
    Ok(0)
}

/// Unpacks the image.
pub(crate) fn extract(global: &Global, args: &Args) -> Result<u8> {
    need_root()?;
    let store = Store::open(&global.dir)?;
    let image = store.resolve(&args.image)?;
    let path = absolute(&args.directory)?;
    store.give_extracted(&image, args.given(), GivePlace { path: &path, overwrite: args.overwrite })?;
    Ok(0)
}

/// The path with nothing in it that hides what it means.
pub(super) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("find {}", path.display()))
}
