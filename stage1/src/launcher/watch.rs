//! What systemd's signals tell of the pod's units.

use std::num::NonZeroU32;

use serde::Deserialize;
use zbus::{Type, Variant};

use super::unit::object_path;

/// What we know of an app's unit.
#[derive(Debug)]
pub(super) struct Unit {
    /// Its name.
    pub(super) name: String,
    /// Its path on the bus.
    pub(super) object: String,
    /// What it is described as.
    pub(super) description: String,
    /// The serial number of the call that starts it.
    pub(super) start: Option<NonZeroU32>,
    /// Whether it was told to stop while its process still ran.
    pub(super) stopping: bool,
    /// Whether the kernel killed it for lack of memory.
    pub(super) out_of_memory: bool,
    /// Whether it is known to have begun to start.
    pub(super) began: bool,
    code: i32,
    status: i32,
    ended: bool,
}

/// The body of `org.freedesktop.DBus.Properties.PropertiesChanged`.
#[derive(Debug, Deserialize, Type)]
pub(super) struct PropertiesChanged<'a> {
    #[serde(borrow)]
    _interface: &'a str,
    changed: std::collections::HashMap<&'a str, Variant<'a>>,
    _invalidated: Vec<&'a str>,
}

impl PropertiesChanged<'_> {
    /// The unit's new `ActiveState`, where it has changed.
    pub(super) fn active_state(&self) -> Option<&str> {
        text(self, "ActiveState")
    }
}

impl Unit {
    /// A unit that is not there yet.
    pub(super) fn new(name: String, description: String) -> Unit {
        Unit {
            object: object_path(&name),
            name,
            description,
            start: None,
            stopping: false,
            out_of_memory: false,
            began: false,
            code: 0,
            status: 0,
            ended: false,
        }
    }

    /// Takes note of what has changed, and returns whether the unit has ended by that.
    pub(super) fn learn(&mut self, changed: &PropertiesChanged<'_>) -> bool {
        if let Some(Variant::I32(code)) = changed.changed.get("ExecMainCode") {
            self.code = *code;
        }
        if let Some(Variant::I32(status)) = changed.changed.get("ExecMainStatus") {
            self.status = *status;
        }
        self.began |= changed.active_state().is_some_and(|state| state != "inactive");
        self.out_of_memory |= text(changed, "Result") == Some("oom-kill");
        // The unit is told to stop while its process still runs, which no death of the process looks like.
        if text(changed, "SubState").is_some_and(|state| state == "stop" || state == "stop-sigterm")
            && self.code == 0
        {
            self.stopping = true;
        }
        let ends = !self.ended
            && self.code != 0
            && changed.active_state().is_some_and(|state| state == "inactive" || state == "failed");
        self.ended |= ends;
        ends
    }

    /// Takes note that it is not going to start, and returns whether that is news.
    pub(super) fn never_starts(&mut self) -> bool {
        !std::mem::replace(&mut self.ended, true)
    }

    /// The exit status of its process, or 128 + signal.
    pub(super) fn exit_status(&self) -> u8 {
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
