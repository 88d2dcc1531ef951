//! Seccomp filters for apps that say which system calls they make (appc spec, seccomp isolators).
//!
//! The default filter is made when the programs are built; stage0 checks what else is asked for, and stage1 makes it. That
//! takes a fraction of a millisecond, so none is kept.

mod calls;
mod program;
mod sets;

use std::collections::{HashMap, HashSet};

use program::{Calls, End};

/// The sets that make the rest of a list meaningless.
const EVERYTHING: &str = "@appc.io/all";
const NOTHING: &str = "@appc.io/empty";

/// Calls by which others could be made unseen: of any kind by io_uring; those of sockets and of System V's IPC by one
/// number for all of them on 32-bit x86.
const RINGS: [&str; 3] = ["io_uring_setup", "io_uring_enter", "io_uring_register"];
const SOCKETS: [&str; 19] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "accept4",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "sendmmsg",
];
const IPC: [&str; 12] = [
    "semop",
    "semget",
    "semctl",
    "semtimedop",
    "msgsnd",
    "msgrcv",
    "msgget",
    "msgctl",
    "shmat",
    "shmdt",
    "shmget",
    "shmctl",
];

/// What is done with the calls of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They are allowed, others are not.
    Retain,
    /// They are not allowed, others are.
    Remove,
}

/// The filter that an app asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The one that apps have that ask for none.
    Default,
    /// None at all.
    Off,
    /// A program for the kernel, one instruction a number.
    Program(Vec<u64>),
}

/// A set that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeccompError {
    /// A call that no architecture has.
    #[error("there is no system call {0:?}")]
    Call(String),
    /// One without which no app comes to be.
    #[error("system call \"execve\" cannot be removed: apps are started by it")]
    Execve,
    /// A set that nobody knows.
    #[error(
        "there is no set {0:?} of system calls (there are @appc.io/all, @appc.io/empty, and those of @rkt, @docker and @systemd)"
    )]
    Set(String),
    /// A machine whose system calls nobody here knows.
    #[error("there are no seccomp filters for machines of this kind")]
    Machine,
    /// An error that Linux does not have.
    #[error("there is no error {0:?}")]
    Errno(String),
}

/// The filter for a set of calls, whose refused calls return the error `errno`, or kill the process where there is none.
///
/// # Errors
/// Names that nothing has.
pub fn filter(mode: Mode, set: &[String], errno: Option<&str>) -> Result<Wanted, SeccompError> {
    let errno = errno
        .map(|name| calls::errno(name).ok_or_else(|| SeccompError::Errno(name.to_owned())))
        .transpose()?;
    let mut names: HashSet<&str> = HashSet::new();
    for name in set.iter().map(String::as_str) {
        if name.starts_with('@') {
            if name != EVERYTHING && name != NOTHING {
                names.extend(sets::members(name).ok_or_else(|| SeccompError::Set(name.to_owned()))?);
            }
        } else if calls::is_known(name) {
            names.insert(name);
        } else {
            return Err(SeccompError::Call(name.to_owned()));
        }
    }
    let has = |name: &str| set.iter().any(|member| member == name);
    match mode {
        Mode::Retain if has(EVERYTHING) => return Ok(Wanted::Off),
        Mode::Remove if has(NOTHING) => return Ok(Wanted::Default),
        // Of what all and nothing would mean here nobody can have wanted the one, and the other is the rest of the list.
        Mode::Remove if has(EVERYTHING) => return Err(SeccompError::Set(EVERYTHING.to_owned())),
        Mode::Retain => names.extend(sets::always()),
        Mode::Remove => {
            names.extend(RINGS);
            if SOCKETS.iter().any(|call| names.contains(call)) {
                names.insert("socketcall");
            }
            if IPC.iter().any(|call| names.contains(call)) {
                names.insert("ipc");
            }
            if names.contains("execve") {
                return Err(SeccompError::Execve);
            }
        }
    }
    let refuse = errno.map_or(End::Kill, End::Error);
    let (named, others) = match mode {
        Mode::Retain => (End::Allow, refuse),
        Mode::Remove => (refuse, End::Allow),
    };
    let named = names.into_iter().map(|name| (name, named)).collect();
    let machine = calls::architectures(std::env::consts::ARCH).ok_or(SeccompError::Machine)?;
    Ok(Wanted::Program(program::compile(&Calls { named, others, foreign: refuse }, &machine)))
}

/// The filter of apps that ask for none, for a machine of this architecture (in Rust's words); `None` for one that we know
/// nothing of. What is known and not for apps fails with `EPERM`, what is unknown with `ENOSYS`, so that programs fall back as
/// they do on an older kernel.
pub fn default_filter(machine: &str) -> Option<Vec<u64>> {
    const EPERM: u16 = 1;
    const ENOSYS: u16 = 38;
    let (allowed, denied) = sets::default();
    let mut named: HashMap<&str, End> = denied.into_iter().map(|name| (name, End::Error(EPERM))).collect();
    named.extend(allowed.into_iter().map(|name| (name, End::Allow)));
    let others = End::Error(ENOSYS);
    Some(program::compile(&Calls { named, others, foreign: others }, &calls::architectures(machine)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names that POSIX.1-2001 has, those of C99 among them.
    const POSIX: &str = "E2BIG EACCES EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EAGAIN EALREADY EBADF EBADMSG EBUSY \
        ECANCELED ECHILD ECONNABORTED ECONNREFUSED ECONNRESET EDEADLK EDESTADDRREQ EDOM EDQUOT \
        EEXIST EFAULT EFBIG EHOSTUNREACH EIDRM EILSEQ EINPROGRESS EINTR EINVAL EIO EISCONN EISDIR \
        ELOOP EMFILE EMLINK EMSGSIZE EMULTIHOP ENAMETOOLONG ENETDOWN ENETRESET ENETUNREACH ENFILE \
        ENOBUFS ENODATA ENODEV ENOENT ENOEXEC ENOLCK ENOLINK ENOMEM ENOMSG ENOPROTOOPT ENOSPC ENOSR \
        ENOSTR ENOSYS ENOTCONN ENOTDIR ENOTEMPTY ENOTSOCK ENOTSUP ENOTTY ENXIO EOPNOTSUPP EOVERFLOW \
        EPERM EPIPE EPROTO EPROTONOSUPPORT EPROTOTYPE ERANGE EROFS ESPIPE ESRCH ESTALE ETIME \
        ETIMEDOUT ETXTBSY EWOULDBLOCK EXDEV";

    /// What only Linux has.
    const LINUX: &str = "EADV EBADE EBADFD EBADR EBADRQC EBADSLT EBFONT ECHRNG ECOMM EDEADLOCK EDOTDOT EHOSTDOWN \
        EHWPOISON EISNAM EKEYEXPIRED EKEYREJECTED EKEYREVOKED EL2HLT EL2NSYNC EL3HLT EL3RST ELIBACC \
        ELIBBAD ELIBEXEC ELIBMAX ELIBSCN ELNRNG EMEDIUMTYPE ENAVAIL ENOANO ENOCSI ENOKEY ENOMEDIUM \
        ENONET ENOPKG ENOTBLK ENOTNAM ENOTRECOVERABLE ENOTUNIQ EOWNERDEAD EPFNOSUPPORT EREMCHG \
        EREMOTE EREMOTEIO ERESTART ERFKILL ESHUTDOWN ESOCKTNOSUPPORT ESRMNT ESTRPIPE ETOOMANYREFS \
        EUCLEAN EUNATCH EUSERS EXFULL";

    fn made(mode: Mode, set: &[&str], errno: Option<&str>) -> Result<Wanted, SeccompError> {
        filter(mode, &set.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), errno)
    }

    // APPC-285
    #[test]
    fn all_and_nothing_mask_the_rest() {
        assert_eq!(made(Mode::Retain, &["@appc.io/all", "read"], None), Ok(Wanted::Off));
        assert_eq!(made(Mode::Remove, &["@appc.io/empty", "mount"], None), Ok(Wanted::Default));
        assert!(made(Mode::Remove, &["@appc.io/all"], None).is_err());
        assert_eq!(made(Mode::Remove, &["@systemd/default"], None), Err(SeccompError::Execve));
        // Nothing is retained but what is always there.
        assert_eq!(made(Mode::Retain, &["@appc.io/empty"], None), made(Mode::Retain, &["execve"], None),);
    }

    #[test]
    fn names_that_nothing_has_are_refused_by_name() {
        for (set, errno, wrong) in [
            (&["read", "frobnicate"][..], None, "\"frobnicate\""),
            (&["@rkt/mine"], None, "\"@rkt/mine\""),
            (&["read"], Some("ENOTHING"), "\"ENOTHING\""),
        ] {
            for mode in [Mode::Retain, Mode::Remove] {
                let error = made(mode, set, errno).unwrap_err();
                assert!(error.to_string().contains(wrong), "{error}");
            }
        }
    }

    // APPC-283, APPC-284
    #[test]
    fn every_name_of_posix_and_linux_for_an_error_is_known() {
        for name in POSIX.split_whitespace().chain(LINUX.split_whitespace()) {
            assert!(calls::errno(name).is_some(), "{name}");
        }
    }

    #[test]
    fn calls_that_hide_others_are_removed_with_them() {
        let Ok(Wanted::Program(with)) = made(Mode::Remove, &["socket", "shmget"], None) else { panic!() };
        let Ok(Wanted::Program(named)) =
            made(Mode::Remove, &["socket", "shmget", "socketcall", "ipc", "io_uring_setup"], None)
        else {
            panic!()
        };
        assert_eq!(with, named);
    }
}
