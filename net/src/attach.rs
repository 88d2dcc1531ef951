//! Giving a pod its networks.

use std::{net::IpAddr, path::Path};

use rustix::io::Errno;

use crate::{
    config::{Kind, Native, Network},
    detach,
    error::{Error, Result},
    failpoint::failpoint,
    host,
    link::Namespace,
    native::{self, Plan},
    netlink::{Family, Socket},
    nft, overview,
    ports::{self, Forward, Reservation, reserve},
    record::{self, NET, NET_INFO, NetInfo, State},
};

/// A pod, and where it is.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The data directory.
    pub data: &'a Path,
    /// The pod's directory.
    pub pod: &'a Path,
    /// The pod's UUID.
    pub uuid: &'a str,
}

/// What a pod has while it runs.
#[derive(Debug)]
pub struct Attached {
    /// Its networks.
    pub networks: Vec<NetInfo>,
    /// The first that a network says of DNS, as `/etc/resolv.conf`.
    pub resolv: Option<String>,
    _reservation: Reservation,
}

/// Gives the pod that process `pid` is in these networks, each with what its plugin is told, and forwards ports to it.
/// Where something fails all that was done is undone.
///
/// # Errors
/// What failed, on which network.
pub fn attach(
    place: Place<'_>,
    pid: u32,
    networks: &[(Network, String)],
    forwards: &[Forward],
) -> Result<Attached> {
    let reservation = reserve(forwards)?;
    let mut attaching = Attaching {
        place,
        pid,
        host: Socket::open(Family::Route)?,
        namespace: Namespace::of_process(pid)?,
        state: State::default(),
        infos: Vec::new(),
        resolv: None,
    };
    match attaching.all(networks, forwards) {
        Ok(()) => {
            Ok(Attached { networks: attaching.infos, resolv: attaching.resolv, _reservation: reservation })
        }
        Err(error) => {
            // What cannot be undone now is left to gc, which says so.
            drop(detach::collect(place));
            Err(error)
        }
    }
}

struct Attaching<'a> {
    place: Place<'a>,
    pid: u32,
    host: Socket,
    namespace: Namespace,
    state: State,
    infos: Vec<NetInfo>,
    resolv: Option<String>,
}

impl Attaching<'_> {
    fn all(&mut self, networks: &[(Network, String)], forwards: &[Forward]) -> Result<()> {
        let plans = self.plan(networks)?;
        let addresses = forwarded_to(networks, &plans);
        let mut entries: Vec<nft::Entry> = plans.iter().flat_map(|(_, plan)| plan.entries()).collect();
        entries.extend(ports::entries(forwards, &addresses));
        self.state.interfaces = plans.iter().map(|(_, plan)| plan.host_interface.clone()).collect();
        self.state.entries = entries;
        self.note()?;
        failpoint!("net-noted");
        self.make(&plans)?;
        host::forward(plans.iter().any(|(_, plan)| plan.addresses.v6.is_some()))?;
        if !forwards.is_empty() {
            for (_, plan) in &plans {
                host::let_loopback_out(&plan.host_interface)?;
            }
        }
        self.filter()?;
        failpoint!("net-filtered");
        record::write(self.place.pod, NET_INFO, &self.infos)?;
        failpoint!("net-told");
        Ok(())
    }

    /// Decides what is made, and leases addresses. Nothing else happens yet.
    fn plan<'n>(&mut self, networks: &'n [(Network, String)]) -> Result<Vec<(&'n str, Plan)>> {
        let mut plans = Vec::new();
        for (number, (network, args)) in networks.iter().enumerate() {
            let Kind::Native(native) = &network.kind else { continue };
            let plan =
                self.plan_one(number, network, native, args).map_err(|error| error.of(&network.name))?;
            plans.push((network.name.as_str(), plan));
        }
        failpoint!("net-leased");
        Ok(plans)
    }

    fn plan_one(&mut self, number: usize, network: &Network, native: &Native, args: &str) -> Result<Plan> {
        let Place { data, uuid, .. } = self.place;
        let mtu = native::mtu(&mut self.host, native)?;
        let addresses = native::choose(data, &network.name, native, uuid, args, &mut self.host)?;
        let plan = Plan {
            host_interface: native::host_interface(uuid, number),
            interface: format!("eth{number}"),
            index: native::index(number),
            mtu,
            addresses,
            native: native.clone(),
        };
        self.infos.push(NetInfo {
            net_name: network.name.clone(),
            net_conf: self.place.pod.join(NET).join(&network.file).display().to_string(),
            plugin_path: String::new(),
            if_name: plan.interface.clone(),
            ip: addresses.v4.to_string(),
            args: args.to_owned(),
            mask: native.subnet4.mask().to_string(),
            ip6: addresses.v6.iter().map(ToString::to_string).collect(),
            gateway: Some(native.subnet4.gateway().into()),
            host_if_name: Some(plan.host_interface.clone()),
        });
        Ok(plan)
    }

    fn note(&self) -> Result<()> {
        self.state.write(self.place.pod)
    }

    fn make(&mut self, plans: &[(&str, Plan)]) -> Result<()> {
        for (network, plan) in plans {
            plan.make_link(&mut self.host, self.pid).map_err(|error| error.of(network))?;
        }
        failpoint!("net-linked");
        let mut pod = self.namespace.inside(|| {
            plans.iter().try_for_each(|(_, plan)| host::trust_own_address(&plan.interface))?;
            Socket::open(Family::Route)
        })?;
        let mut way_out = true;
        for (network, plan) in plans {
            let gives_way_out = way_out && !plan.native.restricted;
            // Before the pod's end is up: the kernel gives the host's end its own address then.
            host::trust_own_address(&plan.host_interface)?;
            plan.address_host(&mut self.host)
                .and_then(|()| plan.address_pod(&mut pod, gives_way_out))
                .map_err(|error| error.of(network))?;
            way_out &= !gives_way_out;
        }
        failpoint!("net-addressed");
        Ok(())
    }

    fn filter(&mut self) -> Result<()> {
        if self.state.entries.is_empty() {
            return Ok(());
        }
        let mut socket = Socket::open(Family::Netfilter)?;
        let taken = |error: &Error| error.errno() == Some(Errno::EXIST);
        let mut add = || nft::add(&mut socket, &self.state.entries, self.place.uuid);
        let added = match add() {
            // Whoever has it may be dead.
            Err(error) if taken(&error) => {
                overview::collect(self.place.data)?;
                add()
            }
            other => other,
        };
        added.map_err(|error| match error {
            Error::Io { object, .. } if taken(&error) => Error::Refused(format!(
                "{object} is taken: another pod has it (`nft list table inet rkt` shows which)"
            )),
            other => other,
        })
    }
}

/// The addresses that ports are forwarded to: those in the first network that hides its pods, else in the last.
fn forwarded_to(networks: &[(Network, String)], plans: &[(&str, Plan)]) -> Vec<IpAddr> {
    let chosen = networks.iter().find(|(network, _)| network.masquerades()).or(networks.last());
    let plan = chosen.and_then(|(network, _)| plans.iter().find(|(name, _)| *name == network.name));
    plan.map(|(_, plan)| plan.all()).unwrap_or_default()
}
