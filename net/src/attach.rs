//! Giving a pod its networks.

use std::{net::IpAddr, path::Path};

use rustix::io::Errno;

use rkt_pod::failpoint;

use crate::{
    cni::{self, Chain, Directories, Outcome},
    config::{Cni, Kind, Native, Network},
    detach,
    error::{Error, Result},
    host,
    link::{self, Namespace},
    native::{self, Plan},
    netlink::{Family, Socket},
    nft, overview,
    ports::{self, Forward, Reservation, reserve},
    record::{self, CniState, NET, NET_INFO, NetInfo, State},
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
    /// Why its bandwidth is not limited everywhere, where it should be.
    pub unlimited: Option<String>,
    /// Its namespace, where plugins will want it at the end. Without one the kernel takes it down with the last process.
    pub(crate) namespace: Option<Namespace>,
    _reservation: Reservation,
}

impl Attached {
    /// The numbers of the interfaces on the host that lead to the pod, of all networks of which they are known.
    ///
    /// # Errors
    /// Where the kernel cannot be asked.
    pub fn host_interfaces(&self) -> Result<Vec<i32>> {
        let mut socket = Socket::open(Family::Route)?;
        let mut numbers = Vec::new();
        for name in self.networks.iter().filter_map(|network| network.host_if_name.as_deref()) {
            let found = link::by_name(&mut socket, name)?;
            numbers.extend(found.and_then(|link| i32::try_from(link.index).ok()));
        }
        Ok(numbers)
    }
}

/// What a pod is to get.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Its networks, each with what its plugin is told.
    pub networks: &'a [(Network, String)],
    /// Its ports.
    pub forwards: &'a [Forward],
    /// How many bytes a second may go through each of its interfaces, in each direction.
    pub bandwidth: Option<u64>,
    /// Where plugins are.
    pub directories: &'a Directories,
}

/// Gives the pod that process `pid` is in what was asked for. Where something fails all that was done is undone.
///
/// # Errors
/// What failed, on which network.
pub fn attach(place: Place<'_>, pid: u32, request: Request<'_>) -> Result<Attached> {
    let reservation = reserve(request.forwards)?;
    let mut attaching = Attaching {
        place,
        pid,
        request,
        host: Socket::open(Family::Route)?,
        namespace: Namespace::of_process(pid)?,
        state: State::default(),
        infos: Vec::new(),
        resolv: None,
        unlimited: None,
    };
    match attaching.all() {
        Ok(()) => {
            let Attaching { infos: networks, resolv, unlimited, namespace, state, .. } = attaching;
            let namespace = (!state.cni.is_empty()).then_some(namespace);
            Ok(Attached { networks, resolv, unlimited, namespace, _reservation: reservation })
        }
        Err(error) => {
            // What cannot be undone now is left to gc, which says so.
            drop(detach::undo(place, Some(&attaching.namespace), false));
            Err(error)
        }
    }
}

struct Attaching<'a> {
    place: Place<'a>,
    pid: u32,
    request: Request<'a>,
    host: Socket,
    namespace: Namespace,
    state: State,
    infos: Vec<NetInfo>,
    resolv: Option<String>,
    unlimited: Option<String>,
}

impl Attaching<'_> {
    fn all(&mut self) -> Result<()> {
        let target = forwarded_to(self.request.networks);
        let plans = self.plan()?;
        self.state.interfaces = plans.iter().map(|(_, plan)| plan.host_interface.clone()).collect();
        let limits = plans.iter().filter_map(|(_, plan)| plan.limit.as_ref());
        self.state.limits = limits.map(|limit| limit.interface.clone()).collect();
        let plan = plans.iter().find(|(name, _)| target.is_some_and(|target| target.name == *name));
        let mut addresses = plan.map(|(_, plan)| plan.all()).unwrap_or_default();
        self.state.entries = ports::entries(self.request.forwards, &addresses);
        self.note()?;
        failpoint!("net-noted");
        self.make(&plans)?;
        if !plans.is_empty() || !self.request.forwards.is_empty() {
            host::forward(plans.iter().any(|(_, plan)| plan.addresses.v6.is_some()))?;
        }
        for (number, (network, args)) in self.request.networks.iter().enumerate() {
            let Kind::Cni(cni) = &network.kind else { continue };
            let outcome = self.add(number, network, cni, args).map_err(|error| error.of(&network.name))?;
            if target.is_some_and(|target| target.name == network.name) && !network.forwards_ports() {
                addresses = outcome.addresses.iter().map(|(address, _)| *address).collect();
                ports::check_addresses(network, self.request.forwards, &addresses)?;
                self.state.entries.extend(ports::entries(self.request.forwards, &addresses));
                self.note()?;
            }
        }
        self.let_loopback_reach(&addresses)?;
        self.filter()?;
        failpoint!("net-filtered");
        self.infos.sort_by_key(|info| (info.if_name.len(), info.if_name.clone()));
        record::write(self.place.pod, NET_INFO, &self.infos)?;
        failpoint!("net-told");
        Ok(())
    }

    /// Decides what is made, and leases addresses. Nothing else happens yet.
    fn plan(&mut self) -> Result<Vec<(String, Plan)>> {
        let mut plans = Vec::new();
        for (number, (network, args)) in self.request.networks.iter().enumerate() {
            let Kind::Native(native) = &network.kind else { continue };
            let plan =
                self.plan_one(number, network, native, args).map_err(|error| error.of(&network.name))?;
            plans.push((network.name.clone(), plan));
        }
        failpoint!("net-leased");
        Ok(plans)
    }

    fn plan_one(&mut self, number: usize, network: &Network, native: &Native, args: &str) -> Result<Plan> {
        let Place { data, uuid, .. } = self.place;
        let mtu = native::mtu(&mut self.host, native)?;
        let addresses = native::choose(data, &network.name, native, uuid, args, &mut self.host)?;
        let plan = Plan {
            host_interface: native::host_interface(uuid, native, number),
            interface: format!("eth{number}"),
            mtu,
            addresses,
            native: native.clone(),
            limit: self.request.bandwidth.map(|rate| native::limit(uuid, number, rate)),
        };
        self.infos.push(NetInfo {
            if_name: plan.interface.clone(),
            ip: addresses.v4.to_string(),
            mask: native.subnet4.mask().to_string(),
            ip6: addresses.v6.iter().map(ToString::to_string).collect(),
            gateway: Some(native.subnet4.gateway().into()),
            host_if_name: Some(plan.host_interface.clone()),
            ..self.info(network, args)
        });
        Ok(plan)
    }

    fn info(&self, network: &Network, args: &str) -> NetInfo {
        NetInfo {
            net_name: network.name.clone(),
            net_conf: self.place.pod.join(NET).join(&network.file).display().to_string(),
            args: args.to_owned(),
            ..NetInfo::default()
        }
    }

    fn note(&self) -> Result<()> {
        self.state.write(self.place.pod)
    }

    fn make(&mut self, plans: &[(String, Plan)]) -> Result<()> {
        if plans.is_empty() {
            return Ok(());
        }
        for (network, plan) in plans {
            plan.make_link(&mut self.host, self.pid).map_err(|error| error.of(network))?;
        }
        failpoint!("net-linked");
        for (network, plan) in plans {
            self.limit(plan).map_err(|error| error.of(network))?;
        }
        failpoint!("net-limited");
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

    /// Limits what goes through an interface. A kernel that cannot do it is no reason to have no network.
    fn limit(&mut self, plan: &Plan) -> Result<()> {
        match plan.limit(&mut self.host) {
            Err(error) if matches!(error.errno(), Some(Errno::NOENT | Errno::OPNOTSUPP)) => {
                let needs = "tbf, ifb, ingress, u32 and mirred of its traffic control";
                self.unlimited = Some(format!("this machine's kernel lacks one of {needs} ({error})"));
                Ok(())
            }
            other => other,
        }
    }

    /// Has plugins add the pod to a network. That they were asked is noted before, so that they are asked to undo it.
    fn add(&mut self, number: usize, network: &Network, cni: &Cni, args: &str) -> Result<Outcome> {
        let directories = self.request.directories;
        let forwards = match forwarded_to(self.request.networks) {
            Some(target) if target.name == network.name => self.request.forwards,
            _ => &[],
        };
        if self.request.bandwidth.is_some() && !cni.can("bandwidth") {
            let name = &network.name;
            self.unlimited =
                Some(format!("network {name:?} has no plugin with the capability \"bandwidth\""));
        }
        let (runtime, left) = cni::runtime(cni, forwards, self.request.bandwidth, args);
        let interface = format!("eth{number}");
        let namespace = self.namespace.path();
        self.state.cni.push(CniState {
            network: network.name.clone(),
            interface: interface.clone(),
            args: left.clone(),
            runtime: runtime.clone(),
            namespace: namespace.clone(),
            plugin_dirs: directories.0.iter().map(|path| path.display().to_string()).collect(),
            result: None,
        });
        self.note()?;
        let chain = Chain {
            network: &network.name,
            cni,
            runtime: &runtime,
            uuid: self.place.uuid,
            namespace: &namespace,
            interface: &interface,
            args: &left,
            directories,
        };
        let outcome = chain.add()?;
        failpoint!("net-added");
        if let Some(state) = self.state.cni.last_mut() {
            state.result = Some(outcome.result.clone());
        }
        self.note()?;
        self.tell(network, args, &interface, cni, &outcome)?;
        Ok(outcome)
    }

    fn tell(
        &mut self,
        network: &Network,
        args: &str,
        interface: &str,
        cni: &Cni,
        outcome: &Outcome,
    ) -> Result<()> {
        if self.resolv.is_none() && !outcome.dns.is_empty() {
            let comment = format!("Generated by rkt from network {}", network.name);
            self.resolv = Some(outcome.dns.file(&comment));
        }
        let first = cni.plugins.first().and_then(|plugin| plugin["type"].as_str()).unwrap_or_default();
        let mask = |prefix: u8| u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        let v4 = outcome.v4();
        let v6 = outcome.addresses.iter().filter(|(address, _)| address.is_ipv6());
        self.infos.push(NetInfo {
            plugin_path: cni::find(self.request.directories, first)?.display().to_string(),
            if_name: interface.to_owned(),
            ip: v4.map(|(address, _)| address.to_string()).unwrap_or_default(),
            mask: v4
                .map(|(_, prefix)| std::net::Ipv4Addr::from(mask(prefix)).to_string())
                .unwrap_or_default(),
            ip6: v6.map(|(address, _)| address.to_string()).collect(),
            gateway: outcome.gateway,
            host_if_name: outcome.host_interface.clone(),
            ..self.info(network, args)
        });
        Ok(())
    }

    /// Lets this machine's own programs reach forwarded ports by 127.0.0.1 and by ::1.
    fn let_loopback_reach(&mut self, addresses: &[IpAddr]) -> Result<()> {
        for address in addresses {
            let mut forwards = self.request.forwards.iter();
            if !forwards.any(|forward| forward.is_by_loopback(*address)) {
                continue;
            }
            let Some(way) = link::way_to(&mut self.host, *address)? else { continue };
            let Some(link) = link::by_index(&mut self.host, way.index)? else { continue };
            if address.is_ipv4() {
                host::let_loopback_out(&link.name)?;
            } else {
                link::let_loopback_hear(&mut self.host, &link)?;
            }
        }
        Ok(())
    }

    fn filter(&mut self) -> Result<()> {
        if self.state.entries.is_empty() && self.state.interfaces.is_empty() {
            return Ok(());
        }
        let mut socket = Socket::open(Family::Netfilter)?;
        if self.state.entries.is_empty() {
            return nft::ensure(&mut socket);
        }
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

/// The network that ports are forwarded into.
fn forwarded_to(networks: &[(Network, String)]) -> Option<&Network> {
    ports::target(networks.iter().map(|(network, _)| network))
}
