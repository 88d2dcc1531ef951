//! `rkt app list|status`

use std::fmt::Write as _;

use anyhow::Result;
use rkt_pod::lookup;
use serde_json::Value;

use super::must_have;
use crate::{
    commands::{Format, global::Global},
    output::{self, Table},
    pod::describe::Description,
};

/// List the apps of a pod.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// UUID of the pod, or the beginning of it
    #[arg(value_name = "UUID")]
    uuid: String,
    /// Do not print the header
    #[arg(long)]
    no_legend: bool,
    /// Choose the output format
    #[arg(long)]
    format: Option<Format>,
}

/// Show the state of an app.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// UUID of the pod, or the beginning of it
    #[arg(value_name = "UUID")]
    uuid: String,
    /// The app
    #[arg(long, value_name = "NAME")]
    app: String,
    /// Choose the output format
    #[arg(long)]
    format: Option<Format>,
}

fn describe(global: &Global, uuid: &str) -> Result<Description> {
    let mut problems = Vec::new();
    let description = Description::new(lookup::by_prefix(&global.dir, uuid)?, &mut problems)?;
    for problem in problems {
        output::note("app", &problem);
    }
    Ok(description)
}

/// Prints the apps and their states.
pub(super) fn list(global: &Global, args: &ListArgs) -> Result<u8> {
    let description = describe(global, &args.uuid)?;
    let apps = description.apps();
    let text = match args.format {
        Some(format) => {
            let all = apps.iter().map(|app| description.app_object(app)).collect();
            output::json(&Value::Array(all), format == Format::JsonPretty)
        }
        None => {
            let mut table = Table::new(&["NAME", "STATE"], !args.no_legend);
            for app in apps {
                table.row(vec![app.to_owned(), description.app_state(app).to_owned()]);
            }
            table.text().into_bytes()
        }
    };
    output::print(&text)?;
    Ok(0)
}

/// Prints what is known of one app.
pub(super) fn status(global: &Global, args: &StatusArgs) -> Result<u8> {
    let description = describe(global, &args.uuid)?;
    if let Some(manifest) = &description.manifest {
        must_have(manifest, &description.pod, &args.app)?;
    }
    let object = description.app_object(&args.app);
    let text = match args.format {
        Some(format) => output::json(&object, format == Format::JsonPretty),
        None => lines(&object).into_bytes(),
    };
    output::print(&text)?;
    Ok(0)
}

/// The object's fields as `name=value`, a line each.
fn lines(object: &Value) -> String {
    let mut text = String::new();
    for (name, value) in object.as_object().into_iter().flatten() {
        let value = match (name.as_str(), value) {
            ("created_at" | "started_at" | "finished_at", Value::Number(time)) => {
                output::full_nanoseconds(time.as_i64().unwrap_or_default())
            }
            ("mounts", Value::Array(mounts)) => mounts.iter().map(mount).collect::<Vec<_>>().join(","),
            (_, Value::Object(map)) => {
                let pairs = map.iter().map(|(key, value)| format!("{key}:{}", value.as_str().unwrap_or("")));
                pairs.collect::<Vec<_>>().join(",")
            }
            (_, Value::String(text)) => text.clone(),
            (_, other) => other.to_string(),
        };
        if writeln!(text, "{name}={value}").is_err() {
            // Writing to a string does not fail.
        }
    }
    text
}

fn mount(mount: &Value) -> String {
    let text = |name: &str| mount[name].as_str().unwrap_or_default();
    format!("{}:{}:(read_only:{})", text("host_path"), text("container_path"), mount["read_only"])
}
