//! A pod's directory: made, locked, moved on, read.

use std::{
    fs,
    io::ErrorKind,
    os::fd::AsFd,
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use rustix::fs::{Mode, OFlags};

use crate::{
    error::{Error, Result, io_error, std_error},
    failpoint, layout,
    lock::{Kind, Lock},
    stage1::RuntimeState,
    state::{Place, State},
};

/// How often, and after which time each, a lock is tried again that others have who only look.
const LOOKS: u32 = 200;
const LOOK: Duration = Duration::from_micros(500);

/// A pod's directory as it was found. The pod may move on while one looks at it; [`Error::Gone`] says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodDir {
    pods: PathBuf,
    uuid: String,
    place: Place,
}

impl PodDir {
    /// The directory of pod `uuid` in `place` below the data directory `data`. Looks at nothing.
    pub fn new(data: &Path, place: Place, uuid: &str) -> PodDir {
        PodDir { pods: data.join(layout::PODS), uuid: uuid.to_owned(), place }
    }

    /// Makes the places of pods below `data` (mode 0750), where they are missing.
    ///
    /// # Errors
    /// Where a directory cannot be made.
    pub fn make_places(data: &Path) -> Result<()> {
        for place in Place::ALL {
            make_directory(&data.join(layout::PODS).join(place.directory()), 0o750)?;
        }
        Ok(())
    }

    /// Makes a new pod with a random UUID, locked, in `prepare`. It is made in `embryo`, so that no one finds it there
    /// without its lock. The directory gets mode 0750.
    ///
    /// # Errors
    /// Where the directory cannot be made, locked or moved.
    pub fn create(data: &Path) -> Result<(PodDir, Lock)> {
        loop {
            match PodDir::try_create(data) {
                // A collector was faster than our lock and took it for one that was left behind.
                Err(Error::Gone(_)) => {}
                other => return other,
            }
        }
    }

    fn try_create(data: &Path) -> Result<(PodDir, Lock)> {
        let mut pod = PodDir::new(data, Place::Embryo, &uuid::Uuid::new_v4().to_string());
        let mode = Mode::from_raw_mode(0o750);
        if let Err(error) = rustix::fs::mkdir(pod.path(), mode) {
            if error != rustix::io::Errno::NOENT {
                return Err(io_error("make directory", &pod.path())(error));
            }
            PodDir::make_places(data)?;
            rustix::fs::mkdir(pod.path(), mode).map_err(io_error("make directory", &pod.path()))?;
        }
        let lock = pod.lock()?;
        failpoint!("pod-created");
        pod.move_to(Place::Prepare)?;
        Ok((pod, lock))
    }

    /// The pod's UUID: lower case, with dashes.
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// Where the pod was found.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The directory's path.
    pub fn path(&self) -> PathBuf {
        self.pods.join(self.place.directory()).join(&self.uuid)
    }

    /// Moves the pod on. The caller holds its lock.
    ///
    /// # Errors
    /// [`Error::Gone`] where somebody else moved it first.
    pub fn move_to(&mut self, place: Place) -> Result<()> {
        let target = PodDir { place, ..self.clone() };
        match rustix::fs::rename(self.path(), target.path()) {
            Ok(()) => {
                *self = target;
                Ok(())
            }
            // Another directory of places than our own make: one may be missing.
            Err(rustix::io::Errno::NOENT) if self.path().is_dir() && !target.place_exists() => {
                make_directory(&self.pods.join(place.directory()), 0o750)?;
                self.move_to(place)
            }
            Err(rustix::io::Errno::NOENT) => Err(Error::Gone(self.uuid.clone())),
            Err(errno) => Err(io_error("move", &self.path())(errno)),
        }
    }

    fn place_exists(&self) -> bool {
        self.pods.join(self.place.directory()).is_dir()
    }

    /// Takes the pod's exclusive lock without waiting; `None` where another process works on the pod. Those that only look
    /// at its state, each for a moment, are no such processes.
    ///
    /// # Errors
    /// [`Error::Gone`] where the pod has moved or is removed.
    pub fn try_lock(&self) -> Result<Option<Lock>> {
        for _ in 0..LOOKS {
            let lock = self.or_gone(Lock::try_now(&self.path(), Kind::Exclusive))?;
            if lock.is_some() || self.or_gone(Lock::try_now(&self.path(), Kind::Shared))?.is_none() {
                return Ok(lock);
            }
            thread::sleep(LOOK);
        }
        Ok(None)
    }

    /// Takes the pod's exclusive lock, waiting for whoever has it.
    ///
    /// # Errors
    /// [`Error::Gone`] where the pod has moved or is removed.
    pub fn lock(&self) -> Result<Lock> {
        self.or_gone(Lock::wait(&self.path(), Kind::Exclusive))
    }

    /// The pod's state, from its place and a short shared lock.
    ///
    /// # Errors
    /// [`Error::Gone`] where the pod has moved or is removed.
    pub fn state(&self) -> Result<State> {
        let free = self.or_gone(Lock::try_now(&self.path(), Kind::Shared))?.is_some();
        Ok(State::of(self.place, !free))
    }

    fn or_gone<T>(&self, result: Result<T>) -> Result<T> {
        match result {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Err(Error::Gone(self.uuid.clone()))
            }
            other => other,
        }
    }

    /// When the pod was created; `None` before it is prepared.
    pub fn created(&self) -> Option<SystemTime> {
        [layout::CREATED, layout::MANIFEST].iter().find_map(|name| self.mtime(name))
    }

    /// When the pod was started; `None` where it was not.
    pub fn started(&self) -> Option<SystemTime> {
        self.mtime(layout::PID)
    }

    fn mtime(&self, name: &str) -> Option<SystemTime> {
        fs::symlink_metadata(self.path().join(name)).and_then(|m| m.modified()).ok()
    }

    /// PID of the pod's init in the host's PID namespace, where the pod was started.
    pub fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.path().join(layout::PID)).ok()?.trim().parse().ok()
    }

    /// The exit status of an app, where it has ended: its own, or 128 + signal.
    pub fn exit_status(&self, app: &str) -> Option<i32> {
        fs::read_to_string(self.path().join(layout::app_status(app))).ok()?.trim().parse().ok()
    }

    /// Whether the kernel killed an app for lack of memory.
    pub fn was_out_of_memory(&self, app: &str) -> bool {
        self.path().join(layout::app_out_of_memory(app)).exists()
    }

    /// What stage1 did when it started the pod.
    ///
    /// # Errors
    /// Where the file is missing ([`ErrorKind::NotFound`]) or is not what stage1 writes.
    pub fn runtime_state(&self) -> Result<RuntimeState> {
        let path = self.path().join(layout::RUNTIME);
        let text = fs::read(&path).map_err(std_error("read", &path))?;
        serde_json::from_slice(&text).map_err(|error| Error::Corrupt {
            object: path.display().to_string(),
            problem: error.to_string(),
        })
    }
}

/// Writes a file so that it is seen whole or not at all: temporary name, then rename. It is not synced: what needs to
/// survive a power cut is synced by its owner, what belongs to a running pod dies with the power anyway.
///
/// # Errors
/// Where the file cannot be written or renamed.
pub fn write_atomically(
    directory: impl AsFd,
    name: &Path,
    content: &[u8],
    mode: u32,
) -> rustix::io::Result<()> {
    let mut temporary = name.as_os_str().to_owned();
    temporary.push(".tmp");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::openat(&directory, &temporary, flags, Mode::from_raw_mode(mode))?;
    let mut rest = content;
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&fd, rest))?;
        rest = &rest[written..];
    }
    rustix::fs::renameat(&directory, &temporary, &directory, name)
}

fn make_directory(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(std_error("make directory", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_what_its_place_and_lock_say() {
        let data = tempfile::tempdir().unwrap();
        let (mut pod, lock) = PodDir::create(data.path()).unwrap();
        assert_eq!(pod.state().unwrap(), State::Preparing);
        assert!(pod.try_lock().unwrap().is_none());
        pod.move_to(Place::Run).unwrap();
        assert_eq!(pod.state().unwrap(), State::Running);
        drop(lock);
        assert_eq!(pod.state().unwrap(), State::Exited);
    }

    #[test]
    fn who_looks_at_a_pod_keeps_nobody_from_it() {
        let data = tempfile::tempdir().unwrap();
        let (pod, lock) = PodDir::create(data.path()).unwrap();
        drop(lock);
        let look = Lock::try_now(&pod.path(), Kind::Shared).unwrap().unwrap();
        thread::scope(|scope| {
            let locked = scope.spawn(|| pod.try_lock());
            thread::sleep(4 * LOOK);
            drop(look);
            assert!(locked.join().unwrap().unwrap().is_some());
        });
    }

    #[test]
    fn a_pod_that_moved_is_gone() {
        let data = tempfile::tempdir().unwrap();
        let (pod, _lock) = PodDir::create(data.path()).unwrap();
        fs::remove_dir(data.path().join("pods/garbage")).unwrap();
        pod.clone().move_to(Place::Garbage).unwrap();
        assert!(matches!(pod.state(), Err(Error::Gone(_))));
        assert!(matches!(pod.clone().move_to(Place::Run), Err(Error::Gone(_))));
    }
}
