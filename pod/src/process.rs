//! The main process of an app, noted in the pod's directory for who comes later.

use std::{
    fs,
    io::ErrorKind,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
    process::{Pid, PidfdFlags},
};
use serde::{Deserialize, Serialize};

use crate::{
    directory::write_atomically,
    error::{Error, Result, io_error, std_error},
    layout,
};

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
///
/// # Errors
/// Where the note cannot be written.
pub fn note(pod: impl AsFd, app: &str, pid: Pid) -> Result<()> {
    let number = pid.as_raw_nonzero().get();
    let path = format!("/proc/{number}/stat");
    let Ok(stat) = fs::read_to_string(&path) else { return Ok(()) };
    let start_time = start_time(&stat).ok_or_else(|| corrupt(path.as_ref(), "not as expected"))?;
    let name = layout::app_process(app);
    let text = serde_json::to_vec(&Note { pid: number, start_time })
        .map_err(|error| corrupt(&name, &error.to_string()))?;
    write_atomically(pod, &name, &text, 0o640).map_err(io_error("write", &name))
}

fn corrupt(object: &Path, problem: &str) -> Error {
    Error::Corrupt { object: object.display().to_string(), problem: problem.to_owned() }
}

/// A process that runs, held fast: neither descriptor ever names another one.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    pidfd: OwnedFd,
    /// Its directory in procfs.
    directory: OwnedFd,
}

impl Process {
    /// The process with this PID, as long as it runs.
    ///
    /// # Errors
    /// Where it cannot be opened for another reason than that it has ended.
    pub fn open(pid: Pid) -> Result<Option<Process>> {
        let path = format!("/proc/{}", pid.as_raw_nonzero());
        let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH) => return Ok(None),
            Err(errno) => return Err(io_error("pin the process of", path.as_ref())(errno)),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(io_error("open", path.as_ref())(errno)),
        };
        let process = Process { pid, pidfd, directory };
        // The PID was that of the first descriptor all the time, and so the second is of the same process.
        Ok(process.runs().then_some(process))
    }

    /// The main process of an app of the pod with this directory. `None` as long as there is none.
    ///
    /// # Errors
    /// Where what is noted cannot be read, or is no note.
    pub fn noted(pod: &Path, app: &str) -> Result<Option<Process>> {
        let path = pod.join(layout::app_process(app));
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(std_error("read", &path)(error)),
        };
        let note: Note = serde_json::from_slice(&text).map_err(|error| corrupt(&path, &error.to_string()))?;
        let pid = Pid::from_raw(note.pid).ok_or_else(|| corrupt(&path, "not a PID"))?;
        let process = Process::open(pid)?;
        Ok(process.filter(|process| {
            process.read("stat").is_ok_and(|stat| start_time(&stat) == Some(note.start_time))
        }))
    }

    /// Its PID, which names it as long as it runs.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Its pidfd.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Whether it has not ended.
    pub fn runs(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec};
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ended| ended == 0)
    }

    /// A file of its directory in procfs.
    ///
    /// # Errors
    /// Where it cannot be read: the process has ended, perhaps.
    pub fn read(&self, name: &str) -> Result<String> {
        let file = rustix::fs::openat(&self.directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let file = file.map_err(io_error("open", &self.path(name)))?;
        std::io::read_to_string(fs::File::from(file)).map_err(std_error("read", &self.path(name)))
    }

    /// Its root directory: a place, to look for paths in.
    ///
    /// # Errors
    /// Where it cannot be opened: the process has ended, perhaps.
    pub fn root(&self) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.directory, "root", flags, Mode::empty())
            .map_err(io_error("open", &self.path("root")))
    }

    /// Which namespace of a kind it is in: `mnt`, `pid`, `user`.
    ///
    /// # Errors
    /// Where it cannot be looked at: the process has ended, perhaps.
    pub fn namespace(&self, kind: &str) -> Result<(u64, u64)> {
        let path = format!("ns/{kind}");
        let stat = rustix::fs::statat(&self.directory, &path, AtFlags::empty())
            .map_err(io_error("look at", &self.path(&path)))?;
        Ok((stat.st_dev, stat.st_ino))
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        format!("/proc/{}/{name}", self.pid.as_raw_nonzero()).into()
    }
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
        let namespace = rustix::fs::stat("/proc/self/ns/mnt").unwrap();
        assert_eq!(own.namespace("mnt").unwrap(), (namespace.st_dev, namespace.st_ino));
    }
}
