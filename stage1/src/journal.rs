//! A journal of the pod's own: a namespace of journald's, with an instance of journald that runs while the pod does
//! (systemd-journald.service(8)).
//!
//! Its files are in the host's `/var/log/journal`, where `journalctl --namespace` finds them until the pod is collected. Init has
//! them mounted where `journalctl -M` looks.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::{
        fd::OwnedFd,
        unix::{fs::DirBuilderExt, net::UnixStream},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rkt_pod::stage1::journal_namespace;
use rustix::{fs::CWD, mount::OpenTreeFlags};

use crate::sys;

/// Where journald keeps its files.
const PERSISTENT: &str = "/var/log/journal";
const VOLATILE: &str = "/run/log/journal";

/// How long journald may take to write all that it has been sent.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 4096;

/// Where an instance of journald listens.
pub(crate) fn socket(uuid: &str) -> PathBuf {
    runtime_directory(uuid).join("socket")
}

/// The units that listen for it, and start journald when something is said, or asked.
pub(crate) fn sockets(uuid: &str) -> [String; 2] {
    ["", "-varlink"].map(|kind| format!("systemd-journald{kind}@{}.socket", journal_namespace(uuid)))
}

/// Waits until all that was said is written, where journald is there to be spoken to.
pub(crate) fn synchronize(uuid: &str) -> Result<()> {
    // A method of its varlink interface (https://varlink.org/Method-Call), as `journalctl --sync` calls it.
    const CALL: &[u8] = b"{\"method\":\"io.systemd.Journal.Synchronize\"}\0";
    let path = runtime_directory(uuid).join("io.systemd.journal");
    if !path.exists() {
        return Ok(());
    }
    let ask = || -> io::Result<String> {
        let mut stream = UnixStream::connect(&path)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.write_all(CALL)?;
        let mut answer = Vec::new();
        BufReader::new(stream.take(MAX_ANSWER)).read_until(0, &mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = ask().with_context(|| format!("synchronize the pod's journal at {}", path.display()))?;
    if answer.is_empty() || answer.contains("\"error\"") {
        bail!("synchronize the pod's journal: journald answers {answer:?}");
    }
    Ok(())
}

/// Where the files of a machine are in its root, for those who look for them there. The pod's identity as a machine is its UUID
/// without dashes (machine-id(5)).
pub(crate) fn place(uuid: &str) -> String {
    format!("var/log/journal/{}", uuid.replace('-', ""))
}

fn runtime_directory(uuid: &str) -> PathBuf {
    PathBuf::from(format!("/run/systemd/journal.{}", journal_namespace(uuid)))
}

/// The name of the directory that journald has its files in.
fn files(uuid: &str) -> Result<String> {
    let host = fs::read_to_string("/etc/machine-id").context("read /etc/machine-id")?;
    let host = host.trim();
    if host.len() != 32 || !host.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        bail!("/etc/machine-id has no machine ID, without which there is no journal");
    }
    Ok(format!("{host}.{}", journal_namespace(uuid)))
}

/// Makes the directory of the journal's files, before journald does, and returns it as a detached read-only mount.
pub(crate) fn make(uuid: &str) -> Result<OwnedFd> {
    let path = Path::new(PERSISTENT).join(files(uuid)?);
    let make = || -> io::Result<OwnedFd> {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(&path)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
        let mount = rustix::mount::open_tree(CWD, &path, flags)?;
        sys::seal(&mount)?;
        Ok(mount)
    };
    make().with_context(|| format!("make the pod's journal {}", path.display()))
}

/// Ends the instance of journald, if it is still there, and removes all that it has written.
pub(crate) fn remove(uuid: &str) -> Result<()> {
    let mut directories = vec![runtime_directory(uuid)];
    // Without an ID the host has no journal.
    if let Ok(files) = files(uuid) {
        directories.extend([PERSISTENT, VOLATILE].map(|parent| Path::new(parent).join(&files)));
    }
    directories.retain(|directory| directory.symlink_metadata().is_ok());
    if directories.is_empty() {
        return Ok(());
    }
    // Whether they were there or not: what counts is what is left.
    Command::new("/usr/bin/systemctl")
        .args(["stop", "--quiet", "--no-ask-password", "--"])
        .args(sockets(uuid))
        .arg(format!("systemd-journald@{}.service", journal_namespace(uuid)))
        .stderr(Stdio::null())
        .status()
        .context("run systemctl stop")?;
    for directory in directories {
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove {}", directory.display()));
            }
            _ => {}
        }
    }
    Ok(())
}
