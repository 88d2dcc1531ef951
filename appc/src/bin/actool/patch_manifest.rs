//! `actool patch-manifest`

use std::{
    fs::File,
    io::{BufReader, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use appc::{
    MAX_MANIFEST_SIZE,
    aci::{self, AciError, ArchiveWriter, Compression, Entry, Limits, ReadError},
    schema::ImageManifest,
};

use super::{
    output::Output,
    patch::Changes,
    shell::{boolean, words},
};

/// Copy an ACI and patch its manifest
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Replace image manifest with this file. Incompatible with other replace options
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    #[command(flatten)]
    changes: Changes,
    /// Replace the input file
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false",
        value_parser = boolean, hide_default_value = true, value_name = "BOOL")]
    replace: bool,
    /// Overwrite target file if it already exists
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false",
        value_parser = boolean, hide_default_value = true, value_name = "BOOL")]
    overwrite: bool,
    /// Do not gzip-compress the produced ACI
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false",
        value_parser = boolean, hide_default_value = true, value_name = "BOOL")]
    no_compression: bool,
    /// The image, and the one to write unless the first is replaced
    #[arg(value_names = ["INPUT_ACI_FILE", "OUTPUT_ACI_FILE"])]
    files: Vec<PathBuf>,
}

/// Copies the image entry by entry, with another manifest in the place of the first.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    if args.replace && args.overwrite {
        return Err("Cannot use both --replace and --overwrite".to_owned());
    }
    if args.manifest.is_some() && args.changes.any() {
        return Err("--manifest is incompatible with other manifest editing options".to_owned());
    }
    let (input, output) = match (args.files.as_slice(), args.replace) {
        ([file], true) => (file, file),
        (_, true) => return Err("Must provide one file to replace".to_owned()),
        ([input, output], false) => (input, output),
        _ => return Err("Must provide input and output files (or use --replace)".to_owned()),
    };
    let shown = |error: std::io::Error| format!("Cannot open {}: {}", input.display(), words(&error));
    let file = File::open(input).map_err(shown)?;
    let given = args.manifest.as_deref().map(read_manifest).transpose()?;
    let mut target = if args.replace {
        let mode = file.metadata().map_err(shown)?.permissions().mode() & 0o7777;
        Output::replacing(output, mode)?
    } else {
        Output::new(output, args.overwrite)?
    };
    copy(args, file, given.as_deref(), target.file()).map_err(|error| match error {
        Failure::Input(error) => format!("Unable to read {}: {error}", input.display()),
        Failure::Output(error) => format!("Unable to write {}: {error}", output.display()),
    })?;
    target.keep()
}

enum Failure {
    Input(String),
    Output(String),
}

fn copy(args: &Args, input: File, given: Option<&[u8]>, output: impl Write) -> Result<(), Failure> {
    let limits = Limits::default();
    let compression = if args.no_compression { Compression::None } else { Compression::Gzip };
    let wrong = |error: std::io::Error| Failure::Output(words(&error));
    let mut writer = ArchiveWriter::new(output, compression, &limits).map_err(wrong)?;
    let read = aci::read(BufReader::new(input), &limits, &mut |entry, content| {
        let mut add = |entry: &Entry, content: &mut dyn Read| {
            writer.add(entry, content).map_err(|error| format!("{}: {error}", entry.path.display()))
        };
        if entry.path != Path::new("manifest") {
            return add(entry, content);
        }
        let manifest = match given {
            Some(given) => given.to_vec(),
            None => patched(&args.changes, content)?,
        };
        let entry = Entry { size: manifest.len() as u64, ..entry.clone() };
        add(&entry, &mut manifest.as_slice())
    });
    match read {
        Ok(_) => {}
        // It is the last thing that is looked at: all else is well, and the manifest is replaced.
        Err(ReadError::Invalid(AciError::Manifest(_))) if given.is_some() => {}
        Err(error) => return Err(Failure::Input(error.to_string())),
    }
    writer.finish().map(drop).map_err(|error| Failure::Output(error.to_string()))
}

fn patched(changes: &Changes, content: &mut dyn Read) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    content.read_to_end(&mut text).map_err(|error| words(&error))?;
    let mut manifest = ImageManifest::from_slice(&text).map_err(|error| format!("its manifest: {error}"))?;
    changes.apply(&mut manifest)?;
    manifest.to_vec().map_err(|error| format!("the patched manifest: {error}"))
}

fn read_manifest(path: &Path) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_MANIFEST_SIZE + 1).read_to_end(&mut text));
    read.map_err(|error| format!("Cannot read {}: {}", path.display(), words(&error)))?;
    match ImageManifest::from_slice(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}
