//! `rkt events`

use std::{
    collections::HashMap,
    io,
    time::{Instant, SystemTime},
};

use anyhow::{Context, Result};
use rkt_pod::{PodDir, lookup, names};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
};
use serde_json::{Map, Value, json};

use super::{Format, global::Global};
use crate::{
    output,
    pod::{
        describe::Description,
        events::{Event, Kind, Watcher},
    },
};

/// Show what happens to pods, as it happens: that they are created, prepared, started, have exited, are removed, and that
/// machined registers them as machines.
///
/// Nothing is told of what has happened before.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Choose the output format: one object a line, or for people
    #[arg(long)]
    format: Option<Format>,
}

/// Shows them until nobody reads any more.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    if rustix::process::geteuid().is_root() {
        PodDir::make_places(&global.dir)?;
    }
    let mut watcher = Watcher::new(&global.dir)?;
    let mut names = HashMap::new();
    loop {
        for event in watcher.next()? {
            output::print(&text(global, &event, &mut names, args.format))?;
        }
        let now = Instant::now();
        let timeout = watcher.deadline().map(|at| at.saturating_duration_since(now));
        let timeout = timeout.map(Timespec::try_from).transpose().context("wait for events")?;
        let output = io::stdout();
        let mut fds = [PollFd::new(&watcher, PollFlags::IN), PollFd::new(&output, PollFlags::empty())];
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) if fds[1].revents().intersects(PollFlags::ERR) => return Ok(0),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("wait for events"),
        }
    }
}

/// An event as it is shown. What is known of the pod only in its directory is missing once that is gone.
fn text(
    global: &Global,
    event: &Event,
    names: &mut HashMap<String, String>,
    format: Option<Format>,
) -> Vec<u8> {
    let now = SystemTime::now();
    let pod = lookup::by_uuid(&global.dir, &event.uuid);
    if let Some(name) = pod.as_ref().and_then(names::of) {
        names.insert(event.uuid.clone(), name);
    }
    let name = match event.kind {
        Kind::Removed => names.remove(&event.uuid),
        _ => names.get(&event.uuid).cloned(),
    };
    let apps = pod.and_then(|pod| Description::new(pod, &mut Vec::new()).ok()).map(|pod| apps(&pod));
    let statuses = apps.filter(|apps| !apps.is_empty());
    let Some(format) = format else {
        let mut line = format!("{} {} {}", output::full(now), event.uuid, event.kind.as_str());
        if let Some(name) = name {
            line.push_str(&format!(" name={name}"));
        }
        if let Some(machine) = &event.machine {
            line.push_str(&format!(" machine={machine}"));
        }
        for (app, status) in statuses.iter().flatten() {
            match status.as_i64().filter(|_| event.kind == Kind::Exited) {
                Some(status) => line.push_str(&format!(" app-{app}={status}")),
                None => line.push_str(&format!(" app={app}")),
            }
        }
        return (line + "\n").into_bytes();
    };
    let mut object = Map::new();
    object.insert("time".to_owned(), json!(output::seconds(now)));
    object.insert("event".to_owned(), json!(event.kind.as_str()));
    object.insert("name".to_owned(), json!(event.uuid));
    if let Some(name) = name {
        object.insert("pod_name".to_owned(), json!(name));
    }
    if let Some(machine) = &event.machine {
        object.insert("machine".to_owned(), json!(machine));
    }
    if let Some(statuses) = statuses {
        object.insert("app_names".to_owned(), json!(statuses.keys().collect::<Vec<_>>()));
        if event.kind == Kind::Exited {
            object.insert("app_statuses".to_owned(), Value::Object(statuses));
        }
    }
    output::json(&Value::Object(object), format == Format::JsonPretty)
}

/// The apps, with the statuses of those that have one.
fn apps(pod: &Description) -> Map<String, Value> {
    pod.apps().into_iter().map(|app| (app.to_owned(), json!(pod.pod.exit_status(app)))).collect()
}
