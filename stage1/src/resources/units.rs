//! Limits as properties of systemd's units.

use zbus::Variant;

use super::Limits;

/// The properties of a service or slice with these limits. `devices` are the paths of all block devices.
pub(crate) fn properties<'a>(limits: &Limits, devices: &'a [String]) -> Vec<(&'static str, Variant<'a>)> {
    let mut properties: Vec<(&'static str, Variant<'a>)> = vec![];
    let mut set = |name: &'static str, value: Option<u64>| {
        if let Some(value) = value {
            properties.push((name, value.into()));
        }
    };
    set("MemoryMax", limits.memory);
    // What may be swapped out instead would be no limit.
    set("MemorySwapMax", limits.memory.map(|_| 0));
    set("MemoryLow", limits.memory_request);
    set("CPUQuotaPerSecUSec", limits.cpu);
    set("CPUWeight", limits.cpu_weight);
    set("TasksMax", limits.processes);
    for (name, value) in [
        ("IOReadBandwidthMax", limits.io_bandwidth),
        ("IOWriteBandwidthMax", limits.io_bandwidth),
        ("IOReadIOPSMax", limits.io_operations),
        ("IOWriteIOPSMax", limits.io_operations),
    ] {
        if let Some(value) = value {
            let list: Vec<(&str, u64)> = devices.iter().map(|device| (device.as_str(), value)).collect();
            properties.push((name, list.into()));
        }
    }
    properties
}
