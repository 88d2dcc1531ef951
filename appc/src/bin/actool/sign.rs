//! `actool sign`

use std::{
    fs::File,
    io::{BufReader, Read, Write},
    path::{Path, PathBuf},
};

use appc::openpgp::SecretKey;

use super::{
    output::Output,
    passphrase,
    shell::{beside, boolean, words},
};

/// Largest file of a key, in bytes.
const MAX_KEY: u64 = 1 << 20;

/// Sign an ACI with a secret key
///
/// Writes an armored detached signature (SHA-512), which gpg --verify and rkt fetch accept. The key is one as gpg
/// --export-secret-keys writes it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// File of the secret key, armored or not
    #[arg(long, value_name = "FILE", required = true)]
    key: PathBuf,
    /// File with the key's passphrase in its first line; asked for on the terminal where absent, if the key has one
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// The signature to write; IMAGE.asc where absent
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Overwrite the signature if it already exists
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false",
        value_parser = boolean, hide_default_value = true, value_name = "BOOL")]
    overwrite: bool,
    /// The image
    #[arg(value_name = "IMAGE")]
    files: Vec<PathBuf>,
}

/// Signs it.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    let [image] = args.files.as_slice() else { return Err("Must provide one file".to_owned()) };
    let mut key = read_key(&args.key)?;
    let file = open(image)?;
    let path = args.output.clone().unwrap_or_else(|| {
        let mut name = image.file_name().unwrap_or_default().to_owned();
        name.push(".asc");
        beside(image, name)
    });
    let mut target = Output::signature(&path, args.overwrite)?;
    if key.is_locked() {
        let prompt = format!("Passphrase of key {}", key.fingerprint());
        let passphrase = passphrase::read(args.passphrase_file.as_deref(), &[&prompt])?;
        key.unlock(&passphrase).map_err(|error| format!("{}: {error}", args.key.display()))?;
    }
    let signature = key.sign(BufReader::with_capacity(128 * 1024, file));
    let signature = signature.map_err(|error| format!("{}: {error}", image.display()))?;
    let written = target.file().write_all(&signature);
    written.map_err(|error| format!("Unable to write {}: {}", path.display(), words(&error)))?;
    target.keep()
}

fn read_key(path: &Path) -> Result<SecretKey, String> {
    let mut bytes = Vec::new();
    let read = open(path)?.take(MAX_KEY).read_to_end(&mut bytes);
    read.map_err(|error| format!("{}: {}", path.display(), words(&error)))?;
    SecretKey::read(&bytes).map_err(|error| format!("{}: {error}", path.display()))
}

fn open(path: &Path) -> Result<File, String> {
    File::open(path).map_err(|error| format!("Cannot open {}: {}", path.display(), words(&error)))
}
