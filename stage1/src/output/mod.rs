//! The apps' standard output and error: passed through to ours, and kept in the journal or in files.

mod journal;
mod lines;
mod logfile;
mod passing;

use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use anyhow::{Context, Result};
use rkt_pod::stage1::LogSink;
use rustix::pipe::PipeFlags;

use crate::{flow, pod::Pod};
use journal::Journal;
use lines::{Line, Splitter};
use logfile::LogFile;
use passing::Passing;

/// How much is read from a stream at once, in bytes: a pipe's capacity.
const CHUNK: usize = 64 * 1024;

/// The place of the journal beside our own two streams, among what may not have taken all.
const JOURNAL: usize = 2;

/// Which of an app's two output streams, and the place of our own among the targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Out = 0,
    /// Standard error.
    Err = 1,
}

impl Stream {
    /// What it is called in logs.
    fn name(self) -> &'static str {
        match self {
            Stream::Out => "stdout",
            Stream::Err => "stderr",
        }
    }
}

/// The output of all apps of a pod.
#[derive(Debug)]
pub(crate) struct Output {
    streams: Vec<AppStream>,
    /// Whether each line passed through starts with its app's name.
    prefixed: bool,
    /// Our own stdout and stderr, where they get a copy.
    targets: [Option<Passing>; 2],
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
            LogSink::Journal => {
                Sink::Journal(Journal::new(&pod.uuid, journal::SOCKET.into(), journal::service()))
            }
            LogSink::PodJournal => {
                let address = crate::journal::socket(&pod.uuid);
                Sink::Journal(Journal::new(&pod.uuid, address, journal::service()))
            }
            LogSink::Files | LogSink::None => Sink::Files(
                names().map(|name| LogFile::create(&pod.directory, &name)).collect::<Result<_>>()?,
            ),
        };
        // In a unit our own streams lead to the journal, which already has each line with its fields.
        let is_journal =
            |fd: BorrowedFd<'_>| matches!(sink, Sink::Journal(_)) && journal::is_journal_stream(fd);
        let target = |fd| (!is_journal(fd)).then(|| Passing::to(fd));
        Ok(Output {
            streams: Vec::new(),
            prefixed: pod.apps.len() > 1,
            targets: [target(rustix::stdio::stdout()), target(rustix::stdio::stderr())],
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

    /// The open streams, each with the index that [`Output::pump`] takes. Those are left out that would go where nothing is
    /// taken at the moment.
    pub(crate) fn open(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let open = self.streams.iter().enumerate().filter(|(_, stream)| !self.is_blocked(stream.stream));
        open.filter_map(|(index, s)| s.pipe.as_ref().map(|pipe| (index, pipe.as_fd())))
    }

    /// The journal and those of our own streams that have not taken all, each with the index that [`Output::flush`] takes.
    pub(crate) fn blocked(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let targets = self.targets.iter().enumerate();
        let targets = targets.filter_map(|(index, target)| Some((index, target.as_ref()?.blocked()?)));
        targets.chain(self.sink.blocked().map(|fd| (JOURNAL, fd)))
    }

    fn is_blocked(&self, stream: Stream) -> bool {
        self.targets[stream as usize].as_ref().is_some_and(|target| target.blocked().is_some())
            || self.sink.blocked().is_some()
    }

    /// Goes on with what takes more now. Where a reader of our own streams has gone, nothing is passed to it any more.
    pub(crate) fn flush(&mut self, target: usize) {
        if target == JOURNAL {
            if let Sink::Journal(journal) = &mut self.sink {
                journal.flush();
            }
        } else if self.targets[target].as_mut().is_some_and(|target| target.flush().is_err()) {
            self.targets[target] = None;
        }
    }

    /// Passes nothing on any more.
    pub(crate) fn give_up(&mut self) {
        self.targets = [None, None];
        if let Sink::Journal(journal) = &mut self.sink {
            journal.give_up();
        }
    }

    /// Moves on what a stream has to say now. At its end the stream is closed.
    pub(crate) fn pump(&mut self, index: usize) {
        // It may have come to be blocked by another one of the same round.
        if self.is_blocked(self.streams[index].stream) {
            return;
        }
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

    /// Moves on all that the streams still hold, without waiting for more, and closes them. Those that are blocked stay open.
    pub(crate) fn drain(&mut self) {
        for target in [Stream::Out as usize, Stream::Err as usize, JOURNAL] {
            self.flush(target);
        }
        for index in 0..self.streams.len() {
            while !self.is_blocked(self.streams[index].stream)
                && let Some(pipe) = self.streams[index].pipe.as_mut()
            {
                match pipe.read(&mut self.buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
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
        let target = &mut self.targets[stream.stream as usize];
        let copies = self.prefixed && target.is_some();
        let mut text = Vec::new();
        for line in stream.splitter.split(bytes) {
            if copies {
                prefix(&mut text, &stream.name, &line);
            }
            self.sink.keep(stream.app, &stream.name, stream.stream, &line);
        }
        self.sink.flush(stream.app);
        passing::pass(target, if self.prefixed { &text } else { bytes });
    }

    /// Moves on a last line without a newline.
    fn finish(&mut self, index: usize) {
        let stream = &mut self.streams[index];
        let Some(line) = stream.splitter.rest() else { return };
        if self.prefixed {
            let mut text = Vec::new();
            prefix(&mut text, &stream.name, &line);
            passing::pass(&mut self.targets[stream.stream as usize], &text);
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

impl Sink {
    fn keep(&mut self, app: usize, name: &str, stream: Stream, line: &Line<'_>) {
        match self {
            Sink::Journal(journal) => journal.send(name, stream, line),
            Sink::Files(files) => files[app].add(stream, line),
        }
    }

    fn blocked(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Sink::Journal(journal) => journal.blocked(),
            Sink::Files(_) => None,
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
    flow::tell(&format!("stage1: {}\n", rkt_pod::message::plain(message)));
}
