//! `rkt stats`

use std::{
    collections::BTreeMap,
    io::IsTerminal,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use rkt_pod::{PodDir, State};
use serde_json::{Value, json};

use super::{Format, global::Global, uuids::Uuids};
use crate::{
    output::{self, Table},
    pod::{
        describe::Description,
        duration,
        processes::{self, Usage},
    },
};

/// How long processor time is counted where one look is wanted.
const GLANCE: Duration = Duration::from_millis(200);

/// Goes to the upper left corner and removes what is below (ECMA-48).
const HOME: &str = "\x1b[H\x1b[J";

/// Show what the apps of a running pod take of the machine, again and again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Look once
    #[arg(long)]
    no_stream: bool,
    /// How often to look
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    interval: Duration,
    /// Do not print the header
    #[arg(long)]
    no_legend: bool,
    /// Choose the output format
    #[arg(long)]
    format: Option<Format>,
    #[command(flatten)]
    pod: Uuids,
}

/// Looks until the pod has ended, or once.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    let pod = args.pod.one(global)?;
    let Some(mut before) = look(&pod)? else {
        bail!("pod {:?} is not running (it is {})", pod.uuid(), pod.state()?);
    };
    let interval = if args.no_stream { GLANCE } else { args.interval.max(Duration::from_millis(10)) };
    loop {
        let since = Instant::now();
        sleep(interval);
        let Some(now) = look(&pod)? else { return Ok(0) };
        output::print(&show(&before, &now, since.elapsed(), args))?;
        if args.no_stream {
            return Ok(0);
        }
        before = now;
    }
}

/// What the apps take; `None` where the pod does not run any more.
fn look(pod: &PodDir) -> Result<Option<BTreeMap<String, Usage>>> {
    let mut problems = Vec::new();
    let Ok(description) = Description::new(pod.clone(), &mut problems) else { return Ok(None) };
    if description.state != State::Running || pod.pid().is_none() {
        return Ok(None);
    }
    match processes::of(pod, &description.apps()) {
        Ok(processes) => Ok(Some(processes::usage(&processes))),
        // It has ended between the two looks.
        Err(_) if !matches!(pod.state(), Ok(State::Running)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn show(
    before: &BTreeMap<String, Usage>,
    now: &BTreeMap<String, Usage>,
    elapsed: Duration,
    args: &Args,
) -> Vec<u8> {
    // Percent of one processor.
    let percent = |app: &String, usage: &Usage| {
        let earlier = before.get(app).map_or(Duration::ZERO, |usage| usage.cpu);
        usage.cpu.saturating_sub(earlier).as_secs_f64() / elapsed.as_secs_f64() * 100.0
    };
    if let Some(format) = args.format {
        let list = now.iter().map(|(app, usage)| {
            json!({
                "app": app,
                "cpu_percent": percent(app, usage),
                "cpu_seconds": usage.cpu.as_secs_f64(),
                "memory": usage.memory,
                "memory_limit": usage.memory_limit,
                "read_bytes": usage.io[0],
                "written_bytes": usage.io[1],
                "pids": usage.pids,
            })
        });
        return output::json(&Value::Array(list.collect()), format == Format::JsonPretty);
    }
    let header = ["APP", "CPU %", "CPU", "MEMORY", "LIMIT", "READ", "WRITTEN", "PIDS"];
    let mut table = Table::new(&header, !args.no_legend);
    for (app, usage) in now {
        table.row(vec![
            app.clone(),
            format!("{:.1}", percent(app, usage)),
            format!("{:.2}s", usage.cpu.as_secs_f64()),
            output::size(usage.memory),
            usage.memory_limit.map_or_else(|| "-".to_owned(), output::size),
            output::size(usage.io[0]),
            output::size(usage.io[1]),
            usage.pids.to_string(),
        ]);
    }
    let again = !args.no_stream && std::io::stdout().is_terminal();
    format!("{}{}", if again { HOME } else { "" }, table.text()).into_bytes()
}
