//! `actool cat-manifest`

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use appc::{
    aci::{self, Limits, ReadError},
    schema::ImageManifest,
};

use super::shell::{boolean, words};

/// Print the manifest from an ACI
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print with better style
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false",
        value_parser = boolean, hide_default_value = true, value_name = "BOOL")]
    pretty_print: bool,
    /// The image
    #[arg(value_name = "ACI_FILE")]
    files: Vec<PathBuf>,
}

/// Prints it. An invalid one is printed as it stands, and then what is wrong with it.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    let [path] = args.files.as_slice() else { return Err("Must provide one file".to_owned()) };
    let text = find(path)?;
    let manifest = ImageManifest::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()));
    let mut text = match (&manifest, args.pretty_print) {
        (Ok(manifest), true) => manifest.to_vec_pretty("    ").map_err(|error| error.to_string())?,
        (Err(_), true) => Vec::new(),
        (_, false) => text,
    };
    if !text.is_empty() {
        text.push(b'\n');
        io::stdout().write_all(&text).map_err(|error| format!("write: {}", words(&error)))?;
    }
    manifest.map(drop)
}

/// Reads no further than the manifest.
fn find(path: &Path) -> Result<Vec<u8>, String> {
    let file = File::open(path);
    let file = file.map_err(|error| format!("Cannot open {}: {}", path.display(), words(&error)))?;
    aci::read_manifest(file, &Limits::default()).map_err(|error| match error {
        ReadError::Invalid(error) => format!("{}: {error}", path.display()),
        ReadError::Io(error) | ReadError::Visit(error) => format!("{}: {}", path.display(), words(&error)),
    })
}
