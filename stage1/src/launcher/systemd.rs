//! The systemd launcher: apps are transient services in the pod's slice, bound to the machine's unit.

use std::{num::NonZeroU32, os::fd::BorrowedFd, path::PathBuf};

use anyhow::{Context, Result};
use rkt_pod::stage1::RuntimeState;
use serde::Deserialize;
use zbus::{Message, Type, Variant, message, wire::Fd};

use super::{
    Event, Launch, Launcher,
    bus::{Bus, Method},
    machine,
    unit::{app_unit, object_path},
};
use crate::{
    init::{self, Init},
    pod::Pod,
};

const MANAGER: Method = Method {
    service: "org.freedesktop.systemd1",
    object: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
    name: "",
};

/// How long an app may take to end after SIGTERM before systemd kills it, in microseconds.
const STOP_TIMEOUT_USEC: u64 = super::super::run::STOP_TIMEOUT.as_micros() as u64;

const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

type Properties<'a> = Vec<(&'a str, Variant<'a>)>;
type AuxiliaryUnits<'a> = Vec<(&'a str, Properties<'a>)>;

/// The pod's apps as units.
#[derive(Debug)]
pub(crate) struct Systemd {
    bus: Bus,
    uuid: String,
    program: PathBuf,
    slice: String,
    has_slice: bool,
    machine_unit: Option<String>,
    registered: bool,
    units: Vec<Unit>,
}

/// What we know of an app's unit.
#[derive(Debug)]
struct Unit {
    name: String,
    object: String,
    description: String,
    start: Option<NonZeroU32>,
    code: i32,
    status: i32,
    stopping: bool,
    ended: bool,
}

impl Systemd {
    /// Makes the pod's slice and registers its machine.
    pub(crate) fn new(pod: &Pod, init: &Init, bus: Bus, state: &mut RuntimeState) -> Result<Systemd> {
        let units: Vec<Unit> = pod
            .apps
            .iter()
            .map(|app| {
                let name = app_unit(&pod.uuid, app.name());
                let image = app.runtime.image.name.as_ref().map_or("", |name| name.as_str());
                Unit {
                    object: object_path(&name),
                    name,
                    description: format!("Application={} Image={image}", app.name()),
                    start: None,
                    code: 0,
                    status: 0,
                    stopping: false,
                    ended: false,
                }
            })
            .collect();
        let slice = machine::slice(&pod.uuid);
        let program = init::helper("app-exec")?;
        for unit in &units {
            bus.add_match(&format!(
                "type='signal',interface='org.freedesktop.DBus.Properties',member='PropertiesChanged',path='{}'",
                unit.object
            ))?;
        }
        // systemd sends signals about units only to those who asked.
        bus.send(Method { name: "Subscribe", ..MANAGER }, &())?;
        let machine_unit = match machine::register(&bus, pod, init) {
            Ok(unit) => {
                state.machine = Some(machine::name(&pod.uuid));
                Some(unit)
            }
            Err(error) => {
                state.machine_reason = Some(format!("{error:#}"));
                None
            }
        };
        state.machine_unit.clone_from(&machine_unit);
        state.slice = Some(slice.clone());
        state.units = units.iter().map(|unit| unit.name.clone()).collect();
        let registered = machine_unit.is_some();
        Ok(Systemd {
            bus,
            uuid: pod.uuid.clone(),
            program,
            slice,
            has_slice: false,
            machine_unit,
            registered,
            units,
        })
    }

    fn signal(&mut self, message: &Message) -> Option<Event> {
        let header = message.header();
        let path = header.path()?;
        let (app, unit) = self.units.iter_mut().enumerate().find(|(_, unit)| path.as_str() == unit.object)?;
        let body = message.body();
        let changed: PropertiesChanged<'_> = body.deserialize().ok()?;
        unit.learn(&changed);
        let ended = unit.ends(&changed).then_some(Event::Ended {
            app,
            status: unit.exit_status(),
            stopped: unit.stopping,
        })?;
        unit.ended = true;
        Some(ended)
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

/// The body of `org.freedesktop.DBus.Properties.PropertiesChanged`.
#[derive(Debug, Deserialize, Type)]
struct PropertiesChanged<'a> {
    #[serde(borrow)]
    _interface: &'a str,
    changed: std::collections::HashMap<&'a str, Variant<'a>>,
    _invalidated: Vec<&'a str>,
}

impl Unit {
    fn learn(&mut self, changed: &PropertiesChanged<'_>) {
        if let Some(Variant::I32(code)) = changed.changed.get("ExecMainCode") {
            self.code = *code;
        }
        if let Some(Variant::I32(status)) = changed.changed.get("ExecMainStatus") {
            self.status = *status;
        }
        // The unit is told to stop while its process still runs, which no death of the process looks like.
        if text(changed, "SubState").is_some_and(|state| state == "stop" || state == "stop-sigterm")
            && self.code == 0
        {
            self.stopping = true;
        }
    }

    fn ends(&self, changed: &PropertiesChanged<'_>) -> bool {
        !self.ended
            && self.code != 0
            && text(changed, "ActiveState").is_some_and(|state| state == "inactive" || state == "failed")
    }

    fn exit_status(&self) -> u8 {
        let number = if self.code == libc::CLD_EXITED { self.status } else { 128 + self.status };
        u8::try_from(number & 0xff).unwrap_or(rkt_pod::stage1::EXIT_FAILURE)
    }
}

fn text<'a>(changed: &'a PropertiesChanged<'_>, name: &str) -> Option<&'a str> {
    match changed.changed.get(name) {
        Some(Variant::Str(text)) => Some(text.as_str()),
        _ => None,
    }
}

/// The pod's slice, which is made together with the first unit in it: on its own it would be stopped at once, for
/// the last unit that leaves takes it along, whoever has died before.
fn slice_properties(uuid: &str) -> Properties<'static> {
    vec![("Description", format!("Apps of rkt pod {uuid}").into()), ("StopWhenUnneeded", true.into())]
}

impl Launcher for Systemd {
    fn launch(&mut self, launch: Launch<'_>) -> Result<()> {
        let program = self.program.to_string_lossy().into_owned();
        let fields: Vec<Vec<u8>> = [("RKT_POD_UUID", self.uuid.as_str()), ("RKT_APP_NAME", launch.name)]
            .map(|(name, value)| format!("{name}={value}").into_bytes())
            .into();
        let control = Fd::from(&launch.control);
        let unit = &mut self.units[launch.app];
        let mut properties: Properties<'_> = vec![
            ("Description", unit.description.as_str().into()),
            ("Slice", self.slice.as_str().into()),
            ("CollectMode", "inactive-or-failed".into()),
            ("Type", "notify".into()),
            ("NotifyAccess", "main".into()),
            ("KillMode", "mixed".into()),
            ("TimeoutStartUSec", u64::MAX.into()),
            ("TimeoutStopUSec", STOP_TIMEOUT_USEC.into()),
            ("StandardInputFileDescriptor", control.into()),
            ("StandardOutput", "null".into()),
            ("StandardError", "journal".into()),
            ("SyslogIdentifier", launch.name.into()),
            ("LogExtraFields", fields.into()),
            ("ExecStart", vec![(program.as_str(), vec!["app-exec", launch.spec], false)].into()),
        ];
        if let Some(machine) = &self.machine_unit {
            properties.push(("BindsTo", vec![machine.as_str()].into()));
            properties.push(("After", vec![machine.as_str()].into()));
        }
        let mut auxiliary: AuxiliaryUnits<'_> = Vec::new();
        if !self.has_slice {
            auxiliary.push((self.slice.as_str(), slice_properties(&self.uuid)));
        }
        let start = Method { name: "StartTransientUnit", ..MANAGER };
        unit.start = Some(self.bus.send(start, &(unit.name.as_str(), "fail", &properties, auxiliary))?);
        self.has_slice = true;
        Ok(())
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.bus.wake()]
    }

    fn events(&mut self) -> Vec<Event> {
        let messages = self.bus.incoming();
        messages
            .iter()
            .filter_map(|message| match message.message_type() {
                message::Type::Error => self.error(message),
                _ => self.signal(message),
            })
            .collect()
    }

    fn terminate(&mut self, app: usize) {
        let stop = Method { name: "StopUnit", ..MANAGER };
        if self.bus.send(stop, &(self.units[app].name.as_str(), "replace")).is_err() {
            // Without the bus the deadline of the supervisor remains, and the end of init.
        }
    }

    fn kill(&mut self, app: usize) {
        let kill = Method { name: "KillUnit", ..MANAGER };
        if self.bus.send(kill, &(self.units[app].name.as_str(), "all", libc::SIGKILL)).is_err() {
            // As above.
        }
    }

    fn finish(&mut self, orderly: bool) -> Vec<anyhow::Error> {
        // Each call is waited for: who has left the bus has no privileges, and nothing of what it asked for is done.
        let mut errors = Vec::new();
        if self.registered || !orderly {
            let unregistered = machine::unregister(&self.bus, &self.uuid);
            errors.extend(unregistered.err().filter(|_| self.registered));
        }
        // Its scope ends with init. Where init died before it was in it, nothing else would end it.
        let scope = machine::scope(&self.uuid);
        if !orderly && self.machine_unit.as_deref().is_none_or(|unit| unit == scope) {
            let stop = Method { name: "StopUnit", ..MANAGER };
            let stopped = self.bus.call_unless(stop, &(scope.as_str(), "replace"), NO_SUCH_UNIT);
            errors.extend(stopped.context("stop the machine's scope").err());
        }
        errors
    }
}
