//! An app's output in a file, in the log format of the Kubernetes CRI: `<RFC 3339 time> <stream> <F|P> <text>`, where
//! `P` marks a part of a line that goes on.

use std::{fs::File, io::Write, os::fd::OwnedFd};

use anyhow::{Context, Result};
use rkt_pod::layout;
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use super::{Stream, lines::Line};

/// The open log file of one app.
#[derive(Debug)]
pub(crate) struct LogFile {
    file: File,
    pending: Vec<u8>,
}

impl LogFile {
    /// Makes the app's log file in the pod's directory, readable for whoever may read the pod.
    pub(crate) fn create(pod: &OwnedFd, app: &str) -> Result<LogFile> {
        match rustix::fs::mkdirat(pod, layout::LOGS, Mode::from_raw_mode(0o750)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).context("make the directory of the logs"),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(pod, layout::app_log(app), flags, Mode::from_raw_mode(0o640))
            .with_context(|| format!("app {app:?}: open its log"))?;
        Ok(LogFile { file: File::from(file), pending: Vec::new() })
    }

    /// Adds a line; [`LogFile::flush`] writes it.
    pub(crate) fn add(&mut self, stream: Stream, line: &Line<'_>) {
        let stream = stream.name();
        let tag = if line.partial { 'P' } else { 'F' };
        let now = jiff::Timestamp::now();
        self.pending.extend_from_slice(format!("{now:.9} {stream} {tag} ").as_bytes());
        self.pending.extend_from_slice(line.text);
        self.pending.push(b'\n');
    }

    /// Writes what was added. A full disk loses lines, never the app: it goes on, and so do we.
    pub(crate) fn flush(&mut self) {
        if self.file.write_all(&self.pending).is_err() {
            // Cut to nothing below: the next lines are tried anew.
        }
        self.pending.clear();
    }
}
