//! What users see: tables, times, errors.

mod error;
mod progress;
mod size;
mod table;
mod time;

pub(crate) use error::{note, print_error};
pub(crate) use progress::Progress;
pub(crate) use size::size;
pub(crate) use table::Table;
pub(crate) use time::{full, full_nanoseconds, moment, relative, seconds};

use std::io::{self, Write};

/// Writes a result to stdout. A reader that went away is no failure of ours.
pub(crate) fn print(text: &[u8]) -> io::Result<()> {
    match io::stdout().write_all(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// JSON for people or for programs, with a newline.
pub(crate) fn json(value: &serde_json::Value, pretty: bool) -> Vec<u8> {
    let mut text = if pretty {
        let mut text = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
        match serde::Serialize::serialize(value, &mut serializer) {
            Ok(()) => text,
            // A value in memory can always be written to memory.
            Err(_) => value.to_string().into_bytes(),
        }
    } else {
        value.to_string().into_bytes()
    };
    text.push(b'\n');
    text
}
