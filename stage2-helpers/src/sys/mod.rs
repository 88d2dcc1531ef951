//! System calls that rustix does not wrap, each made safe to call.
#![allow(unsafe_code)]

pub mod memory;

use std::{
    ffi::{CStr, CString, c_char},
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use rustix::{
    io::{self, Errno},
    process::Pid,
};

/// The default seccomp filter, one instruction a number.
pub static DEFAULT_FILTER: &[u64] = &include!(concat!(env!("OUT_DIR"), "/seccomp.rs"));

/// Attributes of a mount.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attributes(u64);

impl Attributes {
    /// Nothing can be written.
    pub const READ_ONLY: Attributes = Attributes(libc::MOUNT_ATTR_RDONLY);
    /// Device nodes do not work.
    pub const NO_DEVICES: Attributes = Attributes(libc::MOUNT_ATTR_NODEV);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Attributes) -> Attributes {
        Attributes(self.0 | other.0)
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(last_error()) } else { Ok(result) }
}

/// Adds attributes to a mount, and to all below it where `recursive`.
///
/// # Errors
/// What mount_setattr(2) says.
pub fn set_attributes(mount: impl AsFd, attributes: Attributes, recursive: bool) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let request = libc::mount_attr { attr_set: attributes.0, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: an open descriptor, a C string, and a structure valid for the size given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            ptr::from_ref(&request),
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Makes namespaces of this process's own.
///
/// # Errors
/// What unshare(2) says.
pub fn unshare(flags: rustix::thread::UnshareFlags) -> io::Result<()> {
    // SAFETY: the unsafe flag is the one for descriptor tables, which nobody here passes.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Which process one is after [`fork`].
#[derive(Debug)]
pub enum Fork {
    /// The new one.
    Child,
    /// The old one, which learns the new one's PID.
    Parent(Pid),
}

/// Makes a copy of this process, which has one thread only. With `sibling` the new process is a child of our parent.
///
/// # Errors
/// What clone(2) says.
pub fn fork(sibling: bool) -> io::Result<Fork> {
    let flags = if sibling { libc::CLONE_PARENT } else { libc::SIGCHLD };
    // SAFETY: this program never starts a thread, so the child is a whole process; without CLONE_VM nothing is shared.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })?;
    match i32::try_from(pid).ok().and_then(Pid::from_raw) {
        Some(pid) => Ok(Fork::Parent(pid)),
        None => Ok(Fork::Child),
    }
}

/// Sets the real, effective and saved user and group, and the supplementary groups, of this process of one thread.
///
/// # Errors
/// What the failing call says, with its name.
pub fn set_identity(uid: u32, gid: u32, groups: &[u32]) -> Result<(), (&'static str, Errno)> {
    // SAFETY: the array is valid for the length given; the other arguments are numbers.
    unsafe {
        check(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()))
            .map_err(|e| ("set groups", e))?;
        check(libc::syscall(libc::SYS_setresgid, gid, gid, gid)).map_err(|e| ("set group", e))?;
        check(libc::syscall(libc::SYS_setresuid, uid, uid, uid)).map_err(|e| ("set user", e))?;
    }
    Ok(())
}

/// Sets who this process is to file systems, which is user and group of the same number.
pub fn set_file_identity(id: u32) {
    // SAFETY: the arguments are numbers. These calls return who one was before, and never fail where the id may be set.
    unsafe {
        libc::syscall(libc::SYS_setfsgid, id);
        libc::syscall(libc::SYS_setfsuid, id);
    }
}

/// Loads a seccomp filter, one instruction a number. Needs CAP_SYS_ADMIN or no-new-privileges.
///
/// # Errors
/// What seccomp(2) says.
pub fn load_seccomp(filter: &[u64]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| Errno::INVAL)?,
        filter: filter.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the kernel only reads the program, whose instructions are eight bytes each and aligned to eight.
    check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, ptr::from_ref(&program))
    })
    .map(drop)
}

/// Leaves the keyrings of the session that this process comes from, for an empty one of its own.
///
/// # Errors
/// What keyctl(2) says.
pub fn own_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: i64 = 1;
    // SAFETY: a null pointer stands for a keyring without a name.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, ptr::null::<c_char>()) })
        .map(drop)
}

/// Executes a program. Returns only on failure.
pub fn execute(path: &CStr, argv: &[CString], environment: &[CString]) -> Errno {
    let (argv, environment) = (pointers(argv), pointers(environment));
    // SAFETY: C strings, and arrays that end with a null pointer.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), environment.as_ptr()) };
    last_error()
}

/// Executes an open program. Returns only on failure.
pub fn execute_open(program: impl AsFd, argv: &[CString], environment: &[CString]) -> Errno {
    let (argv, environment) = (pointers(argv), pointers(environment));
    // SAFETY: an open descriptor, C strings, and arrays that end with a null pointer.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_fd().as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    last_error()
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

/// Marks all descriptors from `first` on to be closed by the next exec.
///
/// # Errors
/// What close_range(2) says.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: only marks descriptors.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) })
        .map(drop)
}

/// Closes all descriptors from `first` on. For the first moments of a program, before it has opened any.
///
/// # Errors
/// What close_range(2) says.
pub fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: called before anything in this process owns such a descriptor.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }).map(drop)
}

/// Takes over a descriptor that this program was started with.
///
/// # Errors
/// Where there is none with this number.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is only borrowed to ask whether it is open.
    io::fcntl_setfd(unsafe { BorrowedFd::borrow_raw(number) }, io::FdFlags::CLOEXEC)?;
    // SAFETY: it is open, was given to this program to own, and is taken once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Makes `number` a copy of `fd`, which the next program inherits.
///
/// # Errors
/// What dup2(2) says.
pub fn place(fd: impl AsFd, number: RawFd) -> io::Result<()> {
    // SAFETY: 0 to 2 belong to no owner in this program, and those after them to none that is used before the exec.
    check(i64::from(unsafe { libc::dup2(fd.as_fd().as_raw_fd(), number) })).map(drop)
}

/// Makes the terminal at descriptor 0 the controlling one of this session.
///
/// # Errors
/// What ioctl(2) says.
pub fn take_terminal() -> io::Result<()> {
    // SAFETY: this request takes a number.
    check(i64::from(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) })).map(drop)
}

/// Brings the loopback interface of this network namespace up.
///
/// # Errors
/// What socket(2) or ioctl(2) says.
pub fn loopback_up(socket: impl AsFd) -> io::Result<()> {
    // SAFETY: an all-zero request is valid; its name is shorter than its field.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = (*from).cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: the request is a valid structure of the type that this call takes.
    check(i64::from(unsafe {
        libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCSIFFLAGS, ptr::from_ref(&request))
    }))
    .map(drop)
}

/// Blocks all signals.
///
/// # Errors
/// Never in practice.
pub fn block_signals() -> io::Result<()> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigfillset initialises the set.
    unsafe {
        check(i64::from(libc::sigfillset(set.as_mut_ptr())))?;
        check(i64::from(libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), ptr::null_mut()))).map(drop)
    }
}

/// Unblocks all signals and gives each its default meaning, as a new program expects.
///
/// # Errors
/// Never in practice.
pub fn reset_signals() -> io::Result<()> {
    for signal in 1..=64 {
        // The C library refuses to touch signals of its own, which a caller may have had ignored all the same. An
        // all-zero action is the default one.
        let default = [0_u64; 4];
        // SAFETY: the kernel's structure is no larger than this. KILL and STOP cannot be set, and stay.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), ptr::null::<u64>(), 8) };
    }
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set.
    unsafe {
        check(i64::from(libc::sigemptyset(set.as_mut_ptr())))?;
        check(i64::from(libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), ptr::null_mut()))).map(drop)
    }
}

/// Waits for one of the blocked signals and returns its number.
pub fn wait_signal() -> Option<i32> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigfillset initialises the set; no information about the signal is asked for.
    let signal = unsafe {
        libc::sigfillset(set.as_mut_ptr());
        libc::sigwaitinfo(set.as_ptr(), ptr::null_mut())
    };
    (signal > 0).then_some(signal)
}

/// A descriptor that is readable when one of the blocked signals has come.
///
/// # Errors
/// What signalfd(2) says.
pub fn signal_descriptor() -> io::Result<OwnedFd> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigfillset initialises the set.
    let number = unsafe {
        libc::sigfillset(set.as_mut_ptr());
        check(i64::from(libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC)))?
    };
    let number = RawFd::try_from(number).map_err(|_| Errno::BADF)?;
    // SAFETY: it was just made, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Reads the number of a signal from a [`signal_descriptor`].
///
/// # Errors
/// What read(2) says.
pub fn read_signal(descriptor: impl AsFd) -> io::Result<i32> {
    let mut record = [0; size_of::<libc::signalfd_siginfo>()];
    io::retry_on_intr(|| io::read(&descriptor, &mut record))?;
    // The number is the record's first field.
    let [a, b, c, d, ..] = record;
    Ok(i32::from_ne_bytes([a, b, c, d]))
}

/// The number of the first real-time signal, which machined counts from.
pub fn first_realtime_signal() -> i32 {
    libc::SIGRTMIN()
}
