//! `rkt list`

use std::time::SystemTime;

use anyhow::Result;
use rkt_pod::{Error, Place, lookup, names};

use super::{Format, global::Global};
use crate::{
    output::{self, Table},
    pod::describe::Description,
};

/// List pods.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Suppress a legend with the list
    #[arg(long)]
    no_legend: bool,
    /// Use long output format
    #[arg(long)]
    full: bool,
    /// Choose the output format
    #[arg(long)]
    format: Option<Format>,
}

/// Lists pods and their apps.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    let mut problems = Vec::new();
    let mut pods = Vec::new();
    for pod in lookup::all(&global.dir, &Place::VISIBLE)? {
        let uuid = pod.uuid().to_owned();
        match Description::new(pod, &mut problems) {
            Ok(description) => pods.push(description),
            // It moved on while we looked: look once more where it is now.
            Err(Error::Gone(_)) => {
                let found =
                    lookup::by_uuid(&global.dir, &uuid).filter(|pod| Place::VISIBLE.contains(&pod.place()));
                pods.extend(found.and_then(|pod| Description::new(pod, &mut problems).ok()));
            }
            Err(error) => problems.push(format!("pod {uuid}: {error}")),
        }
    }
    let text = match args.format {
        Some(format) => {
            let list: Vec<serde_json::Value> = pods.iter().map(Description::object).collect();
            let list = if list.is_empty() { serde_json::Value::Null } else { list.into() };
            output::json(&list, format == Format::JsonPretty)
        }
        None => table(&pods, args).into_bytes(),
    };
    output::print(&text)?;
    if !problems.is_empty() {
        let line = "-".repeat(40);
        let note = |message: &str| output::note("list", message);
        note(&format!("{} error(s) encountered when listing pods:", problems.len()));
        note(&line);
        for problem in &problems {
            note(problem);
            note(&line);
        }
        note("misc:");
        note(&format!("  rkt's appc version: {}", appc::SPEC_VERSION));
        note(&line);
    }
    Ok(0)
}

fn table(pods: &[Description], args: &Args) -> String {
    let mut header = vec!["UUID", "APP", "IMAGE NAME", "STATE", "CREATED", "STARTED", "NETWORKS"];
    if args.full {
        header.insert(3, "IMAGE ID");
    }
    // Tools that know no names see the columns that there have always been.
    let names: Vec<Option<String>> = pods.iter().map(|pod| names::of(&pod.pod)).collect();
    let named = names.iter().any(Option::is_some);
    if named {
        header.push("NAME");
    }
    let now = SystemTime::now();
    let time = |time: Option<SystemTime>| match time {
        Some(time) if args.full => output::full(time),
        Some(time) => output::relative(time, now),
        None => String::new(),
    };
    let mut table = Table::new(&header, !args.no_legend);
    for (pod, name) in pods.iter().zip(names) {
        let uuid = if args.full { pod.pod.uuid() } else { &pod.pod.uuid()[..8] };
        let mut ends = vec![
            pod.state.to_string(),
            time(pod.pod.created()),
            time(pod.pod.started()),
            pod.networks_line(),
        ];
        ends.extend(named.then(|| name.unwrap_or_default()));
        let mut apps = apps(pod);
        if apps.is_empty() {
            apps.push(["-".to_owned(), "-".to_owned(), "-".to_owned()]);
        }
        for (index, [name, image, id]) in apps.into_iter().enumerate() {
            let first = index == 0;
            let mut row = vec![if first { uuid.to_owned() } else { String::new() }, name, image];
            if args.full {
                row.push(id);
            }
            row.extend(ends.iter().map(|cell| if first { cell.clone() } else { String::new() }));
            table.row(row);
        }
    }
    table.text()
}

fn apps(pod: &Description) -> Vec<[String; 3]> {
    let apps = pod.manifest.iter().flat_map(|manifest| &manifest.apps);
    apps.map(|app| {
        let image = pod.image_name(app.name.as_str()).unwrap_or_else(|| "--".to_owned());
        let id = app.image.id.as_ref().map_or("-", |id| id.as_str());
        [app.name.to_string(), image, id.get(..19).unwrap_or(id).to_owned()]
    })
    .collect()
}
