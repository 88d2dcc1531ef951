//! Options of every command.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    config::{Configuration, Credential, InsecureOptions},
    fetch::Fetcher,
    keys::ImageKeys,
    oci::Basic,
    output::Progress,
    store::{PullPolicy, Store},
    trust::Keystore,
};

/// As they are written.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct GlobalArgs {
    /// Print more information, and all causes of an error
    #[arg(long, global = true)]
    pub(crate) debug: bool,
    /// Path to the rkt data directory
    #[arg(long, global = true, value_name = "DIR", value_parser = directory)]
    dir: Option<PathBuf>,
    /// Path to the system configuration directory
    #[arg(long, global = true, value_name = "DIR", default_value = rkt_pod::layout::VENDOR_DIR, value_parser = directory)]
    system_config: PathBuf,
    /// Path to the local configuration directory
    #[arg(long, global = true, value_name = "DIR", default_value = rkt_pod::layout::LOCAL_CONFIG_DIR, value_parser = directory)]
    local_config: PathBuf,
    /// Path to the user configuration directory
    #[arg(long, global = true, value_name = "DIR", value_parser = directory)]
    user_config: Option<PathBuf>,
    /// Comma-separated list of security features to disable: none, image, tls, ondisk, http, pubkey, capabilities,
    /// paths, seccomp, all-fetch, all-run, all
    #[arg(long, global = true, value_name = "LIST", default_value = "none")]
    insecure_options: InsecureOptions,
    /// Trust keys that are fetched over https without asking
    #[arg(long, global = true)]
    trust_keys_from_https: bool,
}

/// As they are meant.
#[derive(Debug)]
pub(crate) struct Global {
    /// The data directory.
    pub(crate) dir: PathBuf,
    /// Print more.
    pub(crate) debug: bool,
    /// The administrator's configuration.
    pub(crate) local_config: PathBuf,
    /// All configuration: the vendor's, the administrator's, the user's.
    configs: Vec<PathBuf>,
    /// Protections that the user does without.
    pub(crate) insecure: InsecureOptions,
    /// Whom images are trusted of.
    pub(crate) keystore: Keystore,
    /// Whether keys that come over https need no review.
    pub(crate) trust_keys_from_https: bool,
    /// What hosts want to see.
    pub(crate) credentials: BTreeMap<String, Credential>,
    /// What registries want to see.
    pub(crate) registries: BTreeMap<String, Basic>,
    /// Files with passphrases of encrypted images, by the prefixes of their names.
    pub(crate) image_keys: BTreeMap<String, PathBuf>,
}

impl Global {
    /// Resolves the data directory: the option, else the configuration, else the default.
    pub(crate) fn new(args: GlobalArgs) -> Result<Global> {
        let keystore = Keystore::new(&args.system_config, &args.local_config);
        let layers: Vec<PathBuf> =
            [Some(args.system_config), Some(args.local_config.clone()), args.user_config]
                .into_iter()
                .flatten()
                .collect();
        let Configuration { data, credentials, registries, image_keys } = Configuration::read(&layers)?;

        let dir = args.dir.or(data).unwrap_or_else(|| rkt_pod::layout::DATA_DIR.into());
        // A directory that is not there yet is used as it was given.
        let dir = std::fs::canonicalize(&dir)
            .or_else(|_| std::path::absolute(&dir))
            .context("find the data directory")?;
        Ok(Global {
            dir,
            debug: args.debug,
            local_config: args.local_config,
            configs: layers,
            insecure: args.insecure_options,
            keystore,
            trust_keys_from_https: args.trust_keys_from_https,
            credentials,
            registries,
            image_keys,
        })
    }
}

impl Global {
    /// Where configurations of networks are.
    pub(crate) fn net_directories(&self) -> Vec<PathBuf> {
        self.configs.iter().map(|directory| directory.join("net.d")).collect()
    }

    /// Fetches images into `store`. The passphrase of those that are encrypted is in a file, or configured.
    pub(crate) fn fetcher<'a>(
        &'a self,
        store: &'a Store,
        policy: PullPolicy,
        passphrase_file: Option<&Path>,
        progress: &'a Progress,
    ) -> Result<Fetcher<'a>> {
        Ok(Fetcher {
            store,
            keystore: &self.keystore,
            insecure: self.insecure,
            trust_keys_from_https: self.trust_keys_from_https,
            credentials: &self.credentials,
            registries: &self.registries,
            keys: ImageKeys::new(&self.image_keys).with(passphrase_file).context("--passphrase-file")?,
            policy,
            progress,
        })
    }
}

fn directory(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    std::path::absolute(text).map_err(|error| error.to_string())
}
