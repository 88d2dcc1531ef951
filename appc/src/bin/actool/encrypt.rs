//! `actool encrypt`

use std::{
    fs::File,
    io::{BufReader, Read},
    path::PathBuf,
};

use appc::{
    aci::{self, FileKind, HEAD},
    openpgp,
};

use super::{
    output::Output,
    passphrase,
    shell::{boolean, words},
};

/// Encrypt an ACI with a passphrase
///
/// The result is an OpenPGP message (AES-256, integrity protected) that gpg --decrypt and rkt open. Encrypt first and sign
/// then: signatures are those of the file as it is distributed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// File with the passphrase in its first line; asked for twice on the terminal where absent
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Overwrite target file if it already exists
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false",
        value_parser = boolean, hide_default_value = true, value_name = "BOOL")]
    overwrite: bool,
    /// The image, and the encrypted image to write
    #[arg(value_names = ["IMAGE", "OUTPUT_FILE"])]
    files: Vec<PathBuf>,
}

/// Encrypts it.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    let [image, output] = args.files.as_slice() else {
        return Err("Must provide image and output file".to_owned());
    };
    let wrong = |reason: &str| format!("{}: {reason}", image.display());
    let mut file =
        File::open(image).map_err(|error| format!("Cannot open {}: {}", image.display(), words(&error)))?;
    let mut head = Vec::new();
    file.by_ref().take(HEAD as u64).read_to_end(&mut head).map_err(|error| wrong(&words(&error)))?;
    match aci::sniff(&head) {
        FileKind::Archive(_) => {}
        FileKind::OpenPgp => return Err(wrong("it is encrypted already")),
        FileKind::Text | FileKind::Unknown => return Err(wrong("it is no image")),
    }
    let mut target = Output::new(output, args.overwrite)?;
    let passphrase =
        passphrase::read(args.passphrase_file.as_deref(), &["Passphrase", "The same passphrase again"])?;
    let input = BufReader::with_capacity(128 * 1024, head.as_slice().chain(file));
    openpgp::encrypt(input, &passphrase, target.file()).map_err(|error| wrong(&error.to_string()))?;
    target.keep()
}
