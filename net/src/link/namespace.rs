//! Network namespaces.

use std::{fs::File, os::fd::AsFd};

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::error::{Result, failed};

/// An open network namespace.
#[derive(Debug)]
pub(crate) struct Namespace(File);

impl Namespace {
    /// That of a process.
    pub(crate) fn of_process(pid: u32) -> Result<Namespace> {
        let path = format!("/proc/{pid}/ns/net");
        File::open(&path).map(Namespace).map_err(failed("open", path))
    }

    /// The path by which other processes find it, for as long as this one has it open.
    pub(crate) fn path(&self) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Does something with this thread in the namespace, and comes back.
    ///
    /// # Errors
    /// What the work says; or where the namespace cannot be entered or left.
    pub(crate) fn inside<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let own = Namespace::of_this_thread()?;
        self.enter()?;
        let done = work();
        own.enter()?;
        done
    }

    fn of_this_thread() -> Result<Namespace> {
        const PATH: &str = "/proc/thread-self/ns/net";
        File::open(PATH).map(Namespace).map_err(failed("open", PATH))
    }

    fn enter(&self) -> Result<()> {
        move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(failed("enter", "the network namespace"))
    }
}

/// A new network namespace, in which nobody is.
pub(crate) fn fresh() -> Result<Namespace> {
    let own = Namespace::of_this_thread()?;
    new_namespace().map_err(failed("make", "a network namespace"))?;
    let made = Namespace::of_this_thread();
    own.enter()?;
    made
}

fn new_namespace() -> rustix::io::Result<()> {
    #[allow(unsafe_code)]
    // SAFETY: of what this function can unshare only the table of descriptors matters to the rest of the process, and
    // that is not among the flags.
    unsafe {
        rustix::thread::unshare_unsafe(UnshareFlags::NEWNET)
    }
}
