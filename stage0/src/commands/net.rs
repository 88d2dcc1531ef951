//! `rkt net`

use anyhow::{Result, bail};
use rkt_net::{Directories, Network, config::Kind, overview};

use super::{global::Global, need_root};
use crate::output::{self, Table, note};

/// What is done with networks.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Commands {
    /// List the configured networks, and which pods have addresses in them
    List(ListArgs),
    /// Look whether running pods still have what they were given
    Check,
    /// Take back what dead pods hold: interfaces, addresses, rules
    Gc,
    /// Make the rules of all running pods anew, after somebody has flushed them
    Reload,
}

/// Options of `rkt net list`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Suppress a legend with the list
    #[arg(long)]
    no_legend: bool,
}

impl Commands {
    /// The word before error messages.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Commands::List(_) => "net list",
            Commands::Check => "net check",
            Commands::Gc => "net gc",
            Commands::Reload => "net reload",
        }
    }
}

/// Does it, and says what was done.
pub(crate) fn run(global: &Global, command: &Commands) -> Result<u8> {
    match command {
        Commands::List(args) => list(global, args)?,
        Commands::Check => {
            need_root()?;
            let problems = overview::check(&global.dir)?;
            problems.iter().for_each(|problem| note("net check", problem));
            if !problems.is_empty() {
                bail!("{} thing(s) amiss", problems.len());
            }
        }
        Commands::Gc => {
            need_root()?;
            for removed in overview::collect(&global.dir)?.removed {
                note("net gc", &format!("removed {removed}"));
            }
            collect_by_plugins(global)?;
        }
        Commands::Reload => {
            need_root()?;
            let entries = overview::reload(&global.dir)?;
            note("net reload", &format!("nftables table inet rkt made anew with {entries} entries of pods"));
        }
    }
    Ok(0)
}

fn collect_by_plugins(global: &Global) -> Result<()> {
    let networks = rkt_net::load(&global.net_directories())?.networks;
    let plugins = Directories::new(&global.local_config);
    let problems = overview::collect_by_plugins(&global.dir, &networks, &plugins)?;
    problems.iter().for_each(|problem| note("net gc", &problem.to_string()));
    if !problems.is_empty() {
        bail!("{} plugin(s) did not collect what is left", problems.len());
    }
    Ok(())
}

fn list(global: &Global, args: &ListArgs) -> Result<()> {
    let loaded = rkt_net::load(&global.net_directories())?;
    for notice in &loaded.notices {
        note("net list", notice);
    }
    let mut table = Table::new(&["NETWORK", "TYPE", "FILE", "ADDRESSES", "PODS"], !args.no_legend);
    for network in &loaded.networks {
        let leases = overview::leases(&global.dir, &network.name)?;
        let pods: Vec<String> = leases
            .iter()
            .map(|(address, pod)| format!("{}={address}", pod.get(..8).unwrap_or(pod)))
            .collect();
        let (kind, addresses) = shown(network);
        table.row(vec![network.name.clone(), kind, network.file.clone(), addresses, pods.join(", ")]);
    }
    Ok(output::print(table.text().as_bytes())?)
}

/// How a network is made, and its addresses where those are rkt's to give.
fn shown(network: &Network) -> (String, String) {
    match &network.kind {
        Kind::Native(native) => {
            let v6 = native.subnet6.iter().map(ToString::to_string);
            let addresses: Vec<String> = std::iter::once(native.subnet4.to_string()).chain(v6).collect();
            ("rkt".to_owned(), addresses.join(", "))
        }
        Kind::Cni(cni) => {
            let plugins: Vec<&str> =
                cni.plugins.iter().filter_map(|plugin| plugin["type"].as_str()).collect();
            (plugins.join("+"), "-".to_owned())
        }
    }
}
