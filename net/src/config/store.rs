//! The configurations of a pod's networks in its directory: stage0 puts them there, and whatever comes later reads those.

use std::{fs, io::ErrorKind, path::Path};

use super::{
    Network, Selection,
    load::{Loaded, from_directory},
};
use crate::{
    error::{Result, failed},
    record::{self, NET},
};

/// Puts the configurations into the pod's directory, under names that keep their order.
///
/// # Errors
/// Where one cannot be written.
pub fn store(pod: &Path, networks: &[Network]) -> Result<()> {
    let directory = pod.join(NET);
    match fs::create_dir(&directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(failed("make directory", directory.display())(error));
        }
        _ => {}
    }
    for (number, network) in networks.iter().enumerate() {
        record::write(&directory, &format!("{number:03}-{}", network.file), &network.config)?;
    }
    Ok(())
}

/// The networks of a selection, of those whose configurations are in the pod's directory.
///
/// # Errors
/// Where they are not there, or cannot be read.
pub fn stored(pod: &Path, selection: &Selection) -> Result<Vec<(Network, String)>> {
    let networks = from_directory(&pod.join(NET))?;
    Loaded { networks, notices: Vec::new() }.select(selection)
}
