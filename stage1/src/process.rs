//! The main process of an app, noted in the pod's directory for who comes later.

use std::{
    fs,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use anyhow::{Context, Result, bail};
use rkt_pod::layout;
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags},
    io::Errno,
    process::{Pid, PidfdFlags},
};
use serde::{Deserialize, Serialize};

/// What is noted. A PID comes to name other processes in time; none of them has the same start.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Note {
    /// As the host sees it.
    pid: i32,
    /// In clock ticks since boot, as in `/proc/<pid>/stat`.
    start_time: u64,
}

/// Notes the main process of an app that runs. One that has ended already is not noted.
pub(crate) fn note(pod: impl AsFd, app: &str, pid: Pid) -> Result<()> {
    let number = pid.as_raw_nonzero().get();
    let Ok(stat) = fs::read_to_string(format!("/proc/{number}/stat")) else { return Ok(()) };
    let Some(start_time) = start_time(&stat) else { bail!("/proc/{number}/stat is not as expected") };
    let text = serde_json::to_vec(&Note { pid: number, start_time })?;
    rkt_pod::directory::write_atomically(pod, &layout::app_process(app), &text, 0o640)
        .context("note its process")
}

/// A process that runs, held fast: neither descriptor ever names another one.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    pidfd: OwnedFd,
    /// Its directory in procfs.
    directory: OwnedFd,
}

impl Process {
    /// The process with this PID, as long as it runs.
    pub(crate) fn open(pid: Pid) -> Result<Option<Process>> {
        let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH) => return Ok(None),
            Err(errno) => return Err(errno).context("open a process"),
        };
        let path = format!("/proc/{}", pid.as_raw_nonzero());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = match rustix::fs::openat(CWD, &path, flags, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno).with_context(|| format!("open {path}")),
        };
        let process = Process { pid, pidfd, directory };
        // The PID was that of the first descriptor all the time, and so the second is of the same process.
        Ok(process.runs().then_some(process))
    }

    /// The main process of an app of the pod whose directory is the working directory. `None` as long as there is none.
    pub(crate) fn noted(app: &str) -> Result<Option<Process>> {
        let path = layout::app_process(app);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        let note: Note = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
        let pid = Pid::from_raw(note.pid).with_context(|| format!("{}: not a PID", path.display()))?;
        let process = Process::open(pid)?;
        Ok(process.filter(|process| {
            process.read("stat").is_ok_and(|stat| start_time(&stat) == Some(note.start_time))
        }))
    }

    /// Its PID, which names it as long as it runs.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Its pidfd.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Whether it has not ended.
    pub(crate) fn runs(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec};
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ended| ended == 0)
    }

    /// A file of its directory in procfs.
    pub(crate) fn read(&self, name: &str) -> Result<String> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, name, flags, Mode::empty())
            .with_context(|| format!("open {name} of a process"))?;
        std::io::read_to_string(fs::File::from(file)).with_context(|| format!("read {name} of a process"))
    }

    /// Which namespace of a kind it is in: `mnt`, `pid`, `user`.
    pub(crate) fn namespace(&self, kind: &str) -> Result<(u64, u64)> {
        namespace(&self.directory, &format!("ns/{kind}"))
    }
}

/// Which namespace of a kind this process itself is in.
pub(crate) fn own_namespace(kind: &str) -> Result<(u64, u64)> {
    namespace(CWD, &format!("/proc/self/ns/{kind}"))
}

fn namespace(directory: impl AsFd, path: &str) -> Result<(u64, u64)> {
    let stat = rustix::fs::statat(directory, path, AtFlags::empty())
        .with_context(|| format!("look at a namespace ({path})"))?;
    Ok((stat.st_dev, stat.st_ino))
}

/// The start time in the content of `/proc/<pid>/stat`. The name of the program, second, may hold anything.
fn start_time(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(19)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start() {
        let stat = "7 (a) R 1 (b) ) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        assert_eq!(start_time(stat), Some(4711));
        assert_eq!(start_time("7 (a) S 1"), None);
        assert_eq!(start_time(""), None);
        let own = fs::read_to_string("/proc/self/stat").unwrap();
        assert!(start_time(&own).is_some_and(|ticks| ticks > 0));
    }

    #[test]
    fn who_has_ended_is_not_found() {
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        let pid = Pid::from_child(&child);
        child.wait().unwrap();
        assert!(Process::open(pid).unwrap().is_none());
        let own = Process::open(rustix::process::getpid()).unwrap().unwrap();
        assert!(own.runs());
        assert_eq!(own.namespace("mnt").unwrap(), own_namespace("mnt").unwrap());
    }
}
