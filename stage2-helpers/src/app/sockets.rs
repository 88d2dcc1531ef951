//! Sockets that a service manager listens at for the app, as sd_listen_fds(3) has them: from descriptor 3 on, and said so in the
//! environment of exactly the process that becomes the app.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::process::getpid;

use crate::{
    control::exit,
    failure::{At, Result, failure},
    spec::AppSpec,
    sys,
};

/// The first one.
const FIRST: RawFd = 3;

/// Puts the sockets in their places, and returns the spec with an environment that tells of them. Comes right before the exec,
/// when nothing but `control` is open any more that is still needed.
pub(super) fn give(spec: &AppSpec, sockets: Vec<OwnedFd>, control: &OwnedFd) -> Result<AppSpec> {
    let mut spec = spec.clone();
    if sockets.is_empty() {
        return Ok(spec);
    }
    let (step, object) = ("pass on", "the app's sockets");
    let count = RawFd::try_from(sockets.len()).unwrap_or(RawFd::MAX);
    let free = FIRST.saturating_add(count);
    if control.as_raw_fd() < free {
        return Err(failure(step, object, "there are too many, or too few descriptors", exit::FDS));
    }
    // Out of the way first: the place of one may be where another one is.
    let moved: Vec<OwnedFd> = sockets
        .iter()
        .map(|socket| rustix::io::fcntl_dupfd_cloexec(socket, free))
        .collect::<rustix::io::Result<_>>()
        .at(step, object, exit::FDS)?;
    drop(sockets);
    for (number, socket) in (FIRST..).zip(&moved) {
        sys::place(socket, number).at(step, object, exit::FDS)?;
    }
    for variable in [
        format!("LISTEN_PID={}", getpid().as_raw_nonzero()),
        format!("LISTEN_FDS={count}"),
        format!("LISTEN_FDNAMES={}", spec.listen.join(":")),
    ] {
        let name = variable.split('=').next().map(|name| format!("{name}=")).unwrap_or_default();
        spec.environment.retain(|known| !known.starts_with(&name));
        spec.environment.push(variable);
    }
    Ok(spec)
}
