//! `rkt image rm`

use anyhow::Result;

use super::Global;
use crate::{output, store::Store};

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
        match store.remove(&image) {
            Ok(()) => {
                let text = format!("successfully removed aci for image: {:?}\n", image.key());
                output::print(text.as_bytes())?;
                removed.push(image.id);
            }
            Err(error) => {
                output::print_error("rm", &error.into(), global.debug);
                status = super::super::FAILURE;
            }
        }
    }
    if !removed.is_empty() {
        crate::output::note("rm", &format!("{} image(s) successfully removed", removed.len()));
    }
    Ok(status)
}
