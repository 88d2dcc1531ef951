//! `rkt fetch`

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::global::Global;
use crate::store::{ImageRecord, ImportOptions, Store};

/// Fetch image(s) and store them in the local store.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the full image hash
    #[arg(long)]
    full: bool,
    /// Image files
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
}

/// Fetches and prints an ID a line.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    let store = Store::open(&global.dir)?;
    let mut text = String::new();
    for image in &args.images {
        let record = from_file(global, &store, image)?;
        if rustix::process::geteuid().is_root() && store.manifest(&record)?.dependencies.is_empty() {
            store.tree(&record)?;
        }
        let id = if args.full { record.id.key() } else { record.id.short() };
        text.push_str(id);
        text.push('\n');
    }
    crate::output::print(text.as_bytes())?;
    Ok(0)
}

/// Imports an image file, which a path names.
pub(crate) fn from_file(global: &Global, store: &Store, image: &Path) -> Result<ImageRecord> {
    let path = image.to_string_lossy();
    let path = path.strip_prefix("file://").map_or(image, Path::new);
    if !is_path(image) {
        bail!("image {:?}: only image files can be fetched in this version", image.display().to_string());
    }
    let options = ImportOptions { insecure_image: global.insecure.image() };
    Ok(store.import_file(path, options)?)
}

/// Whether an image argument means a file: as rkt guesses it, the first that fits.
pub(crate) fn is_path(image: &Path) -> bool {
    let text = image.to_string_lossy();
    if text.starts_with("file://") || image.is_absolute() || image.is_file() {
        return true;
    }
    !text.contains(':') && (text.contains("./") || text.ends_with(".aci"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_from_names() {
        for (text, path) in [
            ("/a/b.aci", true),
            ("file:///a/b.aci", true),
            ("./b", true),
            ("b.aci", true),
            ("../b.aci", true),
            ("example.com/app", false),
            ("example.com/app:1.0", false),
            ("docker://busybox", false),
            ("https://example.com/a.aci", false),
            ("busybox", false),
        ] {
            assert_eq!(is_path(Path::new(text)), path, "{text}");
        }
    }
}
