//! `rkt image verify`

use anyhow::Result;

use super::{super::need_root, Global};
use crate::{
    output::{self, note},
    store::{Checked, Store},
};

/// Verify that the files of image(s) are as they were when they were rendered.
///
/// All of them are read. The first difference is named, and the image rendered anew, unless a pod runs on its files or is
/// prepared to.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// IDs or names of images
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

/// Verifies each image. One that is not there, or cannot be mended, does not keep the others.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    need_root()?;
    let store = Store::open(&global.dir)?;
    let mut status = 0;
    for argument in &args.images {
        if let Err(error) = one(&store, argument) {
            output::print_error("verify", &error, global.debug);
            status = super::super::FAILURE;
        }
    }
    Ok(status)
}

fn one(store: &Store, argument: &str) -> Result<()> {
    let image = store.resolve(argument)?;
    let key = image.key();
    let checked = store.verify(&image, &mut |difference| {
        note("verify", &format!("image {argument:?} ({key:?}): {difference}"));
    })?;
    let text = match checked {
        Checked::NotRendered => {
            format!("image {argument:?} ({key:?}) is not rendered: no verification is needed\n")
        }
        Checked::Whole => format!("successfully verified checksum for image: {argument:?} ({key:?})\n"),
        Checked::Repaired => format!("image {argument:?} ({key:?}) has been rendered anew\n"),
    };
    Ok(output::print(text.as_bytes())?)
}
