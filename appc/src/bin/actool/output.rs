//! A file that is seen whole or not at all.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{BufWriter, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

use super::shell::{beside, words};

/// An image that is being written under another name. Unless it is kept, it goes away.
#[derive(Debug)]
pub(crate) struct Output {
    path: PathBuf,
    temporary: PathBuf,
    file: BufWriter<fs::File>,
    overwrite: bool,
}

impl Output {
    /// An image whose name must end in .aci and be free, unless it may be overwritten.
    pub(crate) fn new(path: &Path, overwrite: bool) -> Result<Output, String> {
        if path.extension().is_none_or(|extension| extension != "aci") {
            let extension = path.extension().map(|word| format!(".{}", word.display())).unwrap_or_default();
            return Err(format!("Extension must be .aci (given {extension})"));
        }
        if !overwrite && path.symlink_metadata().is_ok() {
            return Err("Target file exists (try --overwrite)".to_owned());
        }
        Output::open(path, overwrite, 0o644)
    }

    /// A signature whose name must be free, unless it may be overwritten.
    pub(crate) fn signature(path: &Path, overwrite: bool) -> Result<Output, String> {
        if !overwrite && path.symlink_metadata().is_ok() {
            return Err("Target file exists (try --overwrite)".to_owned());
        }
        Output::open(path, overwrite, 0o644)
    }

    /// An image that takes the place and the mode of another.
    pub(crate) fn replacing(path: &Path, mode: u32) -> Result<Output, String> {
        let output = Output::open(path, true, 0o600)?;
        fs::set_permissions(&output.temporary, Permissions::from_mode(mode))
            .map_err(|error| format!("{}: {}", output.temporary.display(), words(&error)))?;
        Ok(output)
    }

    fn open(path: &Path, overwrite: bool, mode: u32) -> Result<Output, String> {
        let name = path.file_name().ok_or_else(|| format!("{}: is no name of a file", path.display()))?;
        let mut hidden = std::ffi::OsString::from(".actool-tmp.");
        hidden.push(name);
        hidden.push(format!("-{}", std::process::id()));
        let temporary = beside(path, hidden);
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary);
        let file = file.map_err(|error| format!("Unable to open {}: {}", path.display(), words(&error)))?;
        let file = BufWriter::with_capacity(128 * 1024, file);
        Ok(Output { path: path.to_owned(), temporary, file, overwrite })
    }

    /// Where to write.
    pub(crate) fn file(&mut self) -> &mut BufWriter<fs::File> {
        &mut self.file
    }

    /// Writes everything out and gives the file its name.
    pub(crate) fn keep(mut self) -> Result<(), String> {
        let shown =
            |error: std::io::Error| format!("Unable to write {}: {}", self.path.display(), words(&error));
        self.file.flush().map_err(shown)?;
        let flags = if self.overwrite { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        match renameat_with(CWD, &self.temporary, CWD, &self.path, flags) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err("Target file exists (try --overwrite)".to_owned()),
            // Some file systems cannot promise that nothing is replaced.
            Err(Errno::INVAL) => fs::rename(&self.temporary, &self.path).map_err(shown),
            Err(errno) => Err(shown(errno.into())),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if fs::remove_file(&self.temporary).is_err() {
            // It has its final name.
        }
    }
}
