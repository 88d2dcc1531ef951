//! Finding and calling a stage1.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use rkt_pod::{
    Lock, PodDir, failpoint,
    stage1::{self, AttachArgs, ENV_LOCK_FD, Entry, RunArgs},
};

/// What a pod's programs get of our environment. Everything else, and whatever makes a program load other code, stays
/// out. `PATH` is fixed: nothing is looked up in it.
const ENVIRONMENT: [&str; 10] = [
    "TERM",
    "LANG",
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
];

/// The built-in stage1: beside this executable in a build tree, else where it is installed.
pub(crate) fn program() -> Result<PathBuf> {
    let own = std::env::current_exe().context("find own executable")?;
    let directory = own.parent().unwrap_or(Path::new("/"));
    let prefix = directory.parent().unwrap_or(Path::new("/"));
    let candidates = [directory.join("stage1"), prefix.join("lib/rkt/stage1/stage1")];
    match candidates.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => bail!(
            "stage1 is neither {} nor {}: is rkt installed completely?",
            candidates[0].display(),
            candidates[1].display()
        ),
    }
}

fn command(program: &Path, entry: Entry, pod: &PodDir) -> Command {
    let mut command = Command::new(program);
    command.arg0(entry.name()).current_dir(pod.path()).env_clear();
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    for name in ENVIRONMENT {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    // Tests kill stage1 at its steps, too.
    #[cfg(debug_assertions)]
    for variable in rkt_pod::failpoint::VARIABLES {
        if let Some(step) = std::env::var_os(variable) {
            command.env(variable, step);
        }
    }
    command
}

/// Becomes the pod. Returns only where that fails.
pub(crate) fn run(program: &Path, pod: &PodDir, lock: &Lock, args: &RunArgs) -> anyhow::Error {
    let fd = match lock.pass_on() {
        Ok(fd) => fd,
        Err(errno) => return anyhow::Error::from(errno).context("pass on the pod's lock"),
    };
    failpoint!("pod-executes");
    let error =
        command(program, Entry::Run, pod).env(ENV_LOCK_FD, fd.to_string()).args(args.to_args()).exec();
    anyhow::Error::from(error).context(format!("execute {}", program.display()))
}

/// Becomes a command in an app of the pod. Returns only where that fails.
pub(crate) fn enter(program: &Path, pod: &PodDir, pid: u32, app: &str, words: &[OsString]) -> anyhow::Error {
    let error = command(program, Entry::Enter, pod).args(stage1::enter_args(pid, app, words)).exec();
    anyhow::Error::from(error).context(format!("execute {}", program.display()))
}

/// Becomes what connects our streams to an app's. Returns only where that fails.
pub(crate) fn attach(program: &Path, pod: &PodDir, args: &AttachArgs) -> anyhow::Error {
    let error = command(program, Entry::Attach, pod).args(args.to_args()).exec();
    anyhow::Error::from(error).context(format!("execute {}", program.display()))
}

/// Calls another entry point for a pod and waits for it.
pub(crate) fn call(entry: Entry, pod: &PodDir, flags: &[&str]) -> Result<()> {
    let program = program()?;
    let status = command(&program, entry, pod)
        .args(flags)
        .arg(pod.uuid())
        .status()
        .with_context(|| format!("execute {}", program.display()))?;
    if !status.success() {
        bail!("stage1's {} failed for pod {:?}", entry.name(), pod.uuid());
    }
    Ok(())
}
