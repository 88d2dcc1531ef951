//! The unit that rkt was started in: where it is, and what it may take of the machine, which then holds for the pod.

use std::{collections::HashMap, path::Path};

use anyhow::{Context, Result, anyhow};
use zbus::Variant;

use super::{
    bus::{Bus, Method},
    unit::object_path,
};

/// The service that rkt was started in, and the slice that it is in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Surroundings {
    /// A system service. Services of a user's own manager do not count: machined cannot register against them.
    pub(super) service: Option<String>,
    /// A slice that somebody has chosen, for a pod that is to be in it.
    pub(super) slice: Option<String>,
}

/// What a service may take of the machine, as properties that a slice has as well.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    numbers: Vec<(&'static str, u64)>,
    sets: Vec<(&'static str, Vec<u8>)>,
}

/// Upper bounds; the lower one of two counts. `u64::MAX` is none.
const MAXIMA: [&str; 6] =
    ["MemoryMax", "MemoryHigh", "MemorySwapMax", "MemoryZSwapMax", "CPUQuotaPerSecUSec", "TasksMax"];

/// What is kept for a unit, or given to it before others. The unit's own counts where it says so itself.
const SHARES: [&str; 4] = ["MemoryMin", "MemoryLow", "CPUWeight", "IOWeight"];

/// Sets of processors and of nodes of memory, as bits.
const SETS: [&str; 2] = ["AllowedCPUs", "AllowedMemoryNodes"];

impl Surroundings {
    /// Those of this process.
    pub(super) fn own() -> Surroundings {
        std::fs::read_to_string("/proc/self/cgroup").map(|text| Surroundings::of(&text)).unwrap_or_default()
    }

    /// Those of a process with this `/proc/<pid>/cgroup`.
    fn of(cgroups: &str) -> Surroundings {
        cgroups
            .lines()
            .filter_map(|line| {
                line.strip_prefix("0::").or_else(|| Some(line.split_once(":name=systemd:")?.1))
            })
            .map(Surroundings::at)
            .find(|found| found.service.is_some() || found.slice.is_some())
            .unwrap_or_default()
    }

    fn at(path: &str) -> Surroundings {
        let parts: Vec<&str> =
            Path::new(path).components().filter_map(|part| part.as_os_str().to_str()).collect();
        let is_unit = |part: &&str| part.ends_with(".service") || part.ends_with(".scope");
        let Some(unit) = parts.iter().position(is_unit) else { return Surroundings::default() };
        // Sessions, and all that users start in them, are in slices that nobody has chosen.
        if parts.contains(&"user.slice") {
            return Surroundings::default();
        }
        let slice = parts[..unit].iter().rev().find(|part| part.ends_with(".slice"));
        let slice = slice.map_or("-.slice", |slice| slice);
        // Where units are that say nothing of slices.
        let chosen = !matches!(slice, "system.slice" | "-.slice") && !parts[unit].eq("init.scope");
        Surroundings {
            service: parts[unit].ends_with(".service").then(|| parts[unit].to_owned()),
            slice: chosen.then(|| slice.to_owned()),
        }
    }
}

impl Bounds {
    /// Those of a service.
    pub(super) fn of(bus: &Bus, service: &str) -> Result<Bounds> {
        // The bus knows only methods of objects that are known beforehand: this one is asked by its path.
        let message = bus
            .call_at(
                Method {
                    service: "org.freedesktop.systemd1",
                    object: "",
                    interface: "org.freedesktop.DBus.Properties",
                    name: "GetAll",
                },
                &object_path(service),
                &("org.freedesktop.systemd1.Service",),
            )
            .map_err(|error| anyhow!("ask systemd for the limits of {service}: {error}"))?;
        let body = message.body();
        let all: HashMap<&str, Variant<'_>> =
            body.deserialize().with_context(|| format!("read the limits of {service}"))?;
        Ok(Bounds::among(&all))
    }

    fn among(all: &HashMap<&str, Variant<'_>>) -> Bounds {
        let number = |name: &&'static str| match all.get(name) {
            Some(Variant::U64(number)) if *number != u64::MAX && *number != 0 => Some((*name, *number)),
            _ => None,
        };
        let set = |name: &'static str| match all.get(name) {
            Some(Variant::Array(bits)) => {
                let bits: Vec<u8> = bits
                    .iter()
                    .filter_map(|bit| if let Variant::U8(bit) = bit { Some(*bit) } else { None })
                    .collect();
                (!bits.is_empty()).then_some((name, bits))
            }
            _ => None,
        };
        Bounds {
            numbers: MAXIMA.iter().chain(&SHARES).filter_map(number).collect(),
            sets: SETS.into_iter().filter_map(set).collect(),
        }
    }

    /// Bounds a unit with these properties of its own.
    pub(super) fn apply<'a>(&'a self, properties: &mut Vec<(&'a str, Variant<'a>)>) {
        for (name, number) in &self.numbers {
            let own = properties.iter_mut().find(|(known, _)| known == name);
            match own {
                None => properties.push((name, (*number).into())),
                Some((_, Variant::U64(own))) if MAXIMA.contains(name) => *own = (*own).min(*number),
                Some(_) => {}
            }
        }
        for (name, bits) in &self.sets {
            properties.push((name, bits.clone().into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_system_service_keeps_its_unit() {
        let table = [
            ("0::/system.slice/web.service\n", Some("web.service"), None),
            ("0::/system.slice/web.service/payload\n", Some("web.service"), None),
            ("0::/web.slice/web-front.slice/a.service\n", Some("a.service"), Some("web-front.slice")),
            (
                "0::/system.slice/system-rkt.slice/rkt@a.service\n",
                Some("rkt@a.service"),
                Some("system-rkt.slice"),
            ),
            ("0::/web.slice/run-7.scope\n", None, Some("web.slice")),
            ("0::/system.slice/run-7.scope\n", None, None),
            ("0::/a.service\n", Some("a.service"), None),
            ("0::/init.scope\n", None, None),
            ("0::/user.slice/user-0.slice/session-1.scope\n", None, None),
            ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service\n", None, None),
            ("1:name=systemd:/system.slice/web.service\n", Some("web.service"), None),
            ("9:name=systemd:/\n0::/system.slice/web.service\n", Some("web.service"), None),
            ("0::/\n", None, None),
            ("", None, None),
        ];
        for (cgroups, service, slice) in table {
            let own = Surroundings::of(cgroups);
            assert_eq!((own.service.as_deref(), own.slice.as_deref()), (service, slice), "{cgroups}");
        }
    }

    #[test]
    fn the_lower_of_two_bounds_counts() {
        let all: HashMap<&str, Variant<'_>> = [
            ("MemoryMax", Variant::from(100_u64)),
            ("TasksMax", 7_u64.into()),
            ("CPUWeight", 200_u64.into()),
            ("MemoryHigh", u64::MAX.into()),
            ("MemoryMin", 0_u64.into()),
            ("Restart", "no".into()),
            ("AllowedCPUs", vec![3_u8].into()),
            ("AllowedMemoryNodes", Vec::<u8>::new().into()),
        ]
        .into();
        let bounds = Bounds::among(&all);
        let mut own: Vec<(&str, Variant<'_>)> =
            vec![("MemoryMax", 50_u64.into()), ("TasksMax", 9_u64.into()), ("CPUWeight", 10_u64.into())];
        bounds.apply(&mut own);
        own.sort_by_key(|(name, _)| *name);
        let want: Vec<(&str, Variant<'_>)> = vec![
            ("AllowedCPUs", vec![3_u8].into()),
            ("CPUWeight", 10_u64.into()),
            ("MemoryMax", 50_u64.into()),
            ("TasksMax", 7_u64.into()),
        ];
        assert_eq!(own, want);
    }
}
