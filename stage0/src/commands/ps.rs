//! `rkt ps`

use anyhow::{Result, bail};
use rkt_pod::State;
use serde_json::{Value, json};

use super::{Format, global::Global, uuids::Uuids};
use crate::{
    output::{self, Table},
    pod::{describe::Description, processes},
};

/// Show the processes of a running pod.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Do not print the header
    #[arg(long)]
    no_legend: bool,
    /// Choose the output format
    #[arg(long)]
    format: Option<Format>,
    #[command(flatten)]
    pod: Uuids,
}

/// Lists them.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    let mut problems = Vec::new();
    let description = Description::new(args.pod.one(global)?, &mut problems)?;
    if description.state != State::Running {
        bail!("pod {:?} is not running (it is {})", description.pod.uuid(), description.state);
    }
    let processes = processes::of(&description.pod, &description.apps())?;
    let text = match args.format {
        Some(format) => {
            let list = processes.iter().map(object).collect();
            output::json(&Value::Array(list), format == Format::JsonPretty)
        }
        None => {
            let header = ["APP", "PID", "POD PID", "UID", "STATE", "THREADS", "MEMORY", "CPU", "COMMAND"];
            let mut table = Table::new(&header, !args.no_legend);
            for process in &processes {
                table.row(vec![
                    process.app.clone().unwrap_or_else(|| "-".to_owned()),
                    process.pid.to_string(),
                    process.pod_pid.to_string(),
                    process.uid.to_string(),
                    process.state.to_string(),
                    process.threads.to_string(),
                    output::size(process.memory),
                    format!("{:.2}s", process.cpu.as_secs_f64()),
                    rkt_pod::message::plain(&process.command),
                ]);
            }
            table.text().into_bytes()
        }
    };
    output::print(&text)?;
    Ok(0)
}

fn object(process: &processes::Process) -> Value {
    json!({
        "app": process.app,
        "pid": process.pid,
        "pod_pid": process.pod_pid,
        "uid": process.uid,
        "state": process.state.to_string(),
        "threads": process.threads,
        "memory": process.memory,
        "cpu_seconds": process.cpu.as_secs_f64(),
        "read_bytes": process.io[0],
        "written_bytes": process.io[1],
        "command": process.command,
    })
}
