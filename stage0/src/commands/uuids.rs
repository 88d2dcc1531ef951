//! Pods that a command is about: by UUID or the beginning of one, or by a file that holds one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use rkt_pod::{PodDir, lookup};

use super::global::Global;

/// The file of `--uuid-file` cannot be read, which `status` tells by its exit status.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UnreadableFile(String);

/// The UUID in a file.
pub(crate) fn from_file(file: &Path) -> Result<String> {
    let text = fs::read_to_string(file)
        .map_err(|error| UnreadableFile(format!("read {}: {}", file.display(), error.kind())))?;
    Ok(text.trim().to_owned())
}

/// Several pods.
#[derive(Debug, clap::Args)]
pub(crate) struct Uuids {
    /// Read the pod's UUID from a file
    #[arg(long, value_name = "FILE")]
    uuid_file: Option<PathBuf>,
    /// UUIDs of pods, or the beginnings of them
    #[arg(value_name = "UUID")]
    uuids: Vec<String>,
}

impl Uuids {
    /// One, by its UUID.
    pub(crate) fn of(uuid: &str) -> Uuids {
        Uuids { uuid_file: None, uuids: vec![uuid.to_owned()] }
    }

    /// One, whose UUID is in a file.
    pub(crate) fn of_file(file: PathBuf) -> Uuids {
        Uuids { uuid_file: Some(file), uuids: Vec::new() }
    }

    /// The UUIDs as they were given.
    pub(crate) fn given(&self) -> Result<Vec<String>> {
        match (&self.uuid_file, self.uuids.as_slice()) {
            (Some(_), [_, ..]) => bail!("give either UUIDs or --uuid-file, not both"),
            (None, []) => bail!("must provide a pod UUID (see rkt list)"),
            (None, uuids) => Ok(uuids.to_vec()),
            (Some(file), []) => Ok(vec![from_file(file)?]),
        }
    }

    /// The one pod that was given.
    pub(crate) fn one(&self, global: &Global) -> Result<PodDir> {
        match self.given()?.as_slice() {
            [uuid] => Ok(lookup::by_prefix(&global.dir, uuid)?),
            _ => bail!("must provide exactly one pod UUID"),
        }
    }

    /// Does something for each pod that was given, and goes on after failures, which it prints. Returns whether all
    /// went well.
    pub(crate) fn each(
        &self,
        global: &Global,
        command: &str,
        mut act: impl FnMut(PodDir) -> Result<()>,
    ) -> Result<bool> {
        let mut good = true;
        for uuid in self.given()? {
            let result =
                lookup::by_prefix(&global.dir, &uuid).map_err(anyhow::Error::from).and_then(&mut act);
            if let Err(error) = result {
                crate::output::print_error(command, &error, global.debug);
                good = false;
            }
        }
        Ok(good)
    }
}
