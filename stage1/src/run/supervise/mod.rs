//! The supervisor: watches apps, output, signals and init until the pod has ended.
//!
//! When an app fails the others are stopped; when it ends well they go on. A first request to stop asks the apps to end,
//! one after the other, the last started first; a second one kills them.

mod apps;

use std::{
    os::fd::BorrowedFd,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rkt_pod::{layout, stage1::AppRequest};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
    process::Pid,
};

use apps::{forget, note};

use super::{
    Made, STOP_TIMEOUT,
    mutable::{Mutable, Waits},
    requests::Asker,
};
use crate::{
    attach::{self, Attach},
    init::{Init, Word},
    launcher::{self, Control, Launcher},
    output::{self, Output},
    pod::Pod,
    sys::SignalFd,
    terminal::{self, Terminal},
    wrap::Notify,
};

/// How long we wait for news of apps after their init is gone: they are dead, only the launcher's word is missing.
const LAST_NEWS: Duration = Duration::from_secs(5);

/// How long a pod runs until what was needed to start it is given back. Until then that would only take time.
const SETTLES: Duration = Duration::from_secs(1);

/// The exit status of an app that died of SIGKILL.
const KILLED: u8 = 128 + 9;

/// An app under supervision.
#[derive(Debug)]
pub(crate) struct App {
    name: String,
    control: Option<Control>,
    /// Its main process, or what will be that, as the host sees it.
    pid: Option<Pid>,
    failure: Option<u8>,
    /// What was said of the failure.
    reason: Option<String>,
    reported: Option<u8>,
    pub(super) status: Option<u8>,
}

impl App {
    /// An app whose `app-exec` was just started.
    pub(crate) fn new(name: &str, control: Control, pid: Option<Pid>) -> App {
        let (name, control) = (name.to_owned(), Some(control));
        App { name, control, pid, failure: None, reason: None, reported: None, status: None }
    }

    /// Passes `app-exec` what it needs to go on.
    pub(crate) fn hand_over(&self, descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        self.control.as_ref().map_or(Ok(()), |control| control.hand_over(descriptors))
    }
}

/// A stop in progress.
#[derive(Debug)]
pub(super) struct Stop {
    /// The app that was asked to end, and when it is killed.
    pub(super) current: Option<(usize, Instant)>,
}

/// The pod's supervisor.
pub(crate) struct Supervisor<'a> {
    pub(super) pod: &'a Pod,
    init: &'a Init,
    pub(super) launcher: Box<dyn Launcher>,
    pub(super) output: Output,
    pub(super) attach: Attach,
    /// Where what apps write passes through, for those who are attached.
    pub(super) buffer: Vec<u8>,
    pub(super) terminal: Option<Terminal>,
    /// Whether our session had a terminal when we started: once that is lost nobody knows any more.
    pub(super) is_controlled: bool,
    pub(super) apps: Vec<App>,
    pub(super) notify: Notify,
    pub(super) stop: Option<Stop>,
    /// When init was found dead.
    init_gone: Option<Instant>,
    /// The first failing app's status.
    exit: Option<u8>,
    /// How often somebody has asked for the pod's end, by who it was.
    pub(super) asked: [u32; 2],
    /// Where apps come and go, who asks for it; such a pod does not end with its apps.
    mutable: Option<Mutable<'a>>,
    /// Apps that were asked to end by themselves, and when each is killed.
    leaving: Vec<(usize, Instant)>,
    /// Whether nothing is left of the pod outside its directory.
    is_clean: bool,
    /// When a pod that still runs is taken for one that stays.
    settles: Option<Instant>,
}

/// What a descriptor in the poll set belongs to.
#[derive(Debug, Clone, Copy)]
enum Source {
    Signals,
    Init,
    Launcher,
    Control(usize),
    Stream(usize),
    /// What an app says of itself.
    Notify(usize),
    /// Our own stdout or stderr, that has not taken all.
    Target(usize),
    Terminal(usize),
    Attach(attach::Key),
    /// 0 is where callers come in.
    Caller(usize),
}

impl<'a> Supervisor<'a> {
    /// Supervises `apps`, all of which the launcher has started.
    pub(crate) fn new(pod: &'a Pod, init: &'a Init, made: Made<'a>) -> Supervisor<'a> {
        let Made { launcher, output, attach, terminal, apps, notify, mutable } = made;
        Supervisor {
            pod,
            init,
            launcher,
            output,
            attach,
            buffer: Vec::new(),
            terminal,
            is_controlled: terminal::is_controlled(),
            apps,
            notify,
            stop: None,
            init_gone: None,
            exit: None,
            asked: [0; 2],
            mutable,
            leaving: Vec::new(),
            is_clean: false,
            settles: Some(Instant::now() + SETTLES),
        }
    }

    /// Runs until the pod has ended and nothing is left of it outside its directory. Returns the exit status.
    pub(crate) fn run(&mut self, signals: &SignalFd) -> Result<u8> {
        let watched = self.watch(signals);
        // Whatever happened, the pod's processes end with init and what the launcher made is removed.
        let orderly = watched.is_ok() && self.init_gone.is_none();
        let mut left = launcher::end(self.launcher.as_mut(), self.init, orderly)?;
        if watched.is_err() {
            self.apps.iter_mut().for_each(|app| app.status = app.status.or(Some(KILLED)));
        }
        self.last_words(signals)?;
        left.extend(self.launcher.close());
        self.is_clean = orderly && left.is_empty();
        for left in left {
            output::say(&format!("{left:#}"));
        }
        watched?;
        Ok(self.exit.unwrap_or(0))
    }

    /// Whether the pod has ended as it should, and nothing is left of it outside its directory.
    pub(crate) fn is_clean(&self) -> bool {
        self.is_clean
    }

    fn watch(&mut self, signals: &SignalFd) -> Result<()> {
        while self.apps.iter().any(|app| app.status.is_none()) || self.waits_for_apps() {
            for source in self.wait(signals)? {
                self.handle(source, signals)?;
            }
            self.deadlines();
        }
        Ok(())
    }

    /// Whether this is a pod that others may start apps in.
    fn waits_for_apps(&self) -> bool {
        self.mutable.is_some() && self.stop.is_none() && self.init_gone.is_none()
    }

    /// Waits until something is ready or a deadline has come, and says what is.
    fn wait(&self, signals: &SignalFd) -> Result<Vec<Source>> {
        use std::os::fd::AsFd;
        const IN: PollFlags = PollFlags::IN;
        let mut sources: Vec<(Source, BorrowedFd<'_>, PollFlags)> =
            vec![(Source::Signals, signals.as_fd(), IN)];
        if self.init_gone.is_none() {
            sources.push((Source::Init, self.init.control(), IN));
        }
        for (index, app) in self.apps.iter().enumerate() {
            if let Some(control) = &app.control {
                sources.push((Source::Control(index), control.as_fd(), IN));
            }
        }
        sources.extend(self.output.open().map(|(index, fd)| (Source::Stream(index), fd, IN)));
        sources.extend(self.output.blocked().map(|(index, fd)| (Source::Target(index), fd, PollFlags::OUT)));
        sources.extend(self.notify.descriptors().map(|(app, fd)| (Source::Notify(app), fd, IN)));
        let terminal = self.terminal.iter().flat_map(Terminal::descriptors);
        sources.extend(terminal.map(|(index, fd, flags)| (Source::Terminal(index), fd, flags)));
        let attached = self.attach.descriptors().into_iter();
        sources.extend(attached.map(|(key, fd, flags)| (Source::Attach(key), fd, flags)));
        let callers = self.mutable.iter().flat_map(Mutable::descriptors);
        sources.extend(callers.enumerate().map(|(index, fd)| (Source::Caller(index), fd, IN)));
        sources.extend(self.launcher.descriptors().into_iter().map(|fd| (Source::Launcher, fd, IN)));
        let mut fds: Vec<PollFd<'_>> =
            sources.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let timeout = self.next_deadline().map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("wait for the pod"),
        }
        let ready = fds.iter().zip(&sources).filter(|(fd, _)| !fd.revents().is_empty());
        // A caller who goes meanwhile moves the others: whoever is missed, nothing of theirs is waited for.
        Ok(ready.map(|(_, (source, ..))| *source).collect())
    }

    fn handle(&mut self, source: Source, signals: &SignalFd) -> Result<()> {
        match source {
            Source::Signals => {
                while let Some((signal, sender)) = signals.next().context("read a signal")? {
                    self.signal(signal, sender);
                }
            }
            Source::Init => match self.init.read()? {
                Word::PowerOff => self.request_stop(Asker::Init),
                Word::Gone => self.init_is_gone(),
                Word::Ready => {}
            },
            Source::Launcher => {
                for event in self.launcher.events() {
                    self.event(event);
                }
            }
            Source::Control(app) => self.control(app),
            Source::Caller(0) => {
                if let Some(mutable) = &mut self.mutable {
                    mutable.accept();
                }
            }
            Source::Caller(index) => self.caller(index - 1),
            Source::Stream(stream) => self.output.pump(stream),
            Source::Notify(app) => self.say_how_it_is(|notify| notify.hear(app)),
            Source::Target(target) => self.output.flush(target),
            Source::Attach(key) => self.attach.handle(key, &mut self.buffer),
            Source::Terminal(end) => {
                if let Some(terminal) = self.terminal.as_mut() {
                    terminal.pump(end);
                }
            }
        }
        Ok(())
    }

    /// Asks the next app to end, the last started first.
    pub(super) fn stop_next(&mut self) {
        let Some(stop) = self.stop.as_mut() else { return };
        let waiting = stop.current.is_some_and(|(app, _)| self.apps[app].status.is_none());
        if waiting {
            return;
        }
        if let Some(app) = self.apps.iter().rposition(|app| app.status.is_none()) {
            stop.current = Some((app, Instant::now() + STOP_TIMEOUT));
            self.launcher.terminate(app);
        }
    }

    /// Does what somebody asks for.
    fn caller(&mut self, caller: usize) {
        let Some(mutable) = &mut self.mutable else { return };
        let Some(request) = mutable.request(caller) else { return };
        let (AppRequest::Start(name) | AppRequest::Stop(name)) = &request;
        let runs = self.apps.iter().rposition(|app| app.name == *name && app.status.is_none());
        match (&request, runs) {
            (AppRequest::Start(_), Some(_)) => {
                mutable.answer(caller, Some(format!("app {name:?} runs already")));
            }
            (AppRequest::Start(_), None) => match self.start(name) {
                Ok(index) => self.wait_for(caller, Waits::Start(index)),
                Err(error) => self.answer(caller, Some(format!("{error:#}"))),
            },
            (AppRequest::Stop(_), None) => {
                mutable.answer(caller, Some(format!("app {name:?} is not running")));
            }
            (AppRequest::Stop(_), Some(app)) => {
                mutable.wait(caller, Waits::Stop(app));
                self.leaving.push((app, Instant::now() + STOP_TIMEOUT));
                self.launcher.terminate(app);
            }
        }
    }

    fn start(&mut self, name: &str) -> Result<usize> {
        let Some(mutable) = &self.mutable else { return Ok(0) };
        let index = self.apps.len();
        for file in [layout::app_status(name), layout::app_started(name), layout::app_out_of_memory(name)] {
            forget(self.pod, &file)?;
        }
        let launcher = self.launcher.as_mut();
        self.apps.push(mutable.start(
            name,
            index,
            self.init,
            launcher,
            (&mut self.output, &mut self.attach),
            &mut self.notify,
        )?);
        note(self.pod, &layout::app_started(name), b"")?;
        Ok(index)
    }

    fn wait_for(&mut self, caller: usize, waits: Waits) {
        if let Some(mutable) = &mut self.mutable {
            mutable.wait(caller, waits);
        }
    }

    fn answer(&mut self, caller: usize, error: Option<String>) {
        if let Some(mutable) = &mut self.mutable {
            mutable.answer(caller, error);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let stop = self.stop.as_ref().and_then(|stop| stop.current).map(|(_, deadline)| deadline);
        let leaving = self.leaving.iter().map(|(_, deadline)| *deadline);
        let gone = self.init_gone.map(|since| since + LAST_NEWS);
        let signs = self.notify.deadline();
        leaving.chain(stop).chain(gone).chain(self.settles).chain(signs).min()
    }

    fn deadlines(&mut self) {
        let now = Instant::now();
        self.notify.sign();
        if self.settles.is_some_and(|at| at <= now) {
            self.settles = None;
            stage2::sys::memory::give_back();
        }
        if let Some(Stop { current: Some((app, deadline)) }) = self.stop
            && deadline <= now
        {
            output::say(&format!(
                "app {:?} does not end within {STOP_TIMEOUT:?} of SIGTERM: killing it",
                self.apps[app].name
            ));
            self.launcher.kill(app);
            self.stop = Some(Stop { current: Some((app, now + STOP_TIMEOUT)) });
        }
        for (app, deadline) in std::mem::take(&mut self.leaving) {
            match self.apps[app].status {
                Some(_) => {}
                None if deadline <= now => self.launcher.kill(app),
                None => self.leaving.push((app, deadline)),
            }
        }
        if self.init_gone.is_some_and(|since| since + LAST_NEWS <= now) {
            for app in 0..self.apps.len() {
                self.ended(app, KILLED, false);
            }
        }
    }

    fn init_is_gone(&mut self) {
        self.init_gone = Some(Instant::now());
        if !self.was_asked() && self.stop.is_none() {
            output::say("the pod's init was killed");
        }
    }
}
