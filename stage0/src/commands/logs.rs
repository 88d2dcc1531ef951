//! `rkt logs`

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufRead, BufReader, ErrorKind, Read},
    path::PathBuf,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use rkt_pod::{
    PodDir, State, layout,
    stage1::{LogSink, journal_namespace},
};

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
    /// Only the last lines, so many of them; with --follow, those and what comes after
    #[arg(long, short = 'n', value_name = "N")]
    lines: Option<usize>,
    /// Only what was written since then: a moment, or how long ago, as 10m
    #[arg(long, value_name = "TIME", value_parser = output::moment)]
    since: Option<Timestamp>,
    /// Only what was written until then
    #[arg(long, value_name = "TIME", value_parser = output::moment, conflicts_with = "follow")]
    until: Option<Timestamp>,
    /// Begin each line with when it was written
    #[arg(long, short)]
    timestamps: bool,
    /// Only the output of this app
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    #[command(flatten)]
    pod: Uuids,
}

/// Shows what the apps wrote.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    if args.follow && args.since.is_some() && args.lines.is_some() {
        bail!("--follow goes with --since or with --lines, not with both");
    }
    let pod = args.pod.one(global)?;
    let mut problems = Vec::new();
    let description = Description::new(pod, &mut problems)?;
    if let Some(problem) = problems.into_iter().next() {
        bail!(problem);
    }
    let apps: Vec<String> = match &args.app {
        None => description.apps().into_iter().map(str::to_owned).collect(),
        Some(app) if description.apps().contains(&app.as_str()) => vec![app.clone()],
        Some(app) => bail!(
            "pod {} has no app {app:?} (it has: {})",
            description.pod.uuid(),
            description.apps().join(", ")
        ),
    };
    let Some(runtime) = description.runtime() else {
        bail!("pod {} has not been started (it is {})", description.pod.uuid(), description.state);
    };
    match runtime.log {
        LogSink::Journal => journal(&description, args, None),
        LogSink::PodJournal => journal(&description, args, Some(journal_namespace(description.pod.uuid()))),
        LogSink::None => {
            bail!("pod {} is interactive: its output went to its terminal", description.pod.uuid())
        }
        LogSink::Files => files(&description.pod, &apps, args),
    }
}

impl Args {
    /// Whether what was written at a time, as files have it, is to be shown.
    fn wants(&self, time: &[u8]) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let time = std::str::from_utf8(time).ok().and_then(|time| time.parse::<Timestamp>().ok());
        time.is_none_or(|time| {
            self.since.is_none_or(|since| since <= time) && self.until.is_none_or(|until| time <= until)
        })
    }
}

/// Has journalctl read the host's journal, or that of a namespace: the journal's own reader knows its formats, and how to follow it.
fn journal(description: &Description, args: &Args, namespace: Option<String>) -> Result<u8> {
    let prefixed = args.app.is_none() && description.apps().len() > 1;
    let mut command = Command::new("/usr/bin/journalctl");
    // Nothing of the caller's makes it load, run or read something else.
    command.env_clear();
    command.args(["--quiet", "--no-pager", "--output=json", "--output-fields=MESSAGE,RKT_APP_NAME"]);
    command.args(namespace.map(|name| format!("--namespace={name}")));
    if args.follow {
        command.arg("--follow");
    }
    // With both, journalctl has shown the first lines before systemd 254: then they are counted here.
    let counted = args.lines.filter(|_| args.since.is_some());
    match args.lines {
        Some(lines) if counted.is_none() => {
            command.arg(format!("--lines={lines}"));
        }
        _ => {
            command.arg("--lines=all");
        }
    }
    for (option, moment) in [("--since", args.since), ("--until", args.until)] {
        if let Some(moment) = moment {
            let micros = moment.as_microsecond();
            command.arg(format!(
                "{option}=@{}.{:06}",
                micros.div_euclid(1_000_000),
                micros.rem_euclid(1_000_000)
            ));
        }
    }
    // Only root's own entries: anybody may send a field of that name to the journal. More is not to be asked for: of a sender
    // that has ended before journald came to its message, journald knows no name.
    // What systemd itself says of an app is of no stream.
    command.args(["_UID=0", "RKT_STREAM=stdout", "RKT_STREAM=stderr"]);
    command.arg(format!("RKT_POD_UUID={}", description.pod.uuid()));
    if let Some(app) = &args.app {
        command.arg(format!("RKT_APP_NAME={app}"));
    }
    let mut child = command.stdout(Stdio::piped()).spawn().context("execute /usr/bin/journalctl")?;
    let Some(stdout) = child.stdout.take() else { bail!("journalctl has no output") };
    let ended = args.follow.then(|| description.pod.clone());
    let timestamps = args.timestamps;
    let reader = std::thread::spawn(move || show_entries(stdout, prefixed, timestamps, counted));
    if let Some(pod) = ended {
        while pod.state().is_ok_and(|state| state == State::Running) {
            sleep(INTERVAL);
        }
        // What was written last is on its way.
        sleep(INTERVAL);
        if child.kill().is_err() {
            // It has ended by itself.
        }
    }
    let shown = reader.join().map_err(|_| anyhow::anyhow!("reading the journal failed"))?;
    let status = child.wait().context("wait for journalctl")?;
    shown?;
    if !status.success() && !args.follow {
        bail!("journalctl failed ({status})");
    }
    Ok(0)
}

/// Prints the messages of entries, or of the last so many of them, one JSON object a line. A message that is not UTF-8 comes
/// as a list of bytes.
fn show_entries(entries: impl Read, prefixed: bool, timestamps: bool, counted: Option<usize>) -> Result<()> {
    let mut last = VecDeque::new();
    for line in BufReader::new(entries).split(b'\n') {
        let entry: serde_json::Value =
            serde_json::from_slice(&line?).context("read an entry of the journal")?;
        let field = |name: &str| entry.get(name).and_then(serde_json::Value::as_str);
        let mut text = Vec::new();
        if let Some(time) = field("__REALTIME_TIMESTAMP").filter(|_| timestamps)
            && let Ok(time) = time.parse().map_or(Ok(Timestamp::UNIX_EPOCH), Timestamp::from_microsecond)
        {
            text.extend_from_slice(format!("{time} ").as_bytes());
        }
        if let Some(app) = field("RKT_APP_NAME").filter(|_| prefixed) {
            text.extend_from_slice(format!("{app}: ").as_bytes());
        }
        match entry.get("MESSAGE") {
            Some(serde_json::Value::String(message)) => text.extend_from_slice(message.as_bytes()),
            Some(serde_json::Value::Array(bytes)) => {
                text.extend(
                    bytes
                        .iter()
                        .filter_map(serde_json::Value::as_u64)
                        .filter_map(|byte| u8::try_from(byte).ok()),
                );
            }
            _ => {}
        }
        text.push(b'\n');
        let Some(most) = counted else {
            output::print(&text)?;
            continue;
        };
        last.push_back(text);
        if last.len() > most {
            last.pop_front();
        }
    }
    for text in last {
        output::print(&text)?;
    }
    Ok(())
}

/// An app's log file and how far we are in it.
struct Log {
    name: String,
    path: PathBuf,
    /// None as long as there is no file: the app was not started yet, or never was.
    reader: Option<BufReader<File>>,
    partial: Vec<u8>,
    /// Whether what was shown last is a part of a line, that goes on.
    within: bool,
}

impl Log {
    /// Opens the file where there is one now.
    fn reader(&mut self) -> Result<Option<&mut BufReader<File>>> {
        if self.reader.is_none() {
            self.reader = match File::open(&self.path) {
                Ok(file) => Some(BufReader::new(file)),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(error).with_context(|| format!("open {}", self.path.display())),
            };
        }
        Ok(self.reader.as_mut())
    }
}

fn files(pod: &PodDir, apps: &[String], args: &Args) -> Result<u8> {
    let prefixed = apps.len() > 1;
    let log = |name: &String| Log {
        name: name.clone(),
        path: pod.path().join(layout::app_log(name)),
        reader: None,
        partial: Vec::new(),
        within: false,
    };
    let mut logs: Vec<Log> = apps.iter().map(log).collect();
    let mut wanted = args.lines;
    loop {
        // Asked before reading: what was written until then is read.
        let runs = args.follow && pod.state().is_ok_and(|state| state == State::Running);
        let mut lines = pending(&mut logs)?;
        lines.retain(|(time, ..)| args.wants(time));
        // What comes after the first look is shown whole.
        let first = wanted.take().map_or(0, |wanted| last(&lines, wanted));
        for (time, index, text) in &lines[first..] {
            let log = &mut logs[*index];
            let starts = !std::mem::replace(&mut log.within, !text.ends_with(b"\n"));
            let mut line = Vec::new();
            if args.timestamps && starts {
                line.extend_from_slice(time);
                line.push(b' ');
            }
            if prefixed && starts {
                line.extend_from_slice(format!("{}: ", log.name).as_bytes());
            }
            line.extend_from_slice(text);
            output::print(&line)?;
        }
        if !runs {
            return Ok(0);
        }
        sleep(INTERVAL);
    }
}

/// When something was written, by which log's app, and what.
type Message = (Vec<u8>, usize, Vec<u8>);

/// Where the last `wanted` lines begin, each with its parts.
fn last(messages: &[Message], wanted: usize) -> usize {
    let ends = messages.iter().enumerate().rev().filter(|(_, (.., text))| text.ends_with(b"\n"));
    // After the end of the line before them.
    ends.map(|(index, _)| index + 1).nth(wanted).unwrap_or(0)
}

/// The whole lines that the logs have now, in the order of their times.
fn pending(logs: &mut [Log]) -> Result<Vec<Message>> {
    let mut lines = Vec::new();
    for (index, log) in logs.iter_mut().enumerate() {
        loop {
            let mut partial = std::mem::take(&mut log.partial);
            let Some(reader) = log.reader()? else { break };
            let read = reader.read_until(b'\n', &mut partial);
            log.partial = partial;
            read.with_context(|| format!("read the log of app {:?}", log.name))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_counted_with_their_parts() {
        let texts: [&[u8]; 4] = [b"one\n", b"two, ", b"whole\n", b"three\n"];
        let messages: Vec<Message> = texts.iter().map(|text| (Vec::new(), 0, text.to_vec())).collect();
        for (wanted, first) in [(0, 4), (1, 3), (2, 1), (3, 0), (9, 0)] {
            assert_eq!(last(&messages, wanted), first, "{wanted}");
        }
        assert_eq!(last(&[], 1), 0);
    }
}
