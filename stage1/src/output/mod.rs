//! The apps' standard output and error: passed through to ours, and kept in the journal or in files.

mod journal;
mod lines;
mod logfile;

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use anyhow::{Context, Result};
use rkt_pod::stage1::LogSink;
use rustix::{io::Errno, pipe::PipeFlags};

use crate::pod::Pod;
use journal::Journal;
use lines::{Line, Splitter};
use logfile::LogFile;

/// How much is read from a stream at once, in bytes: a pipe's capacity.
const CHUNK: usize = 64 * 1024;

/// Which of an app's two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// The output of all apps of a pod.
#[derive(Debug)]
pub(crate) struct Output {
    streams: Vec<AppStream>,
    /// Whether each line passed through starts with its app's name.
    prefixed: bool,
    /// Whether our own stdout and stderr get a copy.
    passes: [bool; 2],
    sink: Sink,
    buffer: Box<[u8]>,
}

#[derive(Debug)]
struct AppStream {
    app: usize,
    name: String,
    stream: Stream,
    pipe: Option<File>,
    splitter: Splitter,
}

#[derive(Debug)]
enum Sink {
    Journal(Journal),
    Files(Vec<LogFile>),
}

impl Output {
    /// Prepares the output of `pod`'s apps, to be kept in `log`.
    pub(crate) fn new(pod: &Pod, log: LogSink) -> Result<Output> {
        let names = || pod.apps.iter().map(|app| app.name().to_owned());
        let sink = match log {
            LogSink::Journal => Sink::Journal(Journal::new(&pod.uuid)),
            LogSink::Files | LogSink::None => Sink::Files(
                names().map(|name| LogFile::create(&pod.directory, &name)).collect::<Result<_>>()?,
            ),
        };
        // In a unit our own streams lead to the journal, which already has each line with its fields.
        let is_journal =
            |fd: BorrowedFd<'_>| matches!(sink, Sink::Journal(_)) && journal::is_journal_stream(fd);
        let passes = [!is_journal(rustix::stdio::stdout()), !is_journal(rustix::stdio::stderr())];
        Ok(Output {
            streams: Vec::new(),
            prefixed: pod.apps.len() > 1,
            passes,
            sink,
            buffer: vec![0; CHUNK].into_boxed_slice(),
        })
    }

    /// Makes ready to keep what an app says that was not there before; `app` is the next index.
    pub(crate) fn log_of(&mut self, pod: &Pod, app: usize, name: &str) -> Result<()> {
        self.prefixed = true;
        if let Sink::Files(files) = &mut self.sink {
            files.truncate(app);
            files.push(LogFile::create(&pod.directory, name)?);
        }
        Ok(())
    }

    /// Makes a stream for an app and returns the end that the app gets.
    pub(crate) fn add(&mut self, app: usize, name: &str, stream: Stream) -> Result<OwnedFd> {
        let (ours, theirs) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC).context("make a pipe for an app's output")?;
        rustix::io::ioctl_fionbio(&ours, true).context("make a pipe non-blocking")?;
        self.streams.push(AppStream {
            app,
            name: name.to_owned(),
            stream,
            pipe: Some(File::from(ours)),
            splitter: Splitter::default(),
        });
        Ok(theirs)
    }

    /// The open streams, each with the index that [`Output::pump`] takes.
    pub(crate) fn open(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        self.streams
            .iter()
            .enumerate()
            .filter_map(|(index, s)| s.pipe.as_ref().map(|pipe| (index, pipe.as_fd())))
    }

    /// Moves on what a stream has to say now. At its end the stream is closed.
    pub(crate) fn pump(&mut self, index: usize) {
        let stream = &mut self.streams[index];
        let Some(pipe) = stream.pipe.as_mut() else { return };
        match pipe.read(&mut self.buffer) {
            Ok(0) => {
                stream.pipe = None;
                self.finish(index);
            }
            Ok(length) => self.take(index, length),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => stream.pipe = None,
        }
    }

    /// Moves on all that the streams still hold, without waiting for more, and closes them.
    pub(crate) fn drain(&mut self) {
        for index in 0..self.streams.len() {
            while let Some(pipe) = self.streams[index].pipe.as_mut() {
                match pipe.read(&mut self.buffer) {
                    Ok(0) | Err(_) => {
                        self.streams[index].pipe = None;
                        self.finish(index);
                    }
                    Ok(length) => self.take(index, length),
                }
            }
        }
    }

    fn take(&mut self, index: usize, length: usize) {
        let stream = &mut self.streams[index];
        let bytes = &self.buffer[..length];
        let target = usize::from(stream.stream == Stream::Err);
        if self.passes[target] && !self.prefixed && pass(stream.stream, bytes).is_err() {
            self.passes[target] = false;
        }
        let mut text = Vec::new();
        let copies = self.prefixed && self.passes[target];
        for line in stream.splitter.split(bytes) {
            if copies {
                prefix(&mut text, &stream.name, &line);
            }
            self.sink.keep(stream.app, &stream.name, stream.stream, &line);
        }
        if copies && pass(stream.stream, &text).is_err() {
            self.passes[target] = false;
        }
        self.sink.flush(stream.app);
    }

    /// Moves on a last line without a newline.
    fn finish(&mut self, index: usize) {
        let stream = &mut self.streams[index];
        let Some(line) = stream.splitter.rest() else { return };
        let target = usize::from(stream.stream == Stream::Err);
        if self.prefixed && self.passes[target] {
            let mut text = Vec::new();
            prefix(&mut text, &stream.name, &line);
            if pass(stream.stream, &text).is_err() {
                self.passes[target] = false;
            }
        }
        self.sink.keep(stream.app, &stream.name, stream.stream, &line);
        self.sink.flush(stream.app);
    }
}

fn prefix(text: &mut Vec<u8>, name: &str, line: &Line<'_>) {
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b": ");
    text.extend_from_slice(line.text);
    text.push(b'\n');
}

fn pass(stream: Stream, bytes: &[u8]) -> io::Result<()> {
    let fd = match stream {
        Stream::Out => rustix::stdio::stdout(),
        Stream::Err => rustix::stdio::stderr(),
    };
    let mut rest = bytes;
    while !rest.is_empty() {
        match rustix::io::write(fd, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

impl Sink {
    fn keep(&mut self, app: usize, name: &str, stream: Stream, line: &Line<'_>) {
        match self {
            Sink::Journal(journal) => journal.send(name, stream, line),
            Sink::Files(files) => files[app].add(stream, line),
        }
    }

    fn flush(&mut self, app: usize) {
        if let Sink::Files(files) = self {
            files[app].flush();
        }
    }
}

/// Where the apps' output is kept on this machine.
pub(crate) fn choose_log() -> LogSink {
    if Path::new(journal::SOCKET).exists() { LogSink::Journal } else { LogSink::Files }
}

/// Writes one line for the user to stderr; there is nobody to tell if that fails.
pub(crate) fn say(message: &str) {
    if writeln!(io::stderr(), "stage1: {}", rkt_pod::message::plain(message)).is_err() {}
}
