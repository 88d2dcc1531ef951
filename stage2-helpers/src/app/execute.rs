//! Finding the command and executing it.

use std::ffi::CString;

use rustix::{
    fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};

use super::diagnose;
use crate::{
    control::{Failure, exit},
    failure::failure,
    spec::{AppSpec, Seccomp},
    sys,
};

/// Where a command without a slash is looked for when `PATH` is not set: confstr(_CS_PATH), and the working directory.
const FALLBACK_PATH: &str = ".:/bin:/usr/bin";

/// Executes a command with the app's environment. Returns only on failure, with the best reason that can be found.
pub(super) fn app(spec: &AppSpec, command: &[String]) -> Failure {
    let strings =
        |list: &[String]| list.iter().map(|text| CString::new(text.as_str())).collect::<Result<Vec<_>, _>>();
    let (Ok(argv), Ok(environment)) = (strings(command), strings(&spec.environment)) else {
        return failure("exec", "the command", "it contains a NUL character", exit::EXEC);
    };
    let Some(name) = command.first().filter(|name| !name.is_empty()) else {
        return failure("exec", "the command", "it is empty (try --exec=BINARY)", exit::EXEC);
    };
    let path = spec.environment.iter().find_map(|variable| variable.strip_prefix("PATH="));
    let mut refusal = None;
    for candidate in candidates(name, path) {
        let Ok(file) = CString::new(candidate.as_str()) else { continue };
        let errno = if through_the_kernel(&candidate) {
            Errno::LOOP
        } else if let Err(errno) = filter(spec, &candidate) {
            errno
        } else {
            sys::execute(&file, &argv, &environment)
        };
        let is_missing = matches!(errno, Errno::NOENT | Errno::NOTDIR) && !diagnose::exists(&candidate);
        if !is_missing && refusal.is_none() {
            refusal = Some((candidate, errno));
        }
        if !matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) {
            break;
        }
    }
    match refusal {
        Some((file, errno)) => failure("exec", &file, diagnose::reason(&file, errno), exit::EXEC),
        None if name.contains('/') => failure("exec", name, "No such file or directory", exit::EXEC),
        None => failure(
            "exec",
            name,
            format!("not found in PATH ({})", path.unwrap_or(FALLBACK_PATH)),
            exit::EXEC,
        ),
    }
}

/// Loads the app's own filter, which may not even let us say what is wrong afterwards: so the file is looked at before.
fn filter(spec: &AppSpec, file: &str) -> Result<(), Errno> {
    let Seccomp::Program(program) = &spec.seccomp else { return Ok(()) };
    rustix::fs::accessat(CWD, file, Access::EXEC_OK, AtFlags::EACCESS)?;
    if rustix::fs::stat(file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir()) {
        return Err(Errno::ACCESS);
    }
    sys::load_seccomp(program)
}

/// Whether the path leads through a link of procfs, by which this program itself, or a file of the host, could be named.
fn through_the_kernel(path: &str) -> bool {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS).err()
        == Some(Errno::LOOP)
}

/// The files that a command's name may mean. One with a slash is a path, others are looked up.
fn candidates(name: &str, path: Option<&str>) -> Vec<String> {
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    path.filter(|path| !path.is_empty())
        .unwrap_or(FALLBACK_PATH)
        .split(':')
        .map(|directory| format!("{}/{name}", if directory.is_empty() { "." } else { directory }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // APPC-106
    #[test]
    fn a_slash_makes_a_path() {
        assert_eq!(candidates("/bin/a", Some("/x")), ["/bin/a"]);
        assert_eq!(candidates("./a", None), ["./a"]);
        assert_eq!(candidates("a", Some("/x::/y")), ["/x/a", "./a", "/y/a"]);
        assert_eq!(candidates("a", None), ["./a", "/bin/a", "/usr/bin/a"]);
    }
}
