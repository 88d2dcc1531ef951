//! `rkt metadata-service`

use anyhow::Result;
use rkt_metadata::Options;

use super::{global::Global, need_root};

/// Run the metadata service, where apps ask about themselves.
///
/// It answers the apps of pods that were started with `--mds-register`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The port at which apps ask
    #[arg(long, value_name = "PORT", default_value_t = rkt_pod::stage1::METADATA_PORT)]
    listen_port: u16,
}

/// Serves until a signal ends it.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    need_root()?;
    let options = Options { port: args.listen_port, data: global.dir.clone() };
    rkt_metadata::serve(&options, |line| crate::output::note("metadata-service", line))?;
    Ok(0)
}
