//! `rkt enter`

use std::{ffi::OsString, path::PathBuf, thread::sleep, time::Duration};

use anyhow::{Context, Result, bail};
use rkt_pod::{PodDir, State, lookup};

use super::{global::Global, need_root, uuids};
use crate::{output::note, pod::describe::Description, stage1};

/// What is executed where nothing else is asked for.
const DEFAULT_COMMAND: &str = "/bin/bash";

/// How often we look for a pod that is about to start.
const INTERVAL: Duration = Duration::from_millis(100);

/// Run a command in an app of a running pod.
///
/// The command is root, and otherwise has what the app has: its namespaces, its cgroup and limits, its capabilities, its
/// system call filter, its environment.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The app, where the pod has several
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// Read the pod's UUID from a file
    #[arg(long, value_name = "FILE")]
    uuid_file: Option<PathBuf>,
    /// UUID of the pod, or the beginning of it; not with --uuid-file
    #[arg(value_name = "UUID")]
    uuid: Option<OsString>,
    /// The command and its arguments; /bin/bash where there is none
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Becomes the command. Returns only on failure.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    need_root()?;
    let (uuid, mut command) = args.split()?;
    let pod = lookup::by_prefix(&global.dir, &uuid)?;
    let pid = wait_for_init(&pod)?;
    let mut problems = Vec::new();
    let app = Description::new(pod.clone(), &mut problems)?.choose_app(args.app.as_deref(), problems)?;
    if command.is_empty() {
        note("enter", &format!("no command given, taking {DEFAULT_COMMAND}"));
        command.push(DEFAULT_COMMAND.into());
    }
    Err(stage1::enter(&stage1::program()?, &pod, pid, &app, &command))
}

impl Args {
    /// The UUID and the command. With a file the first word belongs to the command.
    fn split(&self) -> Result<(String, Vec<OsString>)> {
        let mut words = self.uuid.iter().chain(&self.command);
        let uuid = match &self.uuid_file {
            Some(file) => uuids::from_file(file)?,
            None => {
                let uuid = words.next().context("must provide a pod UUID (see rkt list)")?;
                uuid.to_str().with_context(|| format!("{uuid:?} is not a UUID"))?.to_owned()
            }
        };
        let command = words.enumerate().filter(|(index, word)| *index > 0 || *word != "--");
        Ok((uuid, command.map(|(_, word)| word.clone()).collect()))
    }
}

/// The PID of the pod's init, for which we wait as long as the pod is about to start.
fn wait_for_init(pod: &PodDir) -> Result<u32> {
    loop {
        // Asked before looking: what runs and has no init by then will have one.
        let state = pod.state()?;
        if state != State::Running {
            bail!("pod {:?} is not running (it is {state})", pod.uuid());
        }
        if let Some(pid) = pod.pid() {
            return Ok(pid);
        }
        sleep(INTERVAL);
    }
}
