//! `actool build`

use std::{
    fs::{self, OpenOptions},
    io::BufWriter,
    path::{Path, PathBuf},
};

use appc::aci::{ArchiveWriter, Compression, Entry, EntryKind, Limits};

use super::layout::Layout;

/// Build an ACI from an image layout.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Overwrite target file if it already exists
    #[arg(long)]
    overwrite: bool,
    /// Do not gzip-compress the produced ACI
    #[arg(long, conflicts_with = "compression")]
    no_compression: bool,
    /// How to compress: gzip, none, bzip2, xz or zstd
    #[arg(long, value_name = "NAME", value_parser = compression)]
    compression: Option<Compression>,
    /// Force ownership to root:root
    #[arg(long)]
    owner_root: bool,
    /// Directory with `manifest` and `rootfs`
    directory: PathBuf,
    /// The image to write; its name ends in .aci
    output: PathBuf,
}

fn compression(word: &str) -> Result<Compression, String> {
    Compression::from_word(word).ok_or_else(|| "must be gzip, none, bzip2, xz or zstd".to_owned())
}

/// Builds it. The same layout gives the same image, byte for byte.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    let output = &args.output;
    if output.extension().is_none_or(|extension| extension != "aci") {
        return Err(format!("Extension must be .aci (given {})", output.display()));
    }
    let layout = Layout::open(&args.directory)?;
    if !args.overwrite && output.exists() {
        return Err(format!("{}: Target file exists (try --overwrite)", output.display()));
    }
    // The image is seen whole or not at all.
    let temporary = output.with_extension(format!("aci.{}.tmp", std::process::id()));
    let written = write(args, &layout, &temporary).and_then(|()| {
        fs::rename(&temporary, output).map_err(|error| format!("{}: {}", output.display(), error.kind()))
    });
    if written.is_err() && fs::remove_file(&temporary).is_err() {
        // It was never made.
    }
    written
}

fn write(args: &Args, layout: &Layout, path: &Path) -> Result<(), String> {
    let shown = |error: std::io::Error| format!("{}: {}", path.display(), error.kind());
    let file = OpenOptions::new().write(true).create_new(true).open(path).map_err(shown)?;
    let compression =
        if args.no_compression { Compression::None } else { args.compression.unwrap_or(Compression::Gzip) };
    let limits = Limits::default();
    let output = BufWriter::with_capacity(128 * 1024, file);
    let mut archive = ArchiveWriter::new(output, compression, &limits).map_err(shown)?;
    layout.walk(&mut |mut entry, content| {
        if args.owner_root {
            (entry.uid, entry.gid) = (0, 0);
        }
        archive.add(&entry, content).map_err(|error| format!("{}: {error}", entry.path.display()))
    })?;
    let manifest = layout.manifest.to_vec().map_err(|error| format!("manifest: {error}"))?;
    let entry = Entry {
        path: "manifest".into(),
        kind: EntryKind::Regular,
        mode: 0o644,
        uid: 0,
        gid: 0,
        size: manifest.len() as u64,
        mtime: layout.manifest_time(),
        mtime_nsec: 0,
        xattrs: Vec::new(),
    };
    archive.add(&entry, &mut manifest.as_slice()).map_err(|error| format!("manifest: {error}"))?;
    let (_, output) = archive.finish().map_err(|error| error.to_string())?;
    let file = output.into_inner().map_err(|error| shown(error.into_error()))?;
    file.sync_all().map_err(shown)
}
