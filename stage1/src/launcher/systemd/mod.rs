//! The systemd launcher: apps are transient services in the pod's slice, bound to the machine's unit.

mod properties;

use std::{
    fs,
    num::NonZeroU32,
    os::fd::BorrowedFd,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rkt_pod::stage1::RuntimeState;
use rustix::process::{Pid, Signal};
use zbus::{Message, Variant, message};

use super::{
    Event, Launch, Launcher,
    bus::{Bus, Method, TIMEOUT},
    machine,
    slots::Slot,
    surroundings::{Bounds, Surroundings},
    unit::{app_unit, object_path},
    watch::{PropertiesChanged, Unit},
};
use crate::{
    cgroup,
    init::{self, Init},
    journal,
    network::Network,
    pod::{Pod, PodApp},
    resources::{Controller, Limits, enforced},
};

const MANAGER: Method = Method {
    service: "org.freedesktop.systemd1",
    object: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
    name: "",
};

/// How long an app may take to end after SIGTERM before systemd kills it, in microseconds.
const STOP_TIMEOUT_USEC: u64 = super::super::run::STOP_TIMEOUT.as_micros() as u64;

/// Every app has this device; without the capability for networks it is of no use.
const TUN: &str = "/dev/char/10:200";

/// The exit status of an app that died of SIGTERM.
const TERMINATED: u8 = 128 + 15;

const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// How often we look whether the name of a unit is free again.
const NAME_INTERVAL: Duration = Duration::from_millis(10);

type Properties<'a> = Vec<(&'a str, Variant<'a>)>;
type AuxiliaryUnits<'a> = Vec<(&'a str, Properties<'a>)>;

/// The pod's apps as units.
#[derive(Debug)]
pub(crate) struct Systemd {
    bus: Bus,
    uuid: String,
    machine_name: String,
    /// The pod's root.
    root: PathBuf,
    /// The pod's init.
    leader: Pid,
    /// `app-exec`.
    program: PathBuf,
    slice: String,
    machine: MachineUnit,
    registered: bool,
    /// The serial number of the call that makes slice and scope, where no app's does.
    opening: Option<NonZeroU32>,
    /// What listens for the pod's own journal, where it has one. The slice keeps it until the last line is said.
    journal: Option<[String; 2]>,
    units: Vec<Unit>,
    /// What the pod as a whole may take of the machine.
    limits: Limits,
    /// What the service that rkt was started in may take.
    bounds: Bounds,
    /// The paths of the block devices, where limits need them.
    devices: Vec<String>,
    /// What came in while we waited for something else.
    backlog: Vec<Message>,
    /// Apps that were stopped before systemd had come to start them.
    unstarted: Vec<usize>,
}

/// The unit that init is in, which all apps' units are bound to.
#[derive(Debug)]
struct MachineUnit {
    name: String,
    /// A scope that we make, not the service that we run in.
    is_ours: bool,
}

impl Systemd {
    /// Asks for news of the pod's units.
    pub(crate) fn new(pod: &Pod, init: &Init, bus: Bus, own_journal: bool) -> Result<Systemd> {
        let units: Vec<Unit> = pod.apps.iter().map(|app| unit_of(&pod.uuid, app)).collect();
        let surroundings = Surroundings::own();
        let slice = machine::slice(&pod.uuid, surroundings.slice.as_deref());
        let machine = match surroundings.service {
            Some(service) => MachineUnit { name: service, is_ours: false },
            None => MachineUnit { name: machine::scope(&pod.uuid), is_ours: true },
        };
        let scope = machine.is_ours.then(|| object_path(&machine.name));
        for object in units.iter().map(|unit| &unit.object).chain(&scope) {
            bus.add_match(&changes_of(object))?;
        }
        // systemd sends signals about units only to those who asked.
        bus.send(Method { name: "Subscribe", ..MANAGER }, &())?;
        Ok(Systemd {
            bus,
            uuid: pod.uuid.clone(),
            machine_name: machine::name(pod),
            root: pod.path.join(rkt_pod::layout::STAGE1_ROOTFS),
            leader: init.pid,
            program: init::helper("app-exec")?,
            slice,
            machine,
            registered: false,
            opening: None,
            journal: own_journal.then(|| journal::sockets(&pod.uuid)),
            units,
            limits: Limits::default(),
            bounds: Bounds::default(),
            devices: Vec::new(),
            backlog: Vec::new(),
            unstarted: Vec::new(),
        })
    }

    /// Waits until systemd has forgotten the unit of an app that has ended, so that its name is free.
    fn wait_for_name(&self, unit: &str) -> Result<()> {
        let get = Method { name: "GetUnit", ..MANAGER };
        let deadline = Instant::now() + TIMEOUT;
        while self.bus.call(get, &(unit,)).is_ok() {
            if Instant::now() > deadline {
                bail!("systemd keeps {unit} although it has ended");
            }
            std::thread::sleep(NAME_INTERVAL);
        }
        Ok(())
    }

    /// Waits until init is in the unit that the machine is registered against.
    fn wait_for_scope(&mut self, init: &Init) -> Result<()> {
        if !self.machine.is_ours {
            return Ok(());
        }
        let scope = object_path(&self.machine.name);
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let messages = self.bus.wait(init.pidfd(), deadline)?;
            let started = messages.iter().any(|message| is_started(message, &scope));
            // The first app's call is the one that starts the scope, too.
            let refused = messages.iter().any(|message| {
                matches!(self.error(message), Some(Event::NotStarted { app: 0, .. }))
                    || (message.message_type() == message::Type::Error
                        && self.opening.is_some()
                        && message.header().reply_serial() == self.opening)
            });
            self.backlog.extend(messages);
            if refused {
                bail!("its unit {} was not started", self.machine.name);
            }
            if started {
                return Ok(());
            }
        }
    }

    /// Has systemd stop a unit, if it is there.
    fn stop(&self, unit: &str) -> Result<()> {
        let stop = Method { name: "StopUnit", ..MANAGER };
        self.bus.call_unless(stop, &(unit, "replace"), NO_SUCH_UNIT)
    }

    /// Whether a unit does not run, and is not about to.
    fn is_inactive(&self, object: &str) -> bool {
        const GET: Method = Method {
            service: "org.freedesktop.systemd1",
            object: "",
            interface: "org.freedesktop.DBus.Properties",
            name: "Get",
        };
        let answer = self.bus.call_at(GET, object, &("org.freedesktop.systemd1.Unit", "ActiveState"));
        answer.is_ok_and(|message| {
            let body = message.body();
            matches!(body.deserialize::<Variant<'_>>(), Ok(Variant::Str(state)) if state.as_str() == "inactive")
        })
    }

    fn signal(&mut self, message: &Message) -> Option<Event> {
        let header = message.header();
        let path = header.path()?;
        // Of an app that was started again the last one is meant.
        let mut units = self.units.iter_mut().enumerate().rev();
        let (app, unit) = units.find(|(_, unit)| path.as_str() == unit.object)?;
        let body = message.body();
        let changed: PropertiesChanged<'_> = body.deserialize().ok()?;
        let ended = unit.learn(&changed);
        ended.then(|| Event::Ended {
            app,
            status: unit.exit_status(),
            stopped: unit.stopping,
            out_of_memory: unit.out_of_memory,
        })
    }

    fn error(&self, message: &Message) -> Option<Event> {
        let header = message.header();
        let serial = header.reply_serial();
        let app = self.units.iter().position(|unit| unit.start.is_some() && unit.start == serial)?;
        let body = message.body();
        let text = body.deserialize::<&str>().unwrap_or("no reason given");
        Some(Event::NotStarted {
            app,
            reason: format!("systemd does not start {}: {text}", self.units[app].name),
        })
    }
}

fn unit_of(uuid: &str, app: &PodApp) -> Unit {
    let image = app.runtime.image.name.as_ref().map_or("", |name| name.as_str());
    Unit::new(app_unit(uuid, app.name()), format!("Application={} Image={image}", app.name()))
}

/// The rule that matches what is said of a unit.
fn changes_of(object: &str) -> String {
    format!(
        "type='signal',interface='org.freedesktop.DBus.Properties',member='PropertiesChanged',path='{object}'"
    )
}

/// Whether this signal says that a unit has started.
fn is_started(message: &Message, object: &str) -> bool {
    let body = message.body();
    let changed: Option<PropertiesChanged<'_>> = body.deserialize().ok();
    message.header().path().is_some_and(|path| path.as_str() == object)
        && changed.is_some_and(|changed| changed.active_state() == Some("active"))
}

impl Launcher for Systemd {
    fn limit(&mut self, pod: &Limits, controllers: &[Controller]) -> Result<Vec<(Controller, String)>> {
        self.limits = pod.clone();
        if !self.machine.is_ours {
            self.bounds = Bounds::of(&self.bus, &self.machine.name)?;
        }
        if controllers.is_empty() {
            return Ok(Vec::new());
        }
        // systemd takes every limit, also where the kernel has nothing to enforce it with.
        let given = match cgroup::mount_point() {
            Some(mount) => fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default(),
            None => String::new(),
        };
        let mut missing: Vec<(Controller, String)> = controllers
            .iter()
            .filter(|controller| !given.split_whitespace().any(|name| name == controller.name()))
            .map(|controller| (*controller, format!("cgroup v2 has no controller {controller} here")))
            .collect();
        if controllers.contains(&Controller::Io) {
            self.devices = enforced::block_devices().into_iter().map(|(path, _)| path).collect();
            if self.devices.is_empty() && !missing.iter().any(|(controller, _)| *controller == Controller::Io)
            {
                missing.push((Controller::Io, enforced::NO_BLOCK_DEVICE.to_owned()));
            }
        }
        Ok(missing)
    }

    fn restrict_devices(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn open(&mut self) -> Result<()> {
        let start = Method { name: "StartTransientUnit", ..MANAGER };
        let with_it: AuxiliaryUnits<'_> = self.scope().into_iter().collect();
        let serial =
            self.bus.send(start, &(self.slice.as_str(), "fail", self.slice_properties(), with_it))?;
        self.opening = Some(serial);
        Ok(())
    }

    fn announce(&mut self, app: &PodApp) -> Result<()> {
        let unit = unit_of(&self.uuid, app);
        if self.units.iter().any(|earlier| earlier.name == unit.name) {
            self.wait_for_name(&unit.name)?;
        } else {
            self.bus.add_match(&changes_of(&unit.object))?;
        }
        self.units.push(unit);
        Ok(())
    }

    fn launch(&mut self, launch: Launch<'_>) -> Result<Option<Pid>> {
        let unit = &self.units[launch.app];
        let properties = self.app_properties(&launch);
        let is_first = launch.app == 0 && self.opening.is_none();
        let with_it = if is_first { self.pod_units() } else { Vec::new() };
        let start = Method { name: "StartTransientUnit", ..MANAGER };
        let slot = Some(Slot::take()?);
        let body = (unit.name.as_str(), "fail", &properties, with_it);
        let serial = self.bus.send_with(start, &body, slot)?;
        self.units[launch.app].start = Some(serial);
        Ok(None)
    }

    fn settle(&mut self, init: &Init, network: &Network, state: &mut RuntimeState) {
        state.units = self.units.iter().map(|unit| unit.name.clone()).collect();
        state.slice = Some(self.slice.clone());
        state.machine_unit = Some(self.machine.name.clone());
        let in_scope = self.wait_for_scope(init);
        // What has come in meanwhile is for the supervisor to fetch.
        let registered = self.bus.ring().and(in_scope).and_then(|()| {
            let interfaces = network.host_interfaces();
            machine::register(&self.bus, (&self.machine_name, &self.uuid), init, (&self.root, &interfaces))
        });
        match registered {
            Ok(()) => {
                self.registered = true;
                state.machine = Some(self.machine_name.clone());
            }
            Err(error) => state.machine_reason = Some(format!("{error:#}")),
        }
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.bus.wake()]
    }

    fn events(&mut self) -> Vec<Event> {
        let mut messages = std::mem::take(&mut self.backlog);
        messages.extend(self.bus.incoming());
        let mut events: Vec<Event> = messages
            .iter()
            .filter_map(|message| match message.message_type() {
                message::Type::Error => self.error(message),
                _ => self.signal(message),
            })
            .collect();
        for app in std::mem::take(&mut self.unstarted) {
            // Of one that had begun meanwhile the end was told above, or is to come.
            if !self.units[app].began && self.units[app].never_starts() {
                events.push(Event::Ended { app, status: TERMINATED, stopped: true, out_of_memory: false });
            }
        }
        events
    }

    fn terminate(&mut self, app: usize) {
        let stop = Method { name: "StopUnit", ..MANAGER };
        let unit = &self.units[app];
        if unit.began {
            if self.bus.send(stop, &(unit.name.as_str(), "replace")).is_err() {
                // Without the bus the deadline of the supervisor remains, and the end of init.
            }
            return;
        }
        // Its start may still be waiting, and is taken back then: of a unit that is not started nothing is heard.
        let stopped = self.bus.call_unless(stop, &(unit.name.as_str(), "replace"), NO_SUCH_UNIT);
        if stopped.is_ok() && self.is_inactive(&unit.object) {
            self.unstarted.push(app);
            if self.bus.ring().is_err() {
                // As above.
            }
        }
    }

    fn signal(&mut self, app: usize, signal: Signal) {
        let kill = Method { name: "KillUnit", ..MANAGER };
        let unit = self.units[app].name.as_str();
        if self.bus.send(kill, &(unit, "main", signal.as_raw())).is_err() {
            // As above.
        }
    }

    fn kill(&mut self, app: usize) {
        let kill = Method { name: "KillUnit", ..MANAGER };
        if self.bus.send(kill, &(self.units[app].name.as_str(), "all", libc::SIGKILL)).is_err() {
            // As above.
        }
    }

    fn reap(&mut self) {
        // They are systemd's children.
    }

    fn finish(&mut self, orderly: bool) -> Vec<anyhow::Error> {
        // Each call is waited for: who has left the bus has no privileges, and nothing of what it asked for is done.
        let mut errors = Vec::new();
        if self.registered || !orderly {
            let unregistered = machine::unregister(&self.bus, &self.machine_name);
            errors.extend(unregistered.err().filter(|_| self.registered));
        }
        // The slice ends with the pod's init. Where init died before it was in its scope, nothing else would end it.
        if self.journal.is_none() && (!orderly || self.opening.is_some()) {
            errors.extend(self.stop(&self.slice).context("stop the pod's slice").err());
        }
        errors
    }

    fn close(&mut self) -> Vec<anyhow::Error> {
        let mut errors = Vec::new();
        if let Some(sockets) = &self.journal {
            errors.extend(journal::synchronize(&self.uuid).err());
            // Journald goes with what listens for it.
            for unit in sockets.iter().chain([&self.slice]) {
                errors.extend(self.stop(unit).with_context(|| format!("stop {unit}")).err());
            }
        }
        errors
    }
}
