//! Asking one plugin.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{MemfdFlags, memfd_create},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};
use serde_json::Value;

use crate::error::{Error, Result, failed, refused};

/// More than a plugin has to say.
const LONGEST: u64 = 1024 * 1024;

/// Where plugins are looked for, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories(pub Vec<PathBuf>);

impl Directories {
    /// The administrator's, rkt's own, and where distributions put them.
    pub fn new(local_config: &Path) -> Directories {
        let others = ["/usr/lib/rkt/plugins/net", "/usr/lib/cni", "/usr/libexec/cni", "/opt/cni/bin"];
        let local = std::iter::once(local_config.join("net.d"));
        Directories(local.chain(others.into_iter().map(PathBuf::from)).collect())
    }

    fn joined(&self) -> String {
        self.0.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(":")
    }
}

/// The program of a plugin.
///
/// # Errors
/// Where it is nowhere: says where it was looked for and what to install.
pub fn find(directories: &Directories, name: &str) -> Result<PathBuf> {
    let found = directories.0.iter().map(|directory| directory.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| {
        Error::Refused(format!(
            "plugin {name:?} is in none of {}: install it, for example with the package containernetworking-plugins",
            directories.joined()
        ))
    })
}

/// What a plugin is asked.
#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    /// `ADD`, `DEL`, `CHECK` or `GC`.
    pub(crate) command: &'static str,
    /// The pod; empty where it is about none.
    pub(crate) uuid: &'a str,
    /// Path of the network namespace.
    pub(crate) namespace: &'a str,
    /// The interface in it.
    pub(crate) interface: &'a str,
    /// `CNI_ARGS`
    pub(crate) args: &'a str,
    /// Where plugins are.
    pub(crate) directories: &'a Directories,
    /// How long it may take.
    pub(crate) timeout: Duration,
}

/// Asks a plugin, and returns what it says.
///
/// # Errors
/// What it says to be wrong; or where it is not there, does not end in time, or says what is no answer.
pub(crate) fn ask(name: &str, config: &Value, request: &Request<'_>) -> Result<Option<Value>> {
    let program = find(request.directories, name)?;
    let shown = || format!("plugin {name:?}: {}", request.command);
    let config = file(config.to_string().as_bytes()).map_err(failed("make a file for", shown()))?;
    let mut child = spawn(&program, config, request).map_err(failed("start", program.display()))?;
    let text = talk(&mut child, request.timeout);
    if text.is_err() {
        // Whatever it has started goes with it.
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if group.is_none_or(|group| kill_process_group(group, Signal::KILL).is_err()) {
            child.kill().map_err(failed("kill", shown()))?;
        }
    }
    let status = child.wait().map_err(failed("wait for", shown()))?;
    let text = text.map_err(|error| Error::Refused(format!("{}: {error}", shown())))?;
    let answer = if text.trim_ascii().is_empty() {
        None
    } else {
        let parsed = serde_json::from_slice::<Value>(&text);
        Some(
            parsed
                .map_err(|error| Error::Refused(format!("{}: its answer is not JSON: {error}", shown())))?,
        )
    };
    if status.success() {
        return Ok(answer);
    }
    let answer = answer.unwrap_or_default();
    let said = [&answer["msg"], &answer["details"]].into_iter().filter_map(Value::as_str);
    let said: Vec<&str> = said.filter(|text| !text.is_empty()).collect();
    let reason = if said.is_empty() { status.to_string() } else { said.join("; ") };
    refused(format!("{}: {}", shown(), reason.replace(|c: char| c.is_control(), " ")))
}

/// The configuration as a file that it can be read from: a plugin that does not read it cannot keep us waiting.
fn file(config: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("cni-config", MemfdFlags::CLOEXEC)?);
    file.write_all(config)?;
    file.rewind()?;
    Ok(file)
}

fn spawn(program: &Path, config: File, request: &Request<'_>) -> io::Result<Child> {
    let mut command = Command::new(program);
    command
        .env("CNI_COMMAND", request.command)
        .env("CNI_PATH", request.directories.joined())
        .stdin(config)
        .stdout(Stdio::piped())
        .process_group(0);
    // Without a pod it is about the network as a whole.
    if !request.uuid.is_empty() {
        command
            .env("CNI_CONTAINERID", request.uuid)
            .env("CNI_NETNS", request.namespace)
            .env("CNI_IFNAME", request.interface)
            .env("CNI_ARGS", request.args);
    }
    command.spawn()
}

/// Reads the answer, until the plugin has ended. What it has started and left behind may hold its stdout open.
fn talk(child: &mut Child, within: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + within;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    let ended = pidfd_open(pid, PidfdFlags::empty())?;
    let mut text = Vec::new();
    let Some(stdout) = child.stdout.take() else { return Ok(text) };
    rustix::io::ioctl_fionbio(&stdout, true)?;
    let mut stdout = Some(File::from(OwnedFd::from(stdout)));
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut fds = vec![PollFd::new(&ended, PollFlags::IN)];
        fds.extend(stdout.as_ref().map(|stdout| PollFd::new(stdout, PollFlags::IN)));
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
            Ok(0) => {
                let seconds = within.as_secs();
                return Err(io::Error::other(format!("it has not ended within {seconds} s and was killed")));
            }
            Ok(_) => {}
        }
        let has_ended = !fds[0].revents().is_empty();
        if let Some(open) = &mut stdout
            && read(open, &mut text)?
        {
            stdout = None;
        }
        if has_ended {
            return Ok(text);
        }
    }
}

/// Reads what there is by now. Returns whether there will be no more.
fn read(stdout: &mut File, text: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 8192];
    loop {
        match stdout.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(length) => text.extend(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if text.len() as u64 > LONGEST {
            return Err(io::Error::other(format!("its answer has more than {LONGEST} bytes")));
        }
    }
}
