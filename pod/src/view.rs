//! A pod's directory, open: whoever looks at thousands of pods walks each path once.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    os::fd::OwnedFd,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{AtFlags, FlockOperation, Mode, OFlags, StatxFlags},
    io::{self, Errno},
    path::Arg,
};

use crate::{
    directory::PodDir,
    error::{Error, Result, io_error},
    layout,
    state::State,
};

/// What nearly all of a pod's files fit in.
const USUAL_SIZE: usize = 4096;

/// A pod as it was found at one moment. Its files can be read even when it moves on.
#[derive(Debug)]
pub struct View {
    directory: OwnedFd,
    state: State,
}

impl View {
    /// Opens the pod's directory, and finds its state by a short shared lock.
    ///
    /// # Errors
    /// [`Error::Gone`] where the pod has moved or is removed.
    pub fn of(pod: &PodDir) -> Result<View> {
        let path = pod.path();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Err(Error::Gone(pod.uuid().to_owned())),
            Err(errno) => return Err(io_error("open", &path)(errno)),
        };
        let flock = |operation| io::retry_on_intr(|| rustix::fs::flock(&directory, operation));
        let locked = match flock(FlockOperation::NonBlockingLockShared) {
            Ok(()) => {
                flock(FlockOperation::Unlock).map_err(io_error("unlock", &path))?;
                false
            }
            Err(Errno::WOULDBLOCK) => true,
            Err(errno) => return Err(io_error("lock", &path)(errno)),
        };
        Ok(View { directory, state: State::of(pod.place(), locked) })
    }

    /// The pod's state when it was looked at.
    pub fn state(&self) -> State {
        self.state
    }

    /// When the pod was created; `None` before it is prepared.
    pub fn created(&self) -> Option<SystemTime> {
        [layout::CREATED, layout::MANIFEST].iter().find_map(|name| self.modified(name))
    }

    /// When the pod was started; `None` where it was not.
    pub fn started(&self) -> Option<SystemTime> {
        self.modified(layout::PID)
    }

    fn modified(&self, name: &str) -> Option<SystemTime> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let data = rustix::fs::statx(&self.directory, name, flags, StatxFlags::MTIME).ok()?;
        let seconds = u64::try_from(data.stx_mtime.tv_sec).ok()?;
        UNIX_EPOCH.checked_add(Duration::new(seconds, data.stx_mtime.tv_nsec))
    }

    /// The content of one of the pod's files.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn read(&self, name: impl Arg) -> std::io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut file = File::from(rustix::fs::openat(&self.directory, name, flags, Mode::empty())?);
        let mut content = vec![0; USUAL_SIZE];
        let length = loop {
            match file.read(&mut content) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        content.truncate(length);
        // A file that does not fill the buffer has ended.
        if length == USUAL_SIZE {
            file.read_to_end(&mut content)?;
        }
        Ok(content)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::state::Place;

    #[test]
    fn a_pod_that_moves_on_can_still_be_read() {
        let data = tempfile::tempdir().unwrap();
        let (mut pod, lock) = PodDir::create(data.path()).unwrap();
        fs::write(pod.path().join(layout::MANIFEST), "x".repeat(3 * USUAL_SIZE)).unwrap();
        let view = View::of(&pod).unwrap();
        assert_eq!(view.state(), State::Preparing);
        pod.move_to(Place::Run).unwrap();
        assert_eq!(view.read(layout::MANIFEST).unwrap().len(), 3 * USUAL_SIZE);
        assert_eq!(view.created(), fs::metadata(pod.path().join("pod")).unwrap().modified().ok());
        assert_eq!(view.started(), None);
        drop(lock);
        assert_eq!(View::of(&pod).unwrap().state(), State::Exited);
        // Looking left no lock behind, though the first view still is.
        assert!(pod.try_lock().unwrap().is_some());
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let data = tempfile::tempdir().unwrap();
        let (pod, _lock) = PodDir::create(data.path()).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", pod.path().join("pod")).unwrap();
        let view = View::of(&pod).unwrap();
        assert!(view.read("pod").is_err());
        assert_eq!(view.read(Path::new("appsinfo")).unwrap_err().kind(), ErrorKind::NotFound);
        fs::remove_dir(pod.path()).unwrap_err();
        assert!(matches!(View::of(&PodDir::new(data.path(), Place::Run, pod.uuid())), Err(Error::Gone(_))));
    }
}
