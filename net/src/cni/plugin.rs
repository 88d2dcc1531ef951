//! Asking one plugin.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    process::{Pid, Signal, kill_process_group},
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
    /// `ADD`, `DEL` or `CHECK`.
    pub(crate) command: &'static str,
    /// The pod.
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
    let mut child = spawn(&program, request).map_err(failed("start", program.display()))?;
    let text = talk(&mut child, config.to_string().as_bytes(), request.timeout);
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

fn spawn(program: &Path, request: &Request<'_>) -> io::Result<Child> {
    let mut command = Command::new(program);
    command
        .env("CNI_COMMAND", request.command)
        .env("CNI_CONTAINERID", request.uuid)
        .env("CNI_NETNS", request.namespace)
        .env("CNI_IFNAME", request.interface)
        .env("CNI_ARGS", request.args)
        .env("CNI_PATH", request.directories.joined())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0);
    command.spawn()
}

/// Writes the configuration and reads the answer, within the deadline.
fn talk(child: &mut Child, config: &[u8], within: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + within;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(config) {
            // It may have seen enough.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
    }
    let mut text = Vec::new();
    let Some(mut stdout) = child.stdout.take().map(|stdout| File::from(std::os::fd::OwnedFd::from(stdout)))
    else {
        return Ok(text);
    };
    let mut buffer = [0; 8192];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut fds = [PollFd::new(&stdout, PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
            Ok(0) => {
                let seconds = within.as_secs();
                return Err(io::Error::other(format!("it has not ended within {seconds} s and was killed")));
            }
            Ok(_) => {}
        }
        match stdout.read(&mut buffer)? {
            0 => return Ok(text),
            length => text.extend(&buffer[..length]),
        }
        if text.len() as u64 > LONGEST {
            return Err(io::Error::other(format!("its answer has more than {LONGEST} bytes")));
        }
    }
}
