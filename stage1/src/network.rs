//! The pod's network, from its beginning to its end.

use std::{
    net::{IpAddr, Ipv4Addr},
    os::fd::AsFd,
    path::Path,
};

use anyhow::{Context, Result};
use rkt_net::{
    Attached, Directories, Forward, Network as Configured, Place, Request, Selection, names::neighbours,
};
use rkt_pod::{layout, stage1::RunArgs};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{init::Init, output, pod::Pod, resources::bandwidth};

/// Why an app's bandwidth is not limited beside others.
pub(crate) const SHARED: &str =
    "the pod's apps share its interfaces: limit the pod (--pod-network-bandwidth)";

/// What a pod's networks say of names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// Of DNS, as a file.
    pub(crate) resolv: Option<String>,
    /// Where the pod reaches this machine.
    pub(crate) host: Option<Ipv4Addr>,
}

/// What the pod has to do with networks.
#[derive(Debug)]
pub(crate) struct Network {
    selection: Selection,
    networks: Vec<(Configured, String)>,
    forwards: Vec<Forward>,
    directories: Directories,
    bandwidth: Option<u64>,
    /// Whether apps have the pod's interfaces to themselves.
    lone_app: bool,
    attached: Option<Attached>,
}

impl Network {
    /// Reads what stage0 has laid down in the pod's directory.
    pub(crate) fn load(args: &RunArgs, pod: &Pod) -> Result<Network> {
        let selection = Selection::read(std::slice::from_ref(&args.net))?;
        let local = args.local_config.clone().unwrap_or_else(|| layout::LOCAL_CONFIG_DIR.into());
        let directories = Directories::new(Path::new(&local));
        let apps: Vec<&appc::schema::App> = pod.apps.iter().map(|app| &app.app).collect();
        let forwards = rkt_net::ports::resolve(&pod.manifest, &apps)?;
        let networks = match selection {
            Selection::Host | Selection::None => Vec::new(),
            _ => rkt_net::config::stored(&pod.path, &selection)?,
        };
        let lone_app = !args.mutable && pod.apps.len() == 1;
        let bandwidth = lowest_bandwidth(pod, lone_app)?;
        Ok(Network { selection, networks, forwards, directories, bandwidth, lone_app, attached: None })
    }

    /// Why the bandwidth of the pod, and of an app of it, is not limited. Known when it has its networks.
    pub(crate) fn unlimited(&self) -> (Option<&str>, Option<&str>) {
        let pod = match &self.attached {
            Some(attached) => attached.unlimited.as_deref(),
            None => Some("the pod has no network interface of its own to limit"),
        };
        (pod, pod.or((!self.lone_app).then_some(SHARED)))
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
        let request = Request {
            networks: &self.networks,
            forwards: &self.forwards,
            directories: &self.directories,
            bandwidth: self.bandwidth,
        };
        let attached = rkt_net::attach(place(pod), pid, request).context("set up the pod's network")?;
        self.attached = Some(attached);
        Ok(())
    }

    /// Has the pod's apps find the other pods of its networks by their names, and be found by the pod's, where it has one.
    /// `hosts` is what they have as `/etc/hosts` besides; without it nothing of this is done.
    pub(crate) fn introduce(&self, pod: &Pod, hosts: impl FnOnce() -> Result<Option<String>>) -> Result<()> {
        let Some(attached) = &self.attached else { return Ok(()) };
        let Some(hosts) = hosts()? else { return Ok(()) };
        let names: Vec<String> = match &pod.name {
            Some(name) => {
                let apps =
                    pod.apps.iter().flat_map(|app| [format!("{}.{name}", app.name()), app.name().to_owned()]);
                std::iter::once(name.clone()).chain(apps).collect()
            }
            None => Vec::new(),
        };
        neighbours::introduce(place(pod), &attached.networks, &names, &hosts)
            .context("tell pods of each other")
    }

    /// What the networks say of names.
    pub(crate) fn known(&self) -> Known {
        let Some(attached) = &self.attached else { return Known::default() };
        let host = attached.networks.iter().find_map(|network| match network.gateway {
            Some(IpAddr::V4(gateway)) => Some(gateway),
            _ => None,
        });
        Known { resolv: attached.resolv.clone(), host }
    }

    /// The numbers of the interfaces that lead to the pod, for those who are in the first process's network: the numbers mean
    /// nothing in another one.
    pub(crate) fn host_interfaces(&self) -> Vec<i32> {
        let network_of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
        match &self.attached {
            Some(attached) if network_of("self") == network_of("1") => {
                // Who asks what a machine has shows nothing then; the pod itself lacks nothing.
                attached.host_interfaces().unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    /// Takes back what the pod had, after all its processes are gone. Whether nothing is left of it.
    pub(crate) fn end(&mut self, pod: &Pod) -> bool {
        let Some(attached) = self.attached.take() else { return true };
        if attached.needs_plugins()
            && let Err(error) = own_children()
        {
            output::say(&format!("take down the pod's network: {error:#}"));
        }
        let problems = attached.detach(place(pod));
        for problem in &problems {
            output::say(&format!("take down the pod's network: {problem}"));
        }
        problems.is_empty()
    }
}

/// What may go through the pod's interfaces. An app that is alone in its pod bounds it.
fn lowest_bandwidth(pod: &Pod, lone_app: bool) -> Result<Option<u64>> {
    let whole = bandwidth(&pod.manifest.isolators).context("the pod's isolators")?;
    let mut all = vec![whole];
    for app in &pod.apps {
        let own = bandwidth(&app.app.isolators).with_context(|| format!("app {:?}", app.name()))?;
        all.push(own.filter(|_| lone_app));
    }
    Ok(all.into_iter().flatten().min())
}

/// Has this process's further children be born beside it, and not in the PID namespace of a pod that is dead.
fn own_children() -> Result<()> {
    const OWN: &str = "/proc/self/ns/pid";
    let own = std::fs::File::open(OWN).with_context(|| format!("open {OWN}"))?;
    move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::ProcessID))
        .context("leave the pod's PID namespace")
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
