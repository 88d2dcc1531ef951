//! How far downloads are: a bar for each on a terminal, a line when one begins and one when it is done elsewhere.

use std::{
    io::{self, IsTerminal, Read},
    sync::OnceLock,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use rkt_pod::message::plain;

use super::note;

/// How often a bar is drawn.
const REFRESH_HZ: u8 = 5;

/// Shows downloads, of which several may be under way.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    quiet: bool,
    /// Only made where something is downloaded.
    bars: OnceLock<Option<MultiProgress>>,
}

impl Progress {
    /// Shows nothing where `quiet`.
    pub(crate) fn new(quiet: bool) -> Progress {
        Progress { quiet, bars: OnceLock::new() }
    }

    fn bars(&self) -> Option<&MultiProgress> {
        let make = || {
            (!self.quiet && io::stderr().is_terminal()).then(|| {
                let target = indicatif::ProgressDrawTarget::stderr_with_hz(REFRESH_HZ);
                MultiProgress::with_draw_target(target)
            })
        };
        self.bars.get_or_init(make).as_ref()
    }

    /// Tells something about a download.
    pub(crate) fn tell(&self, message: &str) {
        let message = plain(message);
        match self.bars.get() {
            _ if self.quiet => {}
            Some(Some(bars)) => bars.suspend(|| note("image", &message)),
            _ => note("image", &message),
        }
    }

    /// Shows how far `reader` is read, of `total` bytes where that is known.
    pub(crate) fn reader<R: Read>(&self, reader: R, what: &str, total: Option<u64>) -> Tracked<R> {
        let what = plain(what);
        let bar = self.bars().map(|bars| bars.add(bar(&what, total)));
        if bar.is_none() && !self.quiet {
            note("image", &format!("downloading {what}"));
        }
        Tracked { reader, what, bar, quiet: self.quiet, started: Instant::now(), received: 0, done: false }
    }
}

fn bar(what: &str, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{wide_msg} {bytes:>10}/{total_bytes:>10} {bytes_per_sec:>12} {eta:>3} [{bar:12}]",
        ),
        None => (ProgressBar::no_length(), "{wide_msg} {bytes:>10} {bytes_per_sec:>12} {spinner}"),
    };
    // The templates are ours; a wrong one shows as the default.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style).with_message(tail(what))
}

/// The end of a text, which tells more of a URL than its beginning, as far as there is room for it in 80 columns.
fn tail(text: &str) -> String {
    let length = text.chars().count();
    text.chars().skip(length.saturating_sub(26)).collect()
}

/// A reader that shows how far it is.
#[derive(Debug)]
pub(crate) struct Tracked<R> {
    reader: R,
    what: String,
    bar: Option<ProgressBar>,
    quiet: bool,
    started: Instant,
    received: u64,
    done: bool,
}

impl<R> Tracked<R> {
    fn finish(&mut self) {
        if self.done {
            return;
        }
        self.done = true;
        match &self.bar {
            Some(bar) => bar.finish(),
            None if self.quiet => {}
            None => note("image", &done(&self.what, self.received, self.started.elapsed())),
        }
    }
}

fn done(what: &str, bytes: u64, time: Duration) -> String {
    format!("downloaded {what}: {} in {:.1} s", indicatif::BinaryBytes(bytes), time.as_secs_f64())
}

impl<R: Read> Read for Tracked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        self.received += length as u64;
        if let Some(bar) = &self.bar {
            bar.inc(length as u64);
        }
        if length == 0 && !buffer.is_empty() {
            self.finish();
        }
        Ok(length)
    }
}

impl<R> Drop for Tracked<R> {
    fn drop(&mut self) {
        // Whatever ended it before its end is told elsewhere.
        if !self.done
            && let Some(bar) = &self.bar
        {
            bar.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_told_in_one_line() {
        assert_eq!(done("x", 3 << 20, Duration::from_millis(1500)), "downloaded x: 3.00 MiB in 1.5 s");
        assert_eq!(tail(&format!("{}b", "a".repeat(50))), format!("{}b", "a".repeat(25)));
    }

    #[test]
    fn reading_changes_nothing() {
        let mut all = Vec::new();
        Progress::new(true).reader(b"content".as_slice(), "x", Some(7)).read_to_end(&mut all).unwrap();
        assert_eq!(all, b"content");
    }
}
