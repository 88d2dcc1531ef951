//! `actool cat-manifest`

use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
};

use appc::aci::{self, Limits};

/// Print the image manifest of an ACI.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print with better style
    #[arg(long)]
    pretty_print: bool,
    /// The image
    aci: PathBuf,
}

/// Prints it.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    let shown = args.aci.display();
    let file = File::open(&args.aci).map_err(|error| format!("{shown}: {}", error.kind()))?;
    let archive = aci::read(file, &Limits::default(), &mut |_, _| Ok::<(), io::Error>(()));
    let archive = archive.map_err(|error| format!("{shown}: {error}"))?;
    let mut text = if args.pretty_print {
        archive.manifest.to_vec_pretty("    ").map_err(|error| format!("{shown}: {error}"))?
    } else {
        archive.manifest_bytes
    };
    text.push(b'\n');
    io::stdout().write_all(&text).map_err(|error| format!("write: {}", error.kind()))
}
