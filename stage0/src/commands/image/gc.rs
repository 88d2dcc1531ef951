//! `rkt image gc`

use std::time::Duration;

use anyhow::Result;

use super::{super::need_root, Global};
use crate::{
    output::{self, note},
    pod::duration,
    store::{Collected, Store},
};

/// Remove images that were not used for a while, trees that no image and no pod has, and what interrupted work has left.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Duration for which an image must not have been used
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    grace_period: Duration,
}

/// Removes what is not needed, and says what it was.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    need_root()?;
    let store = Store::open(&global.dir)?;
    let mut images = 0;
    store.collect_garbage(args.grace_period, &mut |collected| {
        let text = match collected {
            Collected::Image(image) => {
                images += 1;
                format!("successfully removed aci for image: {:?}\n", image.key())
            }
            Collected::Remains(image) => format!("removed what was left of image {:?}\n", image.key()),
            Collected::Tree(id) => format!("removed treestore {id:?}\n"),
            Collected::File(path) => format!("removed {}, which belongs to no image\n", path.display()),
        };
        Ok(output::print(text.as_bytes())?)
    })?;
    if images > 0 {
        note("gc", &format!("{images} image(s) successfully removed"));
    }
    Ok(0)
}
