//! The pod as a machine of systemd-machined.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use zbus::{Variant, fdo, wire::Fd};

use super::{
    bus::{Bus, Method},
    slots::Slot,
    unit::escape_dashes,
};
use crate::{init::Init, pod::Pod};

const MACHINED: Method = Method {
    service: "org.freedesktop.machine1",
    object: "/org/freedesktop/machine1",
    interface: "org.freedesktop.machine1.Manager",
    name: "",
};

/// What the machine is registered as.
const SERVICE: &str = "rkt";
const CLASS: &str = "container";

/// The machine's name: the pod's own, where it has one.
pub(crate) fn name(pod: &Pod) -> String {
    pod.name.clone().unwrap_or_else(|| default_name(&pod.uuid))
}

fn default_name(uuid: &str) -> String {
    format!("rkt-{uuid}")
}

/// The slice that holds the pod's units: in the one that was chosen for the pod, or in that of all machines.
pub(crate) fn slice(uuid: &str, chosen: Option<&str>) -> String {
    let chosen = chosen.and_then(|slice| slice.strip_suffix(".slice")).unwrap_or("machine");
    format!("{chosen}-{}.slice", escape_dashes(&default_name(uuid)))
}

/// What matches the name of the pod's slice, whatever slice it is in, for `systemctl`.
pub(crate) fn slice_pattern(uuid: &str) -> String {
    format!("*-{}.slice", default_name(uuid).replace('-', "?x2d"))
}

/// Registers the pod against the unit that its init is in: by init's pidfd where machined takes it (systemd 259), else by
/// its PID, which is as safe while init is our child. Interfaces are those of this machine that lead to the pod.
///
/// # Errors
/// What machined, or the bus in its place, says. The pod runs without it, too.
pub(crate) fn register(
    bus: &Bus,
    (name, uuid): (&str, &str),
    leader: &Init,
    (root, interfaces): (&Path, &[i32]),
) -> Result<()> {
    let (id, root) = (uuid_bytes(uuid), root.to_string_lossy());
    let properties: [(&str, Variant<'_>); 6] = [
        ("Id", id.as_slice().into()),
        ("Service", SERVICE.into()),
        ("Class", CLASS.into()),
        ("LeaderPIDFD", Fd::from(leader.pidfd()).into()),
        ("RootDirectory", root.as_ref().into()),
        ("NetworkInterfaces", interfaces.into()),
    ];
    let method = Method { name: "RegisterMachineEx", ..MACHINED };
    let _slot = Slot::take()?;
    let registered = match bus.call(method, &(name, &properties[..])) {
        Err(zbus::Error::FDO(error)) if matches!(*error, fdo::Error::UnknownMethod(_)) => {
            let pid = u32::try_from(leader.pid.as_raw_nonzero().get())?;
            let method = Method { name: "RegisterMachineWithNetwork", ..MACHINED };
            bus.call(method, &(name, &id, SERVICE, CLASS, pid, root.as_ref(), interfaces))
        }
        other => other,
    };
    registered.map(drop).map_err(|error| anyhow!("register with systemd-machined: {error}"))
}

/// The scope of a pod that is not in a service.
pub(crate) fn scope(uuid: &str) -> String {
    format!("machine-{}.scope", escape_dashes(&default_name(uuid)))
}

/// Ends the registration, unless machined has noticed the pod's end by itself.
pub(crate) fn unregister(bus: &Bus, name: &str) -> Result<()> {
    const NO_SUCH_MACHINE: &str = "org.freedesktop.machine1.NoSuchMachine";
    let method = Method { name: "UnregisterMachine", ..MACHINED };
    bus.call_unless(method, &(name,), NO_SUCH_MACHINE).context("unregister the machine")
}

fn uuid_bytes(uuid: &str) -> Vec<u8> {
    let digits: Vec<u8> = uuid.bytes().filter(|byte| *byte != b'-').collect();
    let value = |digit: u8| char::from(digit).to_digit(16).map_or(0, |value| value as u8);
    digits.chunks(2).map(|pair| value(pair[0]) << 4 | pair.get(1).map_or(0, |low| value(*low))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_named_after_its_pod() {
        let uuid = "0a1b2c3d-0000-4000-8000-00000000000f";
        assert_eq!(default_name(uuid).len(), 40, "machined takes 64 characters at most");
        assert_eq!(
            slice(uuid, None),
            "machine-rkt\\x2d0a1b2c3d\\x2d0000\\x2d4000\\x2d8000\\x2d00000000000f.slice"
        );
        assert!(slice(uuid, Some("web-front.slice")).starts_with("web-front-rkt\\x2d0a1b2c3d"));
        assert_eq!(slice_pattern(uuid), "*-rkt?x2d0a1b2c3d?x2d0000?x2d4000?x2d8000?x2d00000000000f.slice");
        assert_eq!(uuid_bytes(uuid)[..4], [0x0a, 0x1b, 0x2c, 0x3d]);
        assert_eq!(uuid_bytes(uuid).len(), 16);
    }
}
