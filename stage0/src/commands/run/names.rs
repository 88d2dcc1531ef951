//! How names are found in a pod.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use rkt_net::names::{DnsOptions, Hosts, Mode, Modes};
use rkt_pod::layout;

/// Options about names.
#[derive(Debug, clap::Args)]
pub(crate) struct NameArgs {
    /// DNS servers of the pod, host for the host's resolv.conf, or none to leave that to the image
    #[arg(long, value_name = "IP|host|none")]
    dns: Vec<String>,
    /// DNS search domain of the pod
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// DNS resolver option of the pod
    #[arg(long, value_name = "OPTION")]
    dns_opt: Vec<String>,
    /// DNS domain of the pod
    #[arg(long, value_name = "DOMAIN")]
    dns_domain: Option<String>,
    /// Entries of the pod's /etc/hosts, IP=NAME[,IP=NAME…], or host for the host's file
    #[arg(long, value_name = "IP=NAME|host")]
    hosts_entry: Vec<String>,
}

/// What they say.
#[derive(Debug)]
pub(crate) struct Names {
    /// Where the files come from.
    pub(crate) modes: Modes,
    resolv: Option<String>,
    hosts: Hosts,
}

impl NameArgs {
    /// Checks all of them.
    pub(crate) fn read(&self) -> Result<Names> {
        let options = DnsOptions {
            dns: &self.dns,
            search: &self.dns_search,
            options: &self.dns_opt,
            domain: self.dns_domain.as_deref(),
        };
        let (mode, resolv) = options.read()?;
        let (hosts_mode, hosts) = Hosts::read(&self.hosts_entry)?;
        Ok(Names { modes: Modes { resolv: mode, hosts: hosts_mode }, resolv, hosts })
    }
}

impl Names {
    /// Lays the files down in the pod's directory.
    pub(crate) fn write(&self, pod: &Path, hostname: &str) -> Result<()> {
        let hosts = (self.modes.hosts == Mode::Stage0).then(|| self.hosts.file(hostname));
        for (name, text) in [(layout::RESOLV, &self.resolv), (layout::HOSTS, &hosts)] {
            let Some(text) = text else { continue };
            let path = pod.join(name);
            let parent = path.parent().unwrap_or(pod);
            fs::create_dir_all(parent).with_context(|| format!("make directory {}", parent.display()))?;
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }
}
