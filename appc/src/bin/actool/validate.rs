//! `actool validate`

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use appc::{
    aci::{self, FileKind, HEAD, Limits},
    schema::{self, ImageManifest, Kind, PodManifest},
};
use clap::ValueEnum;

use super::shell::words;

/// Validate that one or more images or manifests meet the AppContainer specification
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Type of file to validate; found out where absent
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<Type>,
    /// Files and directories
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Type {
    #[value(name = "appimage")]
    AppImage,
    Layout,
    Manifest,
}

/// How checking a file went wrong.
enum Problem {
    /// Its content is not valid; the next file is checked all the same.
    Content(String),
    /// It cannot be looked at.
    Access(String),
}

/// Checks the files. Silent where all are valid, but for `--debug`.
pub(crate) fn run(args: &Args, debug: bool) -> ExitCode {
    if args.files.is_empty() {
        eprintln!("must pass one or more files");
        return ExitCode::FAILURE;
    }
    let mut code = ExitCode::SUCCESS;
    for file in &args.files {
        match check(file, args.kind) {
            Ok(what) if debug => eprintln!("{}: {what}", file.display()),
            Ok(_) => {}
            Err(Problem::Content(message)) => {
                eprintln!("{}: {message}", file.display());
                code = ExitCode::FAILURE;
            }
            Err(Problem::Access(message)) => {
                eprintln!("{}: {message}", file.display());
                return ExitCode::FAILURE;
            }
        }
    }
    code
}

fn check(path: &Path, wanted: Option<Type>) -> Result<&'static str, Problem> {
    let access = |error: io::Error| Problem::Access(format!("unable to access: {}", words(&error)));
    let is_directory = fs::metadata(path).map_err(access)?.is_dir();
    let kind = match (wanted, is_directory) {
        (None | Some(Type::Layout), true) => Type::Layout,
        (Some(_), true) => return Err(Problem::Access("is a directory (wrong --type?)".to_owned())),
        (Some(kind), false) => kind,
        (None, false) => detect(path)?,
    };
    match kind {
        Type::Layout => layout(path),
        Type::AppImage => image(path),
        Type::Manifest => manifest(path),
    }
}

fn detect(path: &Path) -> Result<Type, Problem> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HEAD as u64).read_to_end(&mut head));
    read.map_err(|error| Problem::Access(format!("unable to access: {}", words(&error))))?;
    match aci::sniff(&head) {
        FileKind::Archive(_) => Ok(Type::AppImage),
        FileKind::Text => Ok(Type::Manifest),
        FileKind::OpenPgp => {
            Err(Problem::Access("is encrypted (OpenPGP); decrypt it first, as with gpg --decrypt".to_owned()))
        }
        FileKind::Unknown => Err(Problem::Access("unable to detect filetype (try --type)".to_owned())),
    }
}

fn layout(path: &Path) -> Result<&'static str, Problem> {
    aci::Layout::open(path).map(|_| "valid image layout").map_err(|error| Problem::Content(error.to_string()))
}

fn image(path: &Path) -> Result<&'static str, Problem> {
    let file =
        File::open(path).map_err(|error| Problem::Access(format!("unable to access: {}", words(&error))))?;
    let read = aci::read(file, &Limits::default(), &mut |_, _| Ok::<(), io::Error>(()));
    read.map(|_| "valid app container image").map_err(|error| Problem::Content(error.to_string()))
}

fn manifest(path: &Path) -> Result<&'static str, Problem> {
    let mut text = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(appc::MAX_MANIFEST_SIZE + 1).read_to_end(&mut text));
    read.map_err(|error| Problem::Access(format!("unable to access: {}", words(&error))))?;
    let content = |error: appc::SchemaError| Problem::Content(error.to_string());
    match schema::kind_of(&text).map_err(content)? {
        Kind::Image => ImageManifest::from_slice(&text).map(|_| "valid ImageManifest").map_err(content),
        Kind::Pod => PodManifest::from_slice(&text).map(|_| "valid PodManifest").map_err(content),
    }
}
