//! `rkt image rm`

use anyhow::Result;

use super::Global;
use crate::{
    output,
    store::{ImageRecord, Store},
};

/// Remove image(s) from the local store.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// IDs or names of images
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

/// Removes the images. One that is not there does not keep the others.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    let store = Store::open(&global.dir)?;
    let mut removed = Vec::new();
    let mut status = 0;
    for argument in &args.images {
        let image = match store.resolve(argument) {
            Ok(image) => image,
            Err(error) => {
                output::print_error("rm", &error.into(), global.debug);
                continue;
            }
        };
        if removed.contains(&image.id) {
            continue;
        }
        match remove(&store, &image) {
            Ok(()) => {
                let text = format!("successfully removed aci for image: {:?}\n", image.key());
                output::print(text.as_bytes())?;
                removed.push(image.id);
            }
            Err(error) => {
                output::print_error("rm", &error, global.debug);
                status = super::super::FAILURE;
            }
        }
    }
    if !removed.is_empty() {
        crate::output::note("rm", &format!("{} image(s) successfully removed", removed.len()));
    }
    Ok(status)
}

/// Removes an image. Pods that have it keep their trees.
fn remove(store: &Store, image: &ImageRecord) -> Result<()> {
    let alone = store.alone()?;
    let trees = store.tree_names(image).unwrap_or_default();
    store.remove(&alone, image)?;
    if !rustix::process::geteuid().is_root() {
        // Trees, and pods, are root's.
        return Ok(());
    }
    let used = store.used()?;
    let pods = used.having(image);
    if !pods.is_empty() {
        let message =
            format!("image {:?} is used by pods, which keep its files: {}", image.key(), pods.join(", "));
        output::note("rm", &message);
    }
    Ok(store.remove_unused_trees(&alone, &used, &trees)?)
}
