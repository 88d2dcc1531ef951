//! Starting the pod's init: PID 1 of the pod, which owns its namespaces.

use std::{
    ffi::CString,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use rkt_pod::users::Range;
use rustix::{
    fs::CWD,
    mount::OpenTreeFlags,
    net::{AddressFamily, RecvFlags, SocketFlags, SocketType},
    process::{Pid, Signal, WaitId, WaitIdOptions},
};
use stage2::control::Failure;

use crate::{
    journal, mounts,
    pod::Pod,
    sys::{self, CloneSpec, Namespaces},
    users,
};

/// The running init of a pod.
#[derive(Debug)]
pub(crate) struct Init {
    /// PID in the host's namespace.
    pub(crate) pid: Pid,
    pidfd: OwnedFd,
    control: OwnedFd,
    user_namespace: Option<OwnedFd>,
    /// Kept open: closing the last descriptor of a mount makes who does it wait for the kernel's other processors, and
    /// that would be init on its way into its program.
    _program: OwnedFd,
}

/// What the pod's namespaces are like.
#[derive(Debug)]
pub(crate) struct Options<'a> {
    /// The host name in the pod.
    pub(crate) hostname: &'a str,
    /// Whether the pod has a network namespace of its own.
    pub(crate) own_network: bool,
    /// Whether the pod has an IPC namespace of its own.
    pub(crate) own_ipc: bool,
    /// The users of the host that the pod's are, where it has a user namespace.
    pub(crate) users: Option<Range>,
    /// Kernel settings of the pod: files below `/proc/sys`, and what is written to them.
    pub(crate) settings: &'a [(String, String)],
    /// The files of the pod's journal, where it has one of its own.
    pub(crate) journal: Option<OwnedFd>,
    /// The cgroup for init.
    pub(crate) cgroup: Option<OwnedFd>,
}

/// What init says of its own accord.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// The namespaces are ready.
    Ready,
    /// Somebody asked for the pod's end: `machinectl poweroff`, or a signal to init.
    PowerOff,
    /// It has ended.
    Gone,
}

/// The path of a stage2 program: beside this executable in a build tree, in the directory `stage2` beside ours where
/// it is installed. Never looked up in `PATH`.
pub(crate) fn helper(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find own executable")?;
    let directory = own.parent().unwrap_or(Path::new("/"));
    let installed = directory.parent().unwrap_or(Path::new("/")).join("stage2");
    [directory, &installed]
        .into_iter()
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            anyhow!("helper {name:?} is neither in {} nor in {}", directory.display(), installed.display())
        })
}

impl Init {
    /// Starts init. It makes the namespaces ready while we go on; [`Init::wait_ready`] waits for it.
    pub(crate) fn start(pod: &Pod, options: &Options<'_>) -> Result<Init> {
        let program = sealed_program(&helper("init")?)?;
        let rootfs = mounts::pod_root(pod)?;
        let (control, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .context("make the control socket of init")?;
        let null = open_null()?;
        let mut argv = vec![c"init".to_owned(), CString::new(format!("--hostname={}", options.hostname))?];
        let mut namespaces = Namespaces::POD;
        if options.own_network {
            namespaces = namespaces.network();
            argv.push(c"--loopback".to_owned());
        }
        if options.own_ipc {
            namespaces = namespaces.ipc();
        }
        for (file, value) in options.settings {
            argv.push(CString::new(format!("--sysctl={file}={value}"))?);
        }
        let mut descriptors =
            vec![null.as_fd(), null.as_fd(), rustix::stdio::stderr(), rootfs.as_fd(), theirs.as_fd()];
        if let Some(journal) = &options.journal {
            let place = journal::place(&pod.uuid);
            mounts::make_in_pod_root(pod, &place)?;
            argv.push(CString::new(format!("--journal={place}"))?);
            descriptors.push(journal.as_fd());
        }
        let map = |pid| options.users.map_or(Ok(()), |range| users::map(pid, range));
        if options.users.is_some() {
            namespaces = namespaces.user();
        }
        let (pid, pidfd) = sys::spawn(&CloneSpec {
            program: program.as_fd(),
            argv: &argv,
            environment: &[c"container=rkt".to_owned()],
            descriptors: &descriptors,
            namespaces,
            cgroup: options.cgroup.as_ref().map(AsFd::as_fd),
            map_users: options.users.is_some().then_some(&map),
        })
        .with_context(|| match options.users {
            Some(range) => format!("start the pod's init in a user namespace with range {range}"),
            None => "start the pod's init".to_owned(),
        })?;
        let user_namespace = options.users.map(|_| users::namespace(pid)).transpose();
        let mut init = Init { pid, pidfd, control, user_namespace: None, _program: program };
        match user_namespace {
            Ok(namespace) => init.user_namespace = namespace,
            Err(error) => {
                init.kill()?;
                init.wait()?;
                return Err(error);
            }
        }
        Ok(init)
    }

    /// Waits until the namespaces are ready.
    pub(crate) fn wait_ready(&self) -> Result<()> {
        match self.read()? {
            Word::Ready => Ok(()),
            word => bail!("the pod's init: expected to hear that it is ready, heard {word:?}"),
        }
    }

    /// What init says to have failed in, if it has said so by now.
    pub(crate) fn complaint(&self) -> Option<anyhow::Error> {
        let mut buffer = [0; 4096];
        let (length, _) = rustix::net::recv(&self.control, &mut buffer, RecvFlags::DONTWAIT).ok()?;
        let failure: Failure = serde_json::from_slice(&buffer[..length]).ok()?;
        Some(anyhow!("the pod's init: {failure}"))
    }

    /// What init says next. Call when [`Init::control`] is readable.
    pub(crate) fn read(&self) -> Result<Word> {
        let mut buffer = [0; 4096];
        let received = rustix::io::retry_on_intr(|| {
            rustix::net::recv(&self.control, &mut buffer, RecvFlags::empty()).map(|(length, _)| length)
        });
        match received {
            Ok(0) | Err(rustix::io::Errno::CONNRESET) => Ok(Word::Gone),
            Ok(1) if buffer[0] == b'R' => Ok(Word::Ready),
            Ok(1) if buffer[0] == b'P' => Ok(Word::PowerOff),
            Ok(length) => match serde_json::from_slice::<Failure>(&buffer[..length]) {
                Ok(failure) => bail!("the pod's init: {failure}"),
                Err(_) => bail!("the pod's init says what we do not understand"),
            },
            Err(errno) => Err(errno).context("read from the pod's init"),
        }
    }

    /// Readable when init says something or has ended.
    pub(crate) fn control(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// The pidfd of init, by which the pod's namespaces are joined.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// The pod's user namespace, where it has one.
    pub(crate) fn user_namespace(&self) -> Option<&OwnedFd> {
        self.user_namespace.as_ref()
    }

    /// Kills init, and with it whatever still runs in the pod.
    pub(crate) fn kill(&self) -> Result<()> {
        match rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno).context("kill the pod's init"),
        }
    }

    /// Waits until init is gone. It is the last process of the pod to go: those that are our children must have been
    /// waited for.
    pub(crate) fn wait(&self) -> Result<()> {
        let waited = rustix::io::retry_on_intr(|| {
            rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED)
        });
        match waited {
            Ok(_) | Err(rustix::io::Errno::CHILD) => Ok(()),
            Err(errno) => Err(errno).context("wait for the pod's init"),
        }
    }
}

/// Opens `/dev/null` for reading and writing.
pub(crate) fn open_null() -> Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).context("open /dev/null")
}

/// Opens a helper through a read-only mount of its own, so that nobody in the pod can write to it through
/// `/proc/<pid>/exe`, whatever capabilities an app was given.
pub(crate) fn sealed_program(path: &Path) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount =
        rustix::mount::open_tree(CWD, path, flags).with_context(|| format!("open {}", path.display()))?;
    sys::seal(&mount).with_context(|| format!("seal {}", path.display()))?;
    Ok(mount)
}
