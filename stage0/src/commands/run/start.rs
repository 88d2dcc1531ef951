//! Starting a pod that is ready: what `run` and `run-prepared` have in common.

use anyhow::{Result, bail};
use appc::schema::{App, PodManifest};
use rkt_net::{Network, Selection};
use rkt_pod::{
    Lock, PodDir,
    stage1::{RunArgs, Supervisor},
    users::Range,
};

use super::names::{NameArgs, Names};
use crate::{commands::global::Global, output, pod::metadata, stage1};

/// How a pod is run.
#[derive(Debug, clap::Args)]
pub(crate) struct StartArgs {
    /// The pod's networks: host, none, all, or names with what their plugins are told, NAME[:KEY=VALUE;…][,NAME…]
    #[arg(long, value_name = "LIST", num_args = 0..=1, require_equals = true, default_missing_value = "default")]
    net: Vec<String>,
    #[command(flatten)]
    names: NameArgs,
    /// Pod's hostname
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Register the pod with the metadata service, where its apps can ask about themselves
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set, value_name = "BOOL")]
    mds_register: bool,
    /// Run the pod interactively, with the terminal for its only app
    #[arg(long)]
    interactive: bool,
    /// Whose journal has the apps' output: the host's, or one of the pod's own, which journalctl -M and --namespace show
    #[arg(long, value_name = "WHOSE", default_value = "host", value_parser = ["host", "pod"], conflicts_with = "interactive")]
    journal: String,
    /// Refuse to start the pod where this machine cannot enforce one of its isolators
    #[arg(long)]
    strict_isolators: bool,
    /// Whether to stay in the parent IPC namespace: auto, private or parent
    #[arg(long, value_name = "MODE", value_parser = ["auto", "private", "parent"])]
    ipc: Option<String>,
    /// Who starts and watches the apps: auto, systemd or direct
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = supervisor)]
    supervisor: Supervisor,
}

fn supervisor(word: &str) -> Result<Supervisor, String> {
    Supervisor::from_word(word).ok_or_else(|| "must be auto, systemd or direct".to_owned())
}

/// What starts a pod.
#[derive(Debug)]
pub(crate) struct Start {
    program: std::path::PathBuf,
    networks: Vec<Network>,
    names: Names,
    registers: bool,
    args: RunArgs,
}

impl StartArgs {
    /// Checks all that can be checked before there is a pod.
    pub(crate) fn check(&self, global: &Global) -> Result<Start> {
        check_hostname(self.hostname.as_deref())?;
        let program = stage1::program()?;
        let selection = Selection::read(&self.net)?;
        let networks = networks(global, &selection)?;
        let names = self.names.read()?;
        if self.mds_register {
            if selection == Selection::None {
                bail!("--mds-register: without a network the apps would not reach the metadata service");
            }
            rkt_metadata::probe()?;
        }
        let args = RunArgs {
            debug: global.debug,
            net: selection.list(),
            metadata_token: None,
            interactive: self.interactive,
            private_users: None,
            local_config: Some(global.local_config.clone().into()),
            hostname: self.hostname.clone(),
            insecure_capabilities: global.insecure.capabilities(),
            insecure_paths: global.insecure.paths(),
            insecure_seccomp: global.insecure.seccomp(),
            strict_isolators: self.strict_isolators,
            dns_conf_mode: names.modes.to_string(),
            ipc: self.ipc.clone(),
            supervisor: self.supervisor,
            own_journal: self.journal == "pod",
            mutable: false,
            uuid: String::new(),
        };
        Ok(Start { program, networks, names, registers: self.mds_register, args })
    }

    /// Whether the only app gets the terminal.
    pub(crate) fn is_interactive(&self) -> bool {
        self.interactive
    }
}

impl Start {
    /// Refuses what does not go with the pod's apps, and what this machine cannot give them.
    pub(crate) fn check_apps(&self, manifest: &PodManifest) -> Result<()> {
        if self.args.interactive && manifest.apps.len() > 1 {
            bail!("interactive option only supports one image");
        }
        // Of an app whose section is its image's, stage1 knows the ports.
        let apps: Vec<&App> = manifest.apps.iter().filter_map(|app| app.app.as_ref()).collect();
        let forwards = if apps.len() == manifest.apps.len() {
            rkt_net::ports::resolve(manifest, &apps)?
        } else {
            Vec::new()
        };
        let has_ports = !manifest.ports.is_empty() || !forwards.is_empty();
        if has_ports && self.networks.is_empty() {
            bail!("--port does not go with --net={}: there is nothing to forward to", self.args.net);
        }
        let local = self.args.local_config.clone().unwrap_or_default();
        let directories = rkt_net::Directories::new(std::path::Path::new(&local));
        Ok(rkt_net::check(&self.networks, &forwards, &directories)?)
    }

    /// The same for a pod whose apps come and go, where it is one.
    pub(crate) fn mutable(mut self, mutable: bool) -> Start {
        self.args.mutable = mutable;
        self
    }

    /// Becomes the pod. Returns only where that fails.
    pub(crate) fn exec(mut self, pod: &PodDir, lock: &Lock) -> anyhow::Error {
        pod.uuid().clone_into(&mut self.args.uuid);
        match Range::of_pod(&pod.path()) {
            Ok(range) => self.args.private_users = range,
            Err(error) => return error.into(),
        }
        let hostname = self.args.hostname.clone().unwrap_or_else(|| format!("rkt-{}", pod.uuid()));
        let stored = rkt_net::config::store(&pod.path(), &self.networks).map_err(Into::into);
        if let Err(error) = stored.and_then(|()| self.names.write(&pod.path(), &hostname)) {
            return error;
        }
        if self.registers {
            match metadata::register(pod) {
                Ok(token) => self.args.metadata_token = Some(token),
                Err(error) => return error,
            }
        }
        stage1::run(&self.program, pod, lock, &self.args)
    }
}

/// Refuses what the kernel, or a program that reads it, would not take as a host name (hostname(7)).
fn check_hostname(hostname: Option<&str>) -> Result<()> {
    let Some(hostname) = hostname else { return Ok(()) };
    let valid = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if hostname.len() > 64 || !hostname.split('.').all(valid) {
        bail!("--hostname={hostname}: must have letters, digits, dots and dashes, at most 64 characters");
    }
    Ok(())
}

/// The networks of a selection, as they are configured.
fn networks(global: &Global, selection: &Selection) -> Result<Vec<Network>> {
    if matches!(selection, Selection::Host | Selection::None) {
        return Ok(Vec::new());
    }
    let loaded = rkt_net::load(&global.net_directories())?;
    for notice in &loaded.notices {
        output::note("run", notice);
    }
    Ok(loaded.select(selection)?.into_iter().map(|(network, _)| network).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostname_is_one_that_the_kernel_takes() {
        for name in ["a", "a-b.c0", &"x".repeat(64)] {
            check_hostname(Some(name)).unwrap();
        }
        for name in ["", "-a", "a..b", "a_b", "ü", "a b", "a/b", &"x".repeat(65)] {
            assert!(check_hostname(Some(name)).is_err(), "{name:?}");
        }
    }
}
