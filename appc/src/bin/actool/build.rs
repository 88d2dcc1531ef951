//! `actool build`

use std::{io::Write, path::PathBuf};

use appc::aci::{ArchiveWriter, Compression, Entry, Layout, Limits};

use super::{
    output::Output,
    shell::{boolean, words},
};

/// Build an ACI from an image layout
///
/// The same layout gives the same image, byte for byte: entries are in the order of their names, and the manifest in the
/// image has the time of the layout's. Where SOURCE_DATE_EPOCH is set, no time in the image is later than that.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Overwrite target file if it already exists
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false",
        value_parser = boolean, hide_default_value = true, value_name = "BOOL")]
    overwrite: bool,
    /// Do not gzip-compress the produced ACI
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false",
        value_parser = boolean, hide_default_value = true, value_name = "BOOL")]
    no_compression: bool,
    /// How to compress: gzip, none, bzip2, xz or zstd
    #[arg(long, value_name = "NAME", value_parser = compression, conflicts_with = "no_compression")]
    compression: Option<Compression>,
    /// Force ownership to root:root on all files
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false",
        value_parser = boolean, hide_default_value = true, value_name = "BOOL")]
    owner_root: bool,
    /// The directory with `manifest` and `rootfs`, and the image to write
    #[arg(value_names = ["DIRECTORY", "OUTPUT_FILE"])]
    files: Vec<PathBuf>,
}

fn compression(word: &str) -> Result<Compression, String> {
    Compression::from_word(word).ok_or_else(|| "must be gzip, none, bzip2, xz or zstd".to_owned())
}

/// Builds it.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    let [directory, output] = args.files.as_slice() else {
        return Err("Must provide directory and output file".to_owned());
    };
    if output.extension().is_none_or(|extension| extension != "aci") {
        let extension = output.extension().map(|word| format!(".{}", word.display())).unwrap_or_default();
        return Err(format!("Extension must be .aci (given {extension})"));
    }
    let latest = latest()?;
    let layout = Layout::open(directory).map_err(|error| format!("Layout failed validation: {error}"))?;
    let mut target = Output::new(output, args.overwrite)?;
    write(args, &layout, latest, target.file()).map_err(|error| format!("{}: {error}", output.display()))?;
    target.keep()
}

/// The latest time that files in the image may have, in seconds since the epoch.
fn latest() -> Result<i64, String> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => {
            text.parse().map_err(|_| format!("SOURCE_DATE_EPOCH: {text:?} is not a number of seconds"))
        }
        Err(_) => Ok(i64::MAX),
    }
}

fn write(args: &Args, layout: &Layout, latest: i64, output: impl Write) -> Result<(), String> {
    let compression =
        if args.no_compression { Compression::None } else { args.compression.unwrap_or(Compression::Gzip) };
    let limits = Limits::default();
    let mut archive = ArchiveWriter::new(output, compression, &limits).map_err(|error| words(&error))?;
    let mut add = |mut entry: Entry, content: &mut dyn std::io::Read| {
        if args.owner_root {
            (entry.uid, entry.gid) = (0, 0);
        }
        if entry.mtime >= latest {
            (entry.mtime, entry.mtime_nsec) = (latest, 0);
        }
        archive.add(&entry, content).map_err(|error| format!("{}: {error}", entry.path.display()))
    };
    layout.walk(&mut add)?;
    let manifest = layout.manifest.to_vec().map_err(|error| format!("manifest: {error}"))?;
    let entry = Entry::manifest(manifest.len(), layout.manifest_time());
    add(entry, &mut manifest.as_slice())?;
    archive.finish().map(drop).map_err(|error| error.to_string())
}
