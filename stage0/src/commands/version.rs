//! `rkt version`

use anyhow::Result;

/// Print the version and exit.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Prints the versions.
pub(crate) fn run(_args: &Args) -> Result<u8> {
    let (os, arch) = appc::types::host_os_arch();
    let text = format!(
        "rkt Version: {}\nappc Version: {}\nOS/Arch: {os}/{arch}\nFeatures: -TPM +SDJOURNAL\n",
        env!("CARGO_PKG_VERSION"),
        appc::SPEC_VERSION
    );
    crate::output::print(text.as_bytes())?;
    Ok(0)
}
