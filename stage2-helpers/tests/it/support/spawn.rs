//! Starting a program in new namespaces, which the standard library cannot.
#![allow(unsafe_code)]

use std::{
    ffi::{CString, c_char},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use rustix::process::Pid;

/// Starts `program` with exactly the descriptors given, as 0, 1, 2, …, and a umask that lets nobody else in; `flags` are
/// those of clone(2).
pub(crate) fn spawn(
    program: &str,
    arguments: &[String],
    environment: &[String],
    descriptors: &[BorrowedFd<'_>],
    flags: i32,
) -> (Pid, OwnedFd) {
    let strings = |list: &[String]| -> Vec<CString> {
        list.iter().map(|text| CString::new(text.as_str()).unwrap()).collect()
    };
    let pointers = |strings: &[CString]| -> Vec<*const c_char> {
        strings.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
    };
    let (program, arguments, environment) =
        (CString::new(program).unwrap(), strings(arguments), strings(environment));
    let (argv, envp) = (pointers(&arguments), pointers(&environment));
    let first_free = RawFd::try_from(descriptors.len()).unwrap();
    let sources: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let mut moved = vec![-1; sources.len()];
    let mut pidfd: RawFd = -1;
    // SAFETY: an all-zero structure is valid.
    let mut request: libc::clone_args = unsafe { std::mem::zeroed() };
    request.flags = u64::from((flags | libc::CLONE_PIDFD).cast_unsigned());
    request.pidfd = ptr::from_mut(&mut pidfd) as u64;
    request.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    // SAFETY: no memory is shared with the child, which makes system calls only, on what was allocated before.
    let pid = unsafe {
        let pid = libc::syscall(libc::SYS_clone3, ptr::from_mut(&mut request), size_of::<libc::clone_args>());
        if pid == 0 {
            libc::umask(0o077);
            for (slot, source) in moved.iter_mut().zip(&sources) {
                *slot = libc::fcntl(*source, libc::F_DUPFD_CLOEXEC, first_free);
            }
            for (number, slot) in (0..).zip(&moved) {
                libc::dup2(*slot, number);
            }
            libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr());
            libc::_exit(127);
        }
        pid
    };
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).filter(|pid| pid.as_raw_nonzero().get() > 0);
    // SAFETY: the kernel has stored a new descriptor there.
    (pid.expect("clone3"), unsafe { OwnedFd::from_raw_fd(pidfd) })
}
