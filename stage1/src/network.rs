//! The pod's network, from its beginning to its end.

use std::path::Path;

use anyhow::{Context, Result};
use rkt_net::{Attached, Forward, Network as Configured, Place, Selection};

use crate::{init::Init, output, pod::Pod};

/// What the pod has to do with networks.
#[derive(Debug)]
pub(crate) struct Network {
    selection: Selection,
    networks: Vec<(Configured, String)>,
    forwards: Vec<Forward>,
    attached: Option<Attached>,
}

impl Network {
    /// Reads what stage0 has laid down in the pod's directory.
    pub(crate) fn load(list: &str, pod: &Pod) -> Result<Network> {
        let selection = Selection::read(&[list.to_owned()])?;
        let apps: Vec<&appc::schema::App> = pod.apps.iter().map(|app| &app.app).collect();
        let forwards = rkt_net::ports::resolve(&pod.manifest, &apps)?;
        let networks = match selection {
            Selection::Host | Selection::None => Vec::new(),
            _ => rkt_net::config::stored(&pod.path, &selection)?,
        };
        Ok(Network { selection, networks, forwards, attached: None })
    }

    /// Whether the pod has a network namespace of its own.
    pub(crate) fn is_own(&self) -> bool {
        self.selection != Selection::Host
    }

    /// Gives the pod its networks. Its namespace is that of its init.
    pub(crate) fn attach(&mut self, pod: &Pod, init: &Init) -> Result<()> {
        if self.networks.is_empty() {
            return Ok(());
        }
        let pid = u32::try_from(init.pid.as_raw_nonzero().get())?;
        let attached = rkt_net::attach(place(pod), pid, &self.networks, &self.forwards)
            .context("set up the pod's network")?;
        self.attached = Some(attached);
        Ok(())
    }

    /// What the networks say of DNS, as a file.
    pub(crate) fn resolv(&self) -> Option<&str> {
        self.attached.as_ref()?.resolv.as_deref()
    }

    /// Takes back what the pod had, after all its processes are gone.
    pub(crate) fn end(&mut self, pod: &Pod) {
        let Some(attached) = self.attached.take() else { return };
        for problem in attached.detach(place(pod)) {
            output::say(&format!("take down the pod's network: {problem}"));
        }
    }
}

fn place(pod: &Pod) -> Place<'_> {
    Place { data: &pod.data, pod: &pod.path, uuid: &pod.uuid }
}

/// Takes back what a pod that is dead still has.
pub(crate) fn collect(data: &Path, pod: &Path, uuid: &str) -> Result<()> {
    match rkt_net::collect(Place { data, pod, uuid }).into_iter().next() {
        Some(problem) => Err(problem).context("take down the pod's network"),
        None => Ok(()),
    }
}
