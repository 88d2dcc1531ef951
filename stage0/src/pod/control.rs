//! Changing a pod that runs: its manifest, and what its supervisor is asked for.

use std::{fs, os::fd::AsRawFd, path::Path};

use anyhow::{Context, Result, bail};
use rkt_pod::{
    layout,
    stage1::{AppReply, AppRequest},
};
use rustix::{
    fs::{FlockOperation, Mode, OFlags},
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType},
};

/// Bytes of an answer, at most.
const LARGEST_REPLY: usize = 64 << 10;

/// Waits until nobody else changes the pod's manifest. Others wait until what is returned is dropped.
pub(crate) fn change(pod: &Path) -> Result<fs::File> {
    let path = pod.join(layout::CHANGE_LOCK);
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("open {}", path.display()))?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::LockExclusive))
        .with_context(|| format!("lock {}", path.display()))?;
    Ok(file)
}

/// Asks the supervisor of the pod, and waits for its answer.
pub(crate) fn ask(pod: &Path, request: &AppRequest) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory =
        rustix::fs::open(pod, flags, Mode::empty()).with_context(|| format!("open {}", pod.display()))?;
    // By its number: the path of a data directory may be longer than an address can be.
    let address = format!("/proc/self/fd/{}/{}", directory.as_raw_fd(), layout::CONTROL);
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .context("make a socket")?;
    match rustix::net::connect(&socket, &SocketAddrUnix::new(address.as_str())?) {
        Ok(()) => {}
        Err(Errno::CONNREFUSED | Errno::NOENT) => {
            bail!("its supervisor does not listen: it has ended, or starts up")
        }
        Err(errno) => return Err(errno).context("reach its supervisor"),
    }
    rustix::net::send(&socket, &serde_json::to_vec(request)?, SendFlags::NOSIGNAL)
        .context("ask its supervisor")?;
    let mut text = vec![0; LARGEST_REPLY];
    let (length, _) =
        rustix::io::retry_on_intr(|| rustix::net::recv(&socket, &mut text[..], RecvFlags::empty()))
            .context("hear from its supervisor")?;
    if length == 0 {
        bail!("its supervisor has ended without an answer");
    }
    let reply: AppReply = serde_json::from_slice(&text[..length]).context("the supervisor's answer")?;
    match reply.error {
        None => Ok(()),
        Some(error) => bail!(error),
    }
}
