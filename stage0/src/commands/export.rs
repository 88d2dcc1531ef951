//! `rkt export`

use std::{ffi::OsStr, path::PathBuf};

use anyhow::{Context, Result, bail};

use super::{global::Global, need_root, uuids::Uuids};
use crate::pod::{describe::Description, export};

/// Write an app of an exited pod into a file, as an image: its root as the app has left it, and its image's manifest.
///
/// The image needs no other one any more.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The app, where the pod has several
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// Replace what is there
    #[arg(long)]
    overwrite: bool,
    /// Read the pod's UUID from a file
    #[arg(long, value_name = "FILE")]
    uuid_file: Option<PathBuf>,
    /// UUID of the pod, or the beginning of it; and the file, whose name ends in .aci
    #[arg(value_name = "UUID FILE")]
    words: Vec<PathBuf>,
}

/// Writes the file.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    need_root()?;
    let (uuids, file) = match (args.words.as_slice(), &args.uuid_file) {
        ([file], Some(uuid)) => (Uuids::of_file(uuid.clone()), file),
        ([uuid, file], None) => (Uuids::of(&uuid.to_string_lossy()), file),
        _ => bail!("must provide a pod UUID (or --uuid-file) and a file"),
    };
    if file.extension() != Some(OsStr::new("aci")) {
        bail!("{}: the name of the file must end in .aci", file.display());
    }
    let mut problems = Vec::new();
    let description = Description::new(uuids.one(global)?, &mut problems)?;
    let app = description.choose_app(args.app.as_deref(), problems)?;
    export::write(&description.pod, &app, file, args.overwrite)
        .with_context(|| format!("export app {app:?} of pod {}", description.pod.uuid()))?;
    Ok(0)
}
