//! `rkt list`

use std::{
    collections::HashMap,
    num::NonZero,
    thread::{self, ScopedJoinHandle},
    time::SystemTime,
};

use anyhow::Result;
use appc::types::ImageId;
use rkt_pod::{Error, Place, PodDir, lookup, names};

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
    let pods = lookup::all(&global.dir, &Place::VISIBLE)?;
    let now = SystemTime::now();
    let (text, problems) = match args.format {
        Some(format) => {
            let (list, problems) = each(global, &pods, |pod, _| pod.object());
            let list = if list.is_empty() { serde_json::Value::Null } else { list.into() };
            (output::json(&list, format == Format::JsonPretty), problems)
        }
        None => {
            let named = names::noted(&global.dir)?;
            let row = |pod: &Description, images: &mut Images| {
                let name = named.contains(pod.pod.uuid()).then(|| names::in_view(&pod.view)).flatten();
                Row::new(pod, name, images, args.full, now)
            };
            let (rows, problems) = each(global, &pods, row);
            (table(rows, args).into_bytes(), problems)
        }
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

/// Names of images that were read already, by their IDs and what pods call them.
type Images = HashMap<String, String>;

/// How many pods it takes until a thread of their own is worth its start.
const MANY: usize = 256;

/// What is to be shown of each pod, and what is wrong with some. Thousands of pods are looked at by all processors: it is
/// the kernel's work, which opens their files.
fn each<T: Send>(
    global: &Global,
    pods: &[PodDir],
    show: impl Fn(&Description, &mut Images) -> T + Sync,
) -> (Vec<T>, Vec<String>) {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(pods.len() / MANY).max(1);
    let share = pods.len().div_ceil(threads).max(1);
    let show = &show;
    let parts: Vec<(Vec<T>, Vec<String>)> = thread::scope(|scope| {
        // The first share is this thread's own.
        let others: Vec<_> = pods
            .chunks(share)
            .skip(1)
            .map(|pods| (pods, thread::Builder::new().spawn_scoped(scope, move || look(global, pods, show))))
            .collect();
        let own = look(global, &pods[..share.min(pods.len())], show);
        let others = others.into_iter().map(|(pods, thread)| match thread.map(ScopedJoinHandle::join) {
            Ok(Ok(part)) => part,
            // No thread can be had: it goes slower.
            Err(_) | Ok(Err(_)) => look(global, pods, show),
        });
        std::iter::once(own).chain(others).collect()
    });
    let mut shown = Vec::with_capacity(pods.len());
    let mut problems = Vec::new();
    for (part, wrong) in parts {
        shown.extend(part);
        problems.extend(wrong);
    }
    (shown, problems)
}

fn look<T>(
    global: &Global,
    pods: &[PodDir],
    show: &impl Fn(&Description, &mut Images) -> T,
) -> (Vec<T>, Vec<String>) {
    let mut shown = Vec::with_capacity(pods.len());
    let mut problems = Vec::new();
    let mut images = Images::new();
    for pod in pods {
        match Description::new(pod.clone(), &mut problems) {
            Ok(description) => shown.push(show(&description, &mut images)),
            // It moved on while we looked: look once more where it is now.
            Err(Error::Gone(_)) => {
                let found = lookup::by_uuid(&global.dir, pod.uuid())
                    .filter(|pod| Place::VISIBLE.contains(&pod.place()));
                let found = found.and_then(|pod| Description::new(pod, &mut problems).ok());
                shown.extend(found.map(|pod| show(&pod, &mut images)));
            }
            Err(error) => problems.push(format!("pod {}: {error}", pod.uuid())),
        }
    }
    (shown, problems)
}

/// What the table shows of a pod.
struct Row {
    uuid: String,
    /// Name, image and image ID of each.
    apps: Vec<[String; 3]>,
    /// State and times.
    state: [String; 3],
    networks: String,
    name: Option<String>,
}

impl Row {
    fn new(pod: &Description, name: Option<String>, images: &mut Images, full: bool, now: SystemTime) -> Row {
        let time = |time: Option<SystemTime>| match time {
            Some(time) if full => output::full(time),
            Some(time) => output::relative(time, now),
            None => String::new(),
        };
        let uuid = pod.pod.uuid();
        let mut apps = apps(pod, images);
        if apps.is_empty() {
            apps.push(["-".to_owned(), "-".to_owned(), "-".to_owned()]);
        }
        Row {
            uuid: if full { uuid } else { &uuid[..8] }.to_owned(),
            apps,
            state: [pod.state.to_string(), time(pod.view.created()), time(pod.view.started())],
            networks: pod.networks_line(),
            name,
        }
    }
}

fn table(rows: Vec<Row>, args: &Args) -> String {
    let mut header = vec!["UUID", "APP", "IMAGE NAME", "STATE", "CREATED", "STARTED", "NETWORKS"];
    if args.full {
        header.insert(3, "IMAGE ID");
    }
    // Tools that know no names see the columns that there have always been.
    let named = rows.iter().any(|row| row.name.is_some());
    if named {
        header.push("NAME");
    }
    let mut table = Table::new(&header, !args.no_legend);
    for row in rows {
        // Only the first app's row tells what is the whole pod's.
        let ends =
            row.state.into_iter().chain([row.networks]).chain(named.then(|| row.name.unwrap_or_default()));
        let mut whole = Some((row.uuid, ends.collect::<Vec<String>>()));
        for [name, image, id] in row.apps {
            let (uuid, ends) =
                whole.take().unwrap_or_else(|| (String::new(), vec![String::new(); 4 + usize::from(named)]));
            let id = args.full.then_some(id);
            table.row([uuid, name, image].into_iter().chain(id).chain(ends).collect());
        }
    }
    table.text()
}

fn apps(pod: &Description, images: &mut Images) -> Vec<[String; 3]> {
    let apps = pod.manifest.iter().flat_map(|manifest| &manifest.apps);
    apps.map(|app| {
        let id = app.image.id.as_ref().map(ImageId::as_str);
        // What the pod's manifest says is for people; the image's own, of which this ID is made, has been read once.
        let key = id.zip(app.image.name.as_ref()).map(|(id, name)| {
            let version = app.image.labels.get("version").unwrap_or_default();
            format!("{id} {name} {version}")
        });
        let known = key.as_ref().and_then(|key| images.get(key)).cloned();
        let image = known.or_else(|| pod.image_name(app.name.as_str()));
        if let (Some(key), Some(image)) = (key, &image) {
            images.entry(key).or_insert_with(|| image.clone());
        }
        let id = id.unwrap_or("-");
        let image = image.unwrap_or_else(|| "--".to_owned());
        [app.name.to_string(), image, id.get(..19).unwrap_or(id).to_owned()]
    })
    .collect()
}
