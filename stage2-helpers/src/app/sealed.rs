//! The program of this process, which whoever gets hold of `/proc/<pid>/exe` must not be able to write to.
//!
//! An image can have the kernel execute us in place of its command: by a script whose interpreter is `/proc/self/exe`. Then
//! we are a process like any other of the app's, and our program is open to them. stage1 starts us through a read-only mount
//! of our own; systemd executes the file itself, and we have to go through such a mount first.

use std::{
    env,
    ffi::{CString, OsString},
    os::unix::ffi::OsStringExt,
};

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags};

use crate::{
    control::exit,
    failure::{At, Result, failure},
    mounts,
    sys::{self, Attributes},
};

const OWN: &str = "/proc/self/exe";

/// Executes this program once more, through a read-only mount, unless it was executed so already.
pub(super) fn make_sure() -> Result<()> {
    let (step, object, status) = ("seal", "app-exec", exit::FDS);
    let mount = rustix::fs::statvfs(OWN).at(step, object, status)?;
    if mount.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(());
    }
    let program = rustix::fs::openat(CWD, OWN, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let copy = program.and_then(|program| mounts::copy(program, "")).at(step, object, status)?;
    sys::set_attributes(&copy, Attributes::READ_ONLY.and(Attributes::NO_DEVICES), false)
        .at(step, object, status)?;
    let strings = |list: Vec<OsString>| -> Result<Vec<CString>> {
        let strings = list.into_iter().map(|text| CString::new(text.into_vec()));
        strings.collect::<std::result::Result<_, _>>().map_err(|error| failure(step, object, error, status))
    };
    let argv = strings(env::args_os().collect())?;
    let environment = env::vars_os().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        name
    });
    let environment = strings(environment.collect())?;
    Err(sys::execute_open(&copy, &argv, &environment)).at(step, object, status)
}
