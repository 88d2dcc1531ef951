//! `rkt logs`

use std::{
    fs::File,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    process::Command,
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rkt_pod::{PodDir, State, layout, stage1::LogSink};

use super::{global::Global, uuids::Uuids};
use crate::{output, pod::describe::Description};

/// How often a file is looked at for more.
const INTERVAL: Duration = Duration::from_millis(100);

/// Show the output of a pod's apps.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Go on until the pod has ended
    #[arg(long, short)]
    follow: bool,
    /// Only the output of this app
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    #[command(flatten)]
    pod: Uuids,
}

/// Shows what the apps wrote.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    let pod = args.pod.one(global)?;
    let description = Description::new(pod, &mut Vec::new())?;
    let apps: Vec<String> = match &args.app {
        None => description.apps().into_iter().map(str::to_owned).collect(),
        Some(app) if description.apps().contains(&app.as_str()) => vec![app.clone()],
        Some(app) => bail!(
            "pod {} has no app {app:?} (it has: {})",
            description.pod.uuid(),
            description.apps().join(", ")
        ),
    };
    let Some(runtime) = &description.runtime else {
        bail!("pod {} has not been started (it is {})", description.pod.uuid(), description.state);
    };
    match runtime.log {
        LogSink::Journal => Err(journal(&description, args)),
        LogSink::None => {
            bail!("pod {} is interactive: its output went to its terminal", description.pod.uuid())
        }
        LogSink::Files => files(&description.pod, &apps, description.apps().len() > 1, args.follow),
    }
}

/// Becomes journalctl: the journal's own reader knows its formats, and how to follow it.
fn journal(description: &Description, args: &Args) -> anyhow::Error {
    let several = description.apps().len() > 1 && args.app.is_none();
    let mut command = Command::new("/usr/bin/journalctl");
    command.args(["--quiet", "--no-pager", "_UID=0", "--output"]);
    command.arg(if several { "with-unit" } else { "cat" });
    if several {
        command.args(["--output-fields=MESSAGE"]);
    }
    if args.follow {
        command.args(["--follow", "--lines=all"]);
    }
    command.arg(format!("RKT_POD_UUID={}", description.pod.uuid())).arg("_COMM=stage1");
    if let Some(app) = &args.app {
        command.arg(format!("RKT_APP_NAME={app}"));
    }
    anyhow::Error::from(command.exec()).context("execute /usr/bin/journalctl")
}

/// An app's log file and how far we are in it.
struct Log {
    name: String,
    reader: BufReader<File>,
    partial: Vec<u8>,
}

fn files(pod: &PodDir, apps: &[String], prefixed: bool, follow: bool) -> Result<u8> {
    let open = |name: &String| {
        let path = pod.path().join(layout::app_log(name));
        let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        Ok(Log { name: name.clone(), reader: BufReader::new(file), partial: Vec::new() })
    };
    let mut logs = apps.iter().map(open).collect::<Result<Vec<Log>>>()?;
    loop {
        // Asked before reading: what was written until then is read.
        let runs = follow && pod.state().is_ok_and(|state| state == State::Running);
        let lines = pending(&mut logs)?;
        for (_, index, text) in &lines {
            let mut line =
                if prefixed { format!("{}: ", logs[*index].name).into_bytes() } else { Vec::new() };
            line.extend_from_slice(text);
            output::print(&line)?;
        }
        if !runs {
            return Ok(0);
        }
        sleep(INTERVAL);
    }
}

/// The whole lines that the logs have now, in the order of their times.
fn pending(logs: &mut [Log]) -> Result<Vec<(Vec<u8>, usize, Vec<u8>)>> {
    let mut lines = Vec::new();
    for (index, log) in logs.iter_mut().enumerate() {
        loop {
            log.reader
                .read_until(b'\n', &mut log.partial)
                .with_context(|| format!("read the log of app {:?}", log.name))?;
            if log.partial.last() != Some(&b'\n') {
                break;
            }
            let line = std::mem::take(&mut log.partial);
            // `<time> <stream> <F|P> <text>`
            let mut parts = line.splitn(4, |byte| *byte == b' ');
            if let (Some(time), Some(_), Some(tag), Some(text)) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            {
                let text = if tag == b"P" { text.strip_suffix(b"\n").unwrap_or(text) } else { text };
                lines.push((time.to_vec(), index, text.to_vec()));
            }
        }
    }
    lines.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(lines)
}
