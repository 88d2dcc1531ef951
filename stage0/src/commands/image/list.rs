//! `rkt image list`

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::ValueEnum;
use serde_json::json;

use super::{Format, Global};
use crate::{
    output::{self, Table},
    store::{ImageRecord, Store},
};

/// List images in the local store.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Comma-separated list of fields to display
    #[arg(long, value_delimiter = ',', default_value = "id,name,size,importtime,lastused")]
    fields: Vec<Field>,
    /// Sort the output according to the provided comma-separated list of fields
    #[arg(long, value_delimiter = ',', default_value = "importtime")]
    sort: Vec<Field>,
    /// Choose the sorting order
    #[arg(long, default_value = "asc")]
    order: Order,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Field {
    Id,
    Name,
    Size,
    #[value(name = "importtime")]
    ImportTime,
    #[value(name = "lastused")]
    LastUsed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    Asc,
    Desc,
}

/// Lists the images.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    let mut images = Store::open(&global.dir)?.list()?;
    images.sort_by(|a, b| {
        args.sort
            .iter()
            .fold(std::cmp::Ordering::Equal, |order, field| order.then_with(|| compare(*field, a, b)))
    });
    if args.order == Order::Desc {
        images.reverse();
    }
    let text = match args.format {
        Some(format) => {
            let list = serde_json::Value::Array(images.iter().map(object).collect());
            output::json(&list, format == Format::JsonPretty)
        }
        None => table(&images, args).into_bytes(),
    };
    output::print(&text)?;
    Ok(0)
}

fn compare(field: Field, a: &ImageRecord, b: &ImageRecord) -> std::cmp::Ordering {
    match field {
        Field::Id => a.id.cmp(&b.id),
        Field::Name => a.display_name().cmp(&b.display_name()),
        Field::Size => size(a).cmp(&size(b)),
        Field::ImportTime => a.import_time.cmp(&b.import_time),
        Field::LastUsed => a.last_used.cmp(&b.last_used),
    }
}

fn size(image: &ImageRecord) -> u64 {
    (image.size + image.tree_size).unsigned_abs()
}

fn object(image: &ImageRecord) -> serde_json::Value {
    json!({
        "id": image.key(), "name": image.display_name(), "import_time": image.import_time,
        "last_used_time": image.last_used, "size": size(image),
    })
}

fn table(images: &[ImageRecord], args: &Args) -> String {
    let now = SystemTime::now();
    let header: Vec<&str> = args.fields.iter().map(|field| field.header()).collect();
    let mut table = Table::new(&header, !args.no_legend);
    for image in images {
        table.row(args.fields.iter().map(|field| field.cell(image, args.full, now)).collect());
    }
    table.text()
}

impl Field {
    fn header(self) -> &'static str {
        match self {
            Field::Id => "ID",
            Field::Name => "NAME",
            Field::Size => "SIZE",
            Field::ImportTime => "IMPORT TIME",
            Field::LastUsed => "LAST USED",
        }
    }

    fn cell(self, image: &ImageRecord, full: bool, now: SystemTime) -> String {
        let time = |nanoseconds: i64| {
            let time = UNIX_EPOCH + Duration::from_nanos(nanoseconds.unsigned_abs());
            if full { output::full(time) } else { output::relative(time, now) }
        };
        match self {
            Field::Id if full => image.key(),
            Field::Id => image.key()[..19].to_owned(),
            Field::Name => image.display_name(),
            Field::Size if full => size(image).to_string(),
            Field::Size => output::size(size(image)),
            Field::ImportTime => time(image.import_time),
            Field::LastUsed => time(image.last_used),
        }
    }
}
