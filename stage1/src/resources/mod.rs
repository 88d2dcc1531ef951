//! What an app or a pod may take of the machine: its isolators of resources, as one set of limits.
//!
//! Both launchers turn the same [`Limits`] into the same files of cgroup v2: [`units`] by way of systemd's properties,
//! [`cgroup`] by itself.

pub(crate) mod cgroup;
pub(crate) mod enforced;
pub(crate) mod units;

use std::fmt;

use anyhow::{Context, Result};
use appc::{
    isolator::{Isolator, IsolatorValue},
    types::Quantity,
};

/// A controller of cgroup v2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Controller {
    /// Processor time.
    Cpu,
    /// Memory.
    Memory,
    /// Block devices.
    Io,
    /// Processes.
    Pids,
}

impl Controller {
    /// All that there are for us.
    pub(crate) const ALL: [Controller; 4] =
        [Controller::Cpu, Controller::Memory, Controller::Io, Controller::Pids];

    /// The kernel's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Controller::Cpu => "cpu",
            Controller::Memory => "memory",
            Controller::Io => "io",
            Controller::Pids => "pids",
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Limits of one app or one pod. What is absent is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of memory that are never exceeded.
    pub(crate) memory: Option<u64>,
    /// Bytes of memory that are not reclaimed.
    pub(crate) memory_request: Option<u64>,
    /// Microseconds of processor time in a second.
    pub(crate) cpu: Option<u64>,
    /// The share of processor time among siblings, 1 to 10000, 100 where absent.
    pub(crate) cpu_weight: Option<u64>,
    /// Bytes a second, read and written each, of each block device.
    pub(crate) io_bandwidth: Option<u64>,
    /// Operations a second, read and written each, of each block device.
    pub(crate) io_operations: Option<u64>,
    /// Processes and threads.
    pub(crate) processes: Option<u64>,
}

impl Limits {
    /// The limits that isolators ask for; of those with one name the last counts.
    ///
    /// # Errors
    /// Where a quantity is more than the kernel can count, or a limit is nothing at all.
    pub(crate) fn of(isolators: &[Isolator]) -> Result<Limits> {
        let mut limits = Limits::default();
        let mut shares = None;
        let mut cpu_request = None;
        for isolator in isolators {
            let name = isolator.name.as_str();
            let units = |quantity: &Option<Quantity>| counted(name, quantity, Quantity::units);
            let milli = |quantity: &Option<Quantity>| counted(name, quantity, Quantity::milli);
            match &isolator.value {
                IsolatorValue::Memory(resource) => {
                    limits.memory = units(&resource.limit)?;
                    limits.memory_request = units(&resource.request)?;
                }
                IsolatorValue::Cpu(resource) => {
                    limits.cpu = milli(&resource.limit)?
                        .map(|milli| milli.checked_mul(1000).with_context(|| format!("{name}: too large")))
                        .transpose()?;
                    cpu_request = milli(&resource.request)?;
                }
                IsolatorValue::BlockBandwidth(resource) => limits.io_bandwidth = units(&resource.limit)?,
                IsolatorValue::BlockIops(resource) => limits.io_operations = units(&resource.limit)?,
                IsolatorValue::Pids(resource) => limits.processes = units(&resource.limit)?,
                IsolatorValue::CpuShares(value) => shares = Some(u64::from(*value)),
                _ => {}
            }
        }
        // A core is 1024 shares: whoever asks for half of one gets half of what an app has that asks for one.
        let requested = cpu_request.map(|milli| (milli.saturating_mul(1024) / 1000).clamp(2, 262_144));
        limits.cpu_weight = shares.or(requested).map(weight);
        Ok(limits)
    }

    /// What the kernel needs for them.
    pub(crate) fn controllers(&self) -> Vec<Controller> {
        Controller::ALL.into_iter().filter(|controller| self.needs(*controller)).collect()
    }

    /// The same without those that need one of these.
    pub(crate) fn without(&self, missing: &[Controller]) -> Limits {
        let mut left = self.clone();
        for controller in missing {
            match controller {
                Controller::Cpu => (left.cpu, left.cpu_weight) = (None, None),
                Controller::Memory => (left.memory, left.memory_request) = (None, None),
                Controller::Io => (left.io_bandwidth, left.io_operations) = (None, None),
                Controller::Pids => left.processes = None,
            }
        }
        left
    }

    fn needs(&self, controller: Controller) -> bool {
        match controller {
            Controller::Cpu => self.cpu.is_some() || self.cpu_weight.is_some(),
            Controller::Memory => self.memory.is_some() || self.memory_request.is_some(),
            Controller::Io => self.io_bandwidth.is_some() || self.io_operations.is_some(),
            Controller::Pids => self.processes.is_some(),
        }
    }
}

/// The bytes a second that isolators let through each interface, in each direction.
///
/// # Errors
/// Where it is more than can be counted, or nothing at all.
pub(crate) fn bandwidth(isolators: &[Isolator]) -> Result<Option<u64>> {
    let wanted = isolators.iter().rev().find_map(|isolator| match &isolator.value {
        IsolatorValue::NetworkBandwidth(resource) => Some((isolator.name.as_str(), &resource.limit)),
        _ => None,
    });
    wanted.map_or(Ok(None), |(name, limit)| counted(name, limit, Quantity::units))
}

/// A quantity as a number above zero.
fn counted(
    name: &str,
    quantity: &Option<Quantity>,
    unit: impl Fn(&Quantity) -> Option<u64>,
) -> Result<Option<u64>> {
    let Some(quantity) = quantity else { return Ok(None) };
    let number = unit(quantity).with_context(|| format!("{name}: {quantity} is too large"))?;
    anyhow::ensure!(number > 0, "{name}: a limit of {quantity} is nothing to run with");
    Ok(Some(number))
}

/// Shares of cgroup v1, 2 to 262144, as a weight of cgroup v2, 1 to 10000, as the kernel's documentation and other
/// runtimes have it.
fn weight(shares: u64) -> u64 {
    1 + shares.saturating_sub(2) * 9999 / 262_142
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn limits(isolators: &[(&str, serde_json::Value)]) -> Result<Limits> {
        let isolators: Vec<Isolator> =
            isolators.iter().map(|(name, value)| Isolator::new(name, value.clone()).unwrap()).collect();
        Limits::of(&isolators)
    }

    // APPC-026, APPC-273, APPC-274
    #[test]
    fn isolators_become_limits() {
        let all = limits(&[
            ("resource/memory", json!({"limit": "1G"})),
            ("resource/memory", json!({"limit": "64Mi", "request": "1Mi"})),
            ("resource/cpu", json!({"limit": "1500m"})),
            ("resource/block-bandwidth", json!({"default": true, "limit": "1M"})),
            ("resource/block-iops", json!({"default": true, "limit": "100"})),
            ("resource/pids", json!({"limit": "20"})),
            ("os/linux/cpu-shares", json!(1024)),
        ]);
        let want = Limits {
            memory: Some(64 << 20),
            memory_request: Some(1 << 20),
            cpu: Some(1_500_000),
            cpu_weight: Some(39),
            io_bandwidth: Some(1_000_000),
            io_operations: Some(100),
            processes: Some(20),
        };
        assert_eq!(all.unwrap(), want);
        assert_eq!(want.controllers(), Controller::ALL);
        assert_eq!(limits(&[]).unwrap().controllers(), []);
    }

    // APPC-273
    #[test]
    fn a_requested_core_is_a_share_unless_shares_are_given() {
        let request = ("resource/cpu", json!({"request": "500m"}));
        assert_eq!(limits(std::slice::from_ref(&request)).unwrap().cpu_weight, Some(20));
        assert_eq!(limits(&[request, ("os/linux/cpu-shares", json!(2))]).unwrap().cpu_weight, Some(1));
        assert_eq!(weight(262_144), 10_000);
    }

    // APPC-031
    #[test]
    fn limits_of_nothing_and_beyond_all_numbers_are_refused() {
        for value in ["0", "1000000000E"] {
            assert!(limits(&[("resource/memory", json!({"limit": value}))]).is_err(), "{value}");
        }
        assert!(limits(&[("resource/cpu", json!({"limit": "9E"}))]).is_err());
    }
}
