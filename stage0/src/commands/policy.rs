//! When images are fetched that the store may have.

use anyhow::{Result, bail};

use crate::{output::note, store::PullPolicy};

/// The options that say it.
#[derive(Debug, clap::Args)]
pub(crate) struct PolicyArgs {
    /// When to fetch what the store may have: never, new or update
    #[arg(long, value_name = "POLICY")]
    pull_policy: Option<PullPolicy>,
    /// Deprecated: --pull-policy=never
    #[arg(long, hide = true)]
    store_only: bool,
    /// Deprecated: --pull-policy=update
    #[arg(long, hide = true)]
    no_store: bool,
}

impl PolicyArgs {
    /// The policy, where none is given `default`.
    pub(crate) fn get(&self, default: PullPolicy) -> Result<PullPolicy> {
        let (word, policy) = match (self.store_only, self.no_store) {
            (false, false) => return Ok(self.pull_policy.unwrap_or(default)),
            (true, true) => bail!("--store-only and --no-store exclude each other"),
            (true, false) => ("--store-only", PullPolicy::Never),
            (false, true) => ("--no-store", PullPolicy::Update),
        };
        if self.pull_policy.is_some_and(|given| given != policy) {
            bail!("{word} and --pull-policy say different things");
        }
        note("image", &format!("{word} is deprecated; use --pull-policy"));
        Ok(policy)
    }
}
