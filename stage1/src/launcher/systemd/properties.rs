//! What units of a pod are like: the properties that systemd is told.

use rustix::process::Signal;
use zbus::{Variant, wire::Fd};

use super::{AuxiliaryUnits, Properties, STOP_TIMEOUT_USEC, Systemd, TUN};
use crate::{
    launcher::{Launch, unit::device_allow},
    resources::units,
};

impl Systemd {
    /// The units that come into being with the first app's. On its own the slice would be stopped at once, for the last
    /// unit that leaves takes it along, and a scope of machined's making would cost as much time as an app does.
    pub(super) fn pod_units(&self) -> AuxiliaryUnits<'_> {
        let mut slice = self.slice_properties();
        slice.push(("StopWhenUnneeded", self.journal.is_none().into()));
        let mut units: AuxiliaryUnits<'_> = vec![(self.slice.as_str(), slice)];
        units.extend(self.scope());
        units
    }

    pub(super) fn slice_properties(&self) -> Properties<'_> {
        let mut slice: Properties<'_> =
            vec![("Description", format!("Apps of rkt pod {}", self.uuid).into())];
        slice.extend(self.ties(false));
        // As services with a namespace of the journal (`LogNamespace=`) are tied to it.
        for tie in ["Requires", "After"] {
            slice.extend(self.journal.as_ref().map(|sockets| {
                let sockets: Vec<&str> = sockets.iter().map(String::as_str).collect();
                (tie, sockets.into())
            }));
        }
        slice.extend(units::properties(&self.limits, &self.devices));
        self.bounds.apply(&mut slice);
        slice
    }

    /// What ties a unit of the pod to the machine's, `after` which it may have to start.
    ///
    /// A service that we were started in is not up before we say so, which we do when the apps are; and when it is stopped, it
    /// is we who stop them, one after the other. Nothing needs to be tied to it: who ends it ends init.
    fn ties(&self, after: bool) -> Properties<'_> {
        if !self.machine.is_ours {
            return vec![("DefaultDependencies", false.into())];
        }
        let machine = || Variant::from(vec![self.machine.name.as_str()]);
        let mut ties = vec![("BindsTo", machine())];
        if after {
            ties.push(("After", machine()));
        }
        ties
    }

    /// The scope that init is in, where it is of our making.
    pub(super) fn scope(&self) -> Option<(&str, Properties<'_>)> {
        let leader = self.leader.as_raw_nonzero().get().cast_unsigned();
        let properties = vec![
            ("Description", format!("rkt pod {}", self.uuid).into()),
            ("Slice", self.slice.as_str().into()),
            ("CollectMode", "inactive-or-failed".into()),
            // Our child, which keeps its PID until we have waited for it.
            ("PIDs", vec![leader].into()),
        ];
        self.machine.is_ours.then_some((self.machine.name.as_str(), properties))
    }

    /// An app's service.
    pub(super) fn app_properties<'a>(&'a self, launch: &'a Launch<'a>) -> Properties<'a> {
        let program = self.program.to_string_lossy();
        let control = Fd::from(&launch.control);
        let mut properties: Properties<'_> = vec![
            ("Description", self.units[launch.app].description.as_str().into()),
            ("Slice", self.slice.as_str().into()),
            ("CollectMode", "inactive-or-failed".into()),
            ("Type", "notify".into()),
            ("NotifyAccess", "main".into()),
            ("KillMode", "mixed".into()),
            // An app is killed as a whole, whosever limit it was: what is left of one after a part of it was killed is of no
            // use.
            ("OOMPolicy", "kill".into()),
            ("TimeoutStartUSec", u64::MAX.into()),
            ("TimeoutStopUSec", STOP_TIMEOUT_USEC.into()),
            ("StandardInputFileDescriptor", control.into()),
            ("StandardOutput", "null".into()),
            ("StandardError", "journal".into()),
            // No `LogExtraFields`: systemd keeps a file for them in /run/systemd/units, which it never removes. Each line of the
            // app's has its fields from us.
            ("SyslogIdentifier", launch.name.into()),
            ("ExecStart", vec![(program.into_owned(), vec!["app-exec", launch.spec], false)].into()),
        ];
        properties.extend(self.ties(true));
        properties.extend(units::properties(launch.limits, &self.devices));
        if !launch.devices.is_empty() {
            let mut allowed = vec![(TUN.to_owned(), "rwm".to_owned())];
            allowed.extend(launch.devices.iter().map(device_allow));
            properties.push(("DevicePolicy", "closed".into()));
            properties.push(("DeviceAllow", allowed.into()));
        }
        if launch.stop_signal != Signal::TERM {
            properties.push(("KillSignal", launch.stop_signal.as_raw().into()));
        }
        properties
    }
}
