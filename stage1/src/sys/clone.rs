//! Starting a program in new namespaces and in a cgroup with one `clone3(2)`.
#![allow(unsafe_code)]

use std::{
    ffi::{CString, c_char},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use rustix::{
    io::{self, Errno},
    process::Pid,
};

/// The libc crate's constant has too narrow a type for this flag.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which new namespaces a program gets, as `CLONE_NEW*` flags.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Namespaces(u64);

impl Namespaces {
    /// Those that every pod has: PID, mount and UTS.
    pub(crate) const POD: Namespaces =
        Namespaces((libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWUTS) as u64);

    /// Adds an IPC namespace.
    pub(crate) fn ipc(self) -> Namespaces {
        Namespaces(self.0 | libc::CLONE_NEWIPC as u64)
    }

    /// Adds a network namespace.
    pub(crate) fn network(self) -> Namespaces {
        Namespaces(self.0 | libc::CLONE_NEWNET as u64)
    }
}

/// What to start, and where.
pub(crate) struct CloneSpec<'a> {
    /// The program, open.
    pub(crate) program: BorrowedFd<'a>,
    /// Its arguments, `argv[0]` included.
    pub(crate) argv: &'a [CString],
    /// Its whole environment.
    pub(crate) environment: &'a [CString],
    /// Descriptors that it gets, by number: the n-th becomes `n`. Everything else is closed by close-on-exec.
    pub(crate) descriptors: &'a [BorrowedFd<'a>],
    /// New namespaces.
    pub(crate) namespaces: Namespaces,
    /// The cgroup to start it in: an open cgroup2 directory.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
}

/// Starts a program and returns its PID and a pidfd.
///
/// # Errors
/// Where the process cannot be made. A failing exec shows as the child's death with status 127.
pub(crate) fn spawn(spec: &CloneSpec<'_>) -> io::Result<(Pid, OwnedFd)> {
    let argv = pointers(spec.argv);
    let environment = pointers(spec.environment);
    // The child moves its descriptors up out of the way first, so that no target number is still a source.
    let first_free = spec.descriptors.len() as RawFd;
    let sources: Vec<RawFd> = spec.descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let mut moved = vec![-1; sources.len()];

    let mut pidfd: RawFd = -1;
    let mut arguments = libc::clone_args {
        flags: libc::CLONE_PIDFD as u64 | spec.namespaces.0,
        pidfd: ptr::from_mut(&mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: libc::SIGCHLD as u64,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    };
    if let Some(cgroup) = spec.cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM the child has a copy of this process, so nothing it does is seen here. The structure
    // is valid for the size given, and `pidfd` outlives the call.
    let pid = unsafe {
        libc::syscall(libc::SYS_clone3, ptr::from_mut(&mut arguments), size_of::<libc::clone_args>())
    };
    if pid == 0 {
        // SAFETY: we are the only thread of the child. Another thread of the parent may have held the allocator's
        // lock, so `become_program` makes system calls only; all it needs was allocated before.
        unsafe {
            become_program(spec.program.as_raw_fd(), &argv, &environment, &sources, &mut moved, first_free)
        }
    }
    let pid =
        i32::try_from(pid).ok().filter(|pid| *pid > 0).and_then(Pid::from_raw).ok_or_else(last_error)?;
    // SAFETY: on success the kernel has stored a new descriptor there, which nobody else owns.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// The child's half of [`spawn`]: system calls only.
///
/// # Safety
/// Must be called in the child of a fork. `argv` and `environment` end with a null pointer and point to strings.
unsafe fn become_program(
    program: RawFd,
    argv: &[*const c_char],
    environment: &[*const c_char],
    sources: &[RawFd],
    moved: &mut [RawFd],
    first_free: RawFd,
) -> ! {
    // SAFETY: plain system calls on integers, and on arrays that live until the exec.
    unsafe {
        let program = libc::fcntl(program, libc::F_DUPFD_CLOEXEC, first_free);
        for (slot, source) in moved.iter_mut().zip(sources) {
            *slot = libc::fcntl(*source, libc::F_DUPFD_CLOEXEC, first_free);
        }
        for (number, slot) in (0..).zip(moved.iter()) {
            if libc::dup2(*slot, number) < 0 {
                libc::_exit(127);
            }
        }
        libc::syscall(
            libc::SYS_execveat,
            program,
            c"".as_ptr(),
            argv.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
        libc::_exit(127)
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
