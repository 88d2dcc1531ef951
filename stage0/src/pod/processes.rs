//! The processes of a running pod, and what they take of the machine.

use std::{collections::BTreeMap, ffi::OsString, fs, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use procfs::process::{Process as Entry, all_processes};
use rkt_pod::PodDir;

/// A process of a pod.
#[derive(Debug)]
pub(crate) struct Process {
    /// The app it belongs to; the pod's init belongs to none.
    pub(crate) app: Option<String>,
    /// Its PID on the host.
    pub(crate) pid: i32,
    /// Its PID in the pod.
    pub(crate) pod_pid: i32,
    /// Its user on the host.
    pub(crate) uid: u32,
    /// What it does: `R`, `S`, `D`, `Z`, …
    pub(crate) state: char,
    /// Its threads.
    pub(crate) threads: i64,
    /// Bytes of memory that are its own, or shared and in use by it.
    pub(crate) memory: u64,
    /// Processor time that it has taken.
    pub(crate) cpu: Duration,
    /// Bytes that it has had read from, and written to, devices.
    pub(crate) io: [u64; 2],
    /// Its command line, or its name in brackets where it has none.
    pub(crate) command: String,
    /// Its cgroup, from the root of the hierarchy.
    cgroup: String,
}

/// The processes of a pod, ordered by PID. Who ends while we look may be missing.
pub(crate) fn of(pod: &PodDir, apps: &[&str]) -> Result<Vec<Process>> {
    let Some(init) = pod.pid() else { bail!("pod {:?} has no init: it is not running", pod.uuid()) };
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).map(OsString::from);
    let own =
        namespace(i32::try_from(init)?).with_context(|| format!("look at the init of pod {}", pod.uuid()))?;
    let mut found = Vec::new();
    for entry in all_processes().context("list processes")?.flatten() {
        if namespace(entry.pid()).is_ok_and(|namespace| namespace == own)
            && let Some(process) = look(&entry, pod.uuid(), apps)
        {
            found.push(process);
        }
    }
    found.sort_by_key(|process| process.pid);
    Ok(found)
}

fn look(entry: &Entry, uuid: &str, apps: &[&str]) -> Option<Process> {
    let (stat, status) = (entry.stat().ok()?, entry.status().ok()?);
    let ticks = procfs::ticks_per_second();
    let words = entry.cmdline().ok()?;
    let command = if words.is_empty() { format!("[{}]", stat.comm) } else { words.join(" ") };
    let cgroup = entry.cgroups().ok()?.0.into_iter().find(|group| group.hierarchy == 0);
    let cgroup = cgroup.map(|group| group.pathname).unwrap_or_default();
    Some(Process {
        app: apps.iter().find(|app| is_of(&cgroup, uuid, app)).map(|app| (*app).to_owned()),
        pid: entry.pid(),
        pod_pid: status.nspid.and_then(|pids| pids.last().copied()).unwrap_or_default(),
        uid: status.euid,
        state: stat.state,
        threads: stat.num_threads,
        memory: stat.rss.saturating_mul(procfs::page_size()),
        cpu: Duration::from_millis((stat.utime + stat.stime).saturating_mul(1000) / ticks.max(1)),
        io: entry.io().map(|io| [io.read_bytes, io.write_bytes]).unwrap_or_default(),
        command,
        cgroup,
    })
}

/// Whether a cgroup is an app's: the one of its unit, or the one that the direct launcher has made.
fn is_of(cgroup: &str, uuid: &str, app: &str) -> bool {
    let (unit, direct) = (format!("rkt-{uuid}-{app}.service"), format!("rkt-{uuid}/{app}.service"));
    cgroup.split('/').any(|part| part == unit) || format!("{cgroup}/").contains(&format!("/{direct}/"))
}

/// What an app takes of the machine.
#[derive(Debug, Default, Clone)]
pub(crate) struct Usage {
    /// Processor time so far.
    pub(crate) cpu: Duration,
    /// Bytes of memory.
    pub(crate) memory: u64,
    /// The most that it may take.
    pub(crate) memory_limit: Option<u64>,
    /// Bytes read from, and written to, devices.
    pub(crate) io: [u64; 2],
    /// Processes and threads.
    pub(crate) pids: u64,
}

/// What each app takes: by its cgroup where the controllers are there, else by its processes.
pub(crate) fn usage(processes: &[Process]) -> BTreeMap<String, Usage> {
    let mut all: BTreeMap<String, Usage> = BTreeMap::new();
    let mut cgroups: BTreeMap<String, &str> = BTreeMap::new();
    for process in processes {
        let Some(app) = &process.app else { continue };
        let usage = all.entry(app.clone()).or_default();
        usage.cpu += process.cpu;
        usage.memory += process.memory;
        usage.io[0] += process.io[0];
        usage.io[1] += process.io[1];
        usage.pids += u64::try_from(process.threads).unwrap_or_default();
        // Apps may have cgroups below: the app's own is the shortest.
        let cgroup = cgroups.entry(app.clone()).or_insert(&process.cgroup);
        if process.cgroup.len() < cgroup.len() {
            *cgroup = &process.cgroup;
        }
    }
    for (app, cgroup) in cgroups {
        if let Some(usage) = all.get_mut(&app) {
            by_cgroup(usage, cgroup);
        }
    }
    all
}

fn by_cgroup(usage: &mut Usage, cgroup: &str) {
    let Some(mount) = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .into_iter()
        .find(|mount| Path::new(mount).join("cgroup.controllers").exists())
    else {
        return;
    };
    let directory = Path::new(mount).join(cgroup.trim_start_matches('/'));
    let read = |name: &str| fs::read_to_string(directory.join(name)).ok();
    let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
    if let Some(memory) = number("memory.current") {
        usage.memory = memory;
    }
    usage.memory_limit = number("memory.max");
    if let Some(pids) = number("pids.current") {
        usage.pids = pids;
    }
    let field = |text: &str, name: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    };
    // Counts also what has ended. Without the controller it is there, too, but it may be nought.
    if let Some(micros) =
        read("cpu.stat").and_then(|text| field(&text, "usage_usec ")).filter(|time| *time > 0)
    {
        usage.cpu = Duration::from_micros(micros);
    }
    if let Some(text) = read("io.stat") {
        let sum = |name: &str| -> u64 {
            text.split_whitespace().filter_map(|word| word.strip_prefix(name)?.parse::<u64>().ok()).sum()
        };
        usage.io = [sum("rbytes="), sum("wbytes=")];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_is_that_of_one_app() {
        let uuid = "0a000000-0000-4000-8000-000000000001";
        let unit = format!("/machine.slice/machine-rkt.slice/rkt-{uuid}-web.service");
        assert!(is_of(&unit, uuid, "web") && !is_of(&unit, uuid, "we") && !is_of(&unit, uuid, "b"));
        let direct = format!("/user.slice/rkt-{uuid}/web.service");
        assert!(is_of(&direct, uuid, "web") && is_of(&format!("{direct}/below"), uuid, "web"));
        assert!(!is_of(&format!("/rkt-{uuid}/init.scope"), uuid, "init"));
        assert!(!is_of(&direct, "0a000000-0000-4000-8000-000000000002", "web"));
    }
}
