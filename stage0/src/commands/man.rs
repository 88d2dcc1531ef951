//! `rkt man`

use std::{fs, path::PathBuf};

use anyhow::Result;

use crate::files::Step;

/// Write the manual pages into a directory.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory, which is made where it is missing
    directory: PathBuf,
}

/// Writes a page for each command.
pub(crate) fn run(args: &Args) -> Result<u8> {
    fs::create_dir_all(&args.directory).step("make directory", &args.directory)?;
    clap_mangen::generate_to(super::definition(), &args.directory)
        .step("write pages into", &args.directory)?;
    Ok(0)
}
