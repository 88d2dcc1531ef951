//! What pods may have left on the machine: looked for by the pods' UUIDs and by the test's own directory, so that tests
//! that run at the same time do not see each other.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::place::Launcher;

/// One line for each thing that is left of these pods and of the test in `base`.
pub(crate) fn left(base: &Path, pods: &[String], launcher: Launcher) -> Vec<String> {
    let traces = Traces::of(base, pods);
    let mut left: Vec<String> = processes(&traces).into_iter().map(|(_, line)| line).collect();
    left.extend(mounts(&traces));
    left.extend(cgroups(&traces));
    for directory in [
        "/run",
        "/run/rkt",
        "/run/netns",
        "/run/systemd",
        "/run/systemd/machines",
        "/run/systemd/nspawn",
        "/run/systemd/transient",
        "/run/systemd/units",
        "/var/log/journal",
        "/run/log/journal",
    ] {
        left.extend(names(Path::new(directory), &traces));
    }
    for directory in ["/tmp", "/var/tmp", "/dev/shm"] {
        left.extend(
            names(Path::new(directory), &traces).into_iter().filter(|line| !line.contains(&traces.base)),
        );
    }
    for directory in ["tmp", "data/tmp", "data/cas/tmp"] {
        left.extend(
            entries(&base.join(directory)).into_iter().map(|path| format!("file {}", path.display())),
        );
    }
    if launcher == Launcher::Systemd {
        left.extend(lines_of(
            "unit",
            &["systemctl", "list-units", "--all", "--plain", "--no-legend"],
            &traces,
        ));
        left.extend(lines_of("machine", &["machinectl", "list", "--all", "--no-legend"], &traces));
    }
    left
}

/// Kills what is left of a test that failed.
pub(crate) fn kill_processes(base: &Path, pods: &[String]) {
    let traces = Traces::of(base, pods);
    for (pid, _) in processes(&traces) {
        // It may have ended meanwhile.
        kill_process(pid, Signal::KILL).ok();
    }
}

struct Traces<'a> {
    base: String,
    pods: Vec<&'a str>,
}

impl<'a> Traces<'a> {
    /// Traces of these pods and of the test in `base`. What has them is killed: nothing may be looked for that is found in what has
    /// nothing to do with the test, an empty name least of all. What is no UUID is no pod, whoever put it among them.
    ///
    /// # Panics
    /// Where the directory is none of a test's own.
    fn of(base: &Path, pods: &'a [String]) -> Traces<'a> {
        let base = base.to_string_lossy().into_owned();
        assert!(base.contains("/rkt-test-"), "{base:?} is no directory of a test");
        Traces { base, pods: pods.iter().map(String::as_str).filter(|uuid| is_uuid(uuid)).collect() }
    }

    fn are_in(&self, text: &str) -> bool {
        // systemd writes `-` in the names of units as `\x2d`.
        let text = text.replace("\\x2d", "-");
        text.contains(&self.base) || self.name_a_pod(&text)
    }

    fn name_a_pod(&self, text: &str) -> bool {
        self.pods.iter().any(|uuid| text.contains(uuid) || text.contains(&uuid.replace('-', "")))
    }
}

/// Whether this is the whole name of a pod.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

fn processes(traces: &Traces<'_>) -> Vec<(Pid, String)> {
    let mut found = Vec::new();
    let own_mounts = fs::read_link("/proc/self/ns/mnt").ok();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if pid == process::id() {
            continue;
        }
        let proc = entry.path();
        let text =
            |name: &str| String::from_utf8_lossy(&fs::read(proc.join(name)).unwrap_or_default()).into_owned();
        let link = |name: &str| fs::read_link(proc.join(name)).unwrap_or_default();
        let command = text("cmdline").replace('\0', " ");
        // A dead process that nobody has waited for has no command line, and holds nothing.
        if command.is_empty() {
            continue;
        }
        let other_mounts = fs::read_link(proc.join("ns/mnt")).ok() != own_mounts;
        let evidence = [
            command.clone(),
            text("cgroup"),
            link("cwd").to_string_lossy().into_owned(),
            link("root").to_string_lossy().into_owned(),
            if other_mounts { text("mountinfo") } else { String::new() },
        ];
        if evidence.iter().any(|text| traces.are_in(text))
            && let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw)
        {
            found.push((pid, format!("process {} {command}", pid.as_raw_nonzero())));
        }
    }
    found
}

fn mounts(traces: &Traces<'_>) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table.lines().filter(|line| traces.are_in(line)).map(|line| format!("mount {line}")).collect()
}

/// Cgroups named after a pod, in every hierarchy.
fn cgroups(traces: &Traces<'_>) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found = Vec::new();
    for line in table.lines().filter(|line| line.contains(" - cgroup")) {
        if let Some(root) = line.split(' ').nth(4) {
            walk(Path::new(root), traces, &mut found);
        }
    }
    found
}

fn walk(directory: &Path, traces: &Traces<'_>, found: &mut Vec<String>) {
    for path in entries(directory) {
        if !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
            continue;
        }
        if traces.are_in(&path.file_name().unwrap_or_default().to_string_lossy()) {
            found.push(format!("cgroup {}", path.display()));
        } else {
            walk(&path, traces, found);
        }
    }
}

fn names(directory: &Path, traces: &Traces<'_>) -> Vec<String> {
    let named = entries(directory).into_iter().filter(|path| traces.are_in(&path.to_string_lossy()));
    named.map(|path| format!("file {}", path.display())).collect()
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn lines_of(kind: &str, command: &[&str], traces: &Traces<'_>) -> Vec<String> {
    let output = match Command::new(command[0]).args(&command[1..]).output() {
        Ok(output) if output.status.success() => output,
        Ok(output) => {
            return vec![format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr))];
        }
        Err(error) => return vec![format!("{command:?}: {error}")],
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| traces.are_in(line)).map(|line| format!("{kind} {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_uuid_is_found_nowhere() {
        let uuid = "0a1b2c3d-0000-4000-8000-00000000000f".to_owned();
        let pods = [String::new(), "a".to_owned(), "-".to_owned(), uuid.clone()];
        let traces = Traces::of(Path::new("/var/tmp/rkt-test-x"), &pods);
        assert!(!traces.are_in("/sbin/init a-b"));
        assert!(traces.are_in(&format!("/run/rkt-{uuid}")));
        assert!(traces.are_in("cat /var/tmp/rkt-test-x/files"));
    }

    #[test]
    #[should_panic(expected = "no directory of a test")]
    fn a_directory_that_is_everybodys_is_refused() {
        Traces::of(Path::new("/"), &[]);
    }
}
