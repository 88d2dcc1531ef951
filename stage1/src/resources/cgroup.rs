//! Limits as files of cgroup v2, where no systemd writes them.

use std::{os::fd::AsFd, path::Path};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use super::Limits;

/// The period in which processor time is counted, in microseconds (the kernel's default).
const PERIOD: u64 = 100_000;

/// Writes the limits into a cgroup's files. `devices` are the numbers (`major:minor`) of all block devices.
///
/// # Errors
/// The file that could not be written, and why.
pub(crate) fn limit(cgroup: impl AsFd, limits: &Limits, devices: &[String]) -> Result<(), String> {
    for (file, text) in files(limits, devices) {
        match write(&cgroup, file, &text) {
            // A kernel without accounting of swap has none to limit.
            Err(Errno::NOENT) if file == "memory.swap.max" => {}
            result => result.map_err(|errno| format!("write {text:?} to {file}: {errno}"))?,
        }
    }
    Ok(())
}

/// Writes one file of a cgroup.
pub(crate) fn write(cgroup: impl AsFd, file: &str, text: &str) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(cgroup, Path::new(file), flags, Mode::empty())?;
    rustix::io::retry_on_intr(|| rustix::io::write(&file, text.as_bytes())).map(|_| ())
}

fn files(limits: &Limits, devices: &[String]) -> Vec<(&'static str, String)> {
    let mut files = Vec::new();
    let mut set = |file, value: Option<u64>| files.extend(value.map(|value| (file, value.to_string())));
    set("memory.max", limits.memory);
    set("memory.swap.max", limits.memory.map(|_| 0));
    set("memory.low", limits.memory_request);
    set("cpu.weight", limits.cpu_weight);
    set("pids.max", limits.processes);
    if let Some(cpu) = limits.cpu {
        // A thousandth of a core is the least that the kernel takes: a millisecond of its period.
        let quota = (cpu / (1_000_000 / PERIOD)).max(1000);
        files.push(("cpu.max", format!("{quota} {PERIOD}")));
    }
    let io = [("bps", limits.io_bandwidth), ("iops", limits.io_operations)];
    for (unit, value) in io.into_iter().filter_map(|(unit, value)| Some((unit, value?))) {
        files.extend(
            devices.iter().map(|device| ("io.max", format!("{device} r{unit}={value} w{unit}={value}"))),
        );
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_files() {
        let limits = Limits {
            memory: Some(1 << 20),
            memory_request: Some(4096),
            cpu: Some(1_500_000),
            cpu_weight: Some(39),
            io_bandwidth: Some(1000),
            io_operations: Some(10),
            processes: Some(20),
        };
        let devices = ["8:0".to_owned(), "253:16".to_owned()];
        let text: Vec<String> =
            files(&limits, &devices).into_iter().map(|(file, text)| format!("{file}={text}")).collect();
        assert_eq!(
            text,
            [
                "memory.max=1048576",
                "memory.swap.max=0",
                "memory.low=4096",
                "cpu.weight=39",
                "pids.max=20",
                "cpu.max=150000 100000",
                "io.max=8:0 rbps=1000 wbps=1000",
                "io.max=253:16 rbps=1000 wbps=1000",
                "io.max=8:0 riops=10 wiops=10",
                "io.max=253:16 riops=10 wiops=10",
            ]
        );
        let least = Limits { cpu: Some(1000), ..Limits::default() };
        assert_eq!(files(&least, &[]), [("cpu.max", "1000 100000".to_owned())]);
    }
}
