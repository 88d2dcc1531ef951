//! Apps that somebody attaches to: the supervisor's side, [`Attach`], and that of whoever attaches ([`client`]).
//!
//! An app's stream is a pipe or a terminal, whose other end is here. All who are attached get all that the app writes from
//! then on; where nobody is, it is dropped, and the app never waits. One who takes nothing holds up the app, as any reader
//! does, and nobody else's app.

pub(crate) mod client;
mod ends;
mod guest;

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use anyhow::{Context, Result};
use rkt_pod::{
    attach::{End, Request},
    layout,
    streams::{Mode, Streams},
};
use rustix::{event::PollFlags, net::SocketFlags};

use crate::{init, listen};
use ends::Ends;
use guest::Guest;

/// How much is moved at once, in bytes: a pipe's capacity.
const CHUNK: usize = 64 * 1024;

/// How many may be attached to the apps of a pod at once.
const GUESTS: usize = 64;

/// What is polled, and what [`Attach::handle`] takes. Who is attached has a number that nobody else gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// Where they come in.
    Listener,
    /// What one of them says, or that it goes.
    Guest(u64),
    /// What one of them types.
    Input(u64),
    /// One that has not taken all of this.
    Output(u64, End),
    /// What the app with this index writes.
    App(usize, End),
}

/// All apps that somebody can attach to, and who is attached.
#[derive(Debug, Default)]
pub(crate) struct Attach {
    listener: Option<OwnedFd>,
    apps: BTreeMap<usize, Ends>,
    guests: BTreeMap<u64, Guest>,
    next: u64,
}

impl Attach {
    /// The app's side of those of its streams that somebody attaches to: stdin, stdout, stderr.
    pub(crate) fn add(&mut self, index: usize, app: &str, streams: Streams) -> Result<[Option<OwnedFd>; 3]> {
        if !streams.can_be_attached() {
            return Ok([None, None, None]);
        }
        if self.listener.is_none() {
            self.listener = Some(listen::in_pod(layout::ATTACH, SocketFlags::NONBLOCK)?);
        }
        let (ends, theirs) = Ends::make(app, streams).context("make the streams to attach to")?;
        self.apps.insert(index, ends);
        Ok(theirs)
    }

    /// What to wait for.
    pub(crate) fn descriptors(&self) -> Vec<(Key, BorrowedFd<'_>, PollFlags)> {
        let listener = self.listener.iter().map(|fd| (Key::Listener, fd.as_fd(), PollFlags::IN));
        let guests = self.guests.iter().flat_map(|(id, guest)| self.descriptors_of(*id, guest));
        let apps = self.apps.iter().flat_map(|(index, ends)| {
            let open = ends.outputs().filter(|(end, _)| !self.is_blocked(*index, *end));
            open.map(|(end, fd)| (Key::App(*index, end), fd, PollFlags::IN))
        });
        listener.chain(guests).chain(apps).collect()
    }

    fn descriptors_of<'a>(&'a self, id: u64, guest: &'a Guest) -> Vec<(Key, BorrowedFd<'a>, PollFlags)> {
        let mut all = vec![(Key::Guest(id), guest.socket(), PollFlags::IN)];
        all.extend(guest.blocked().map(|(end, fd)| (Key::Output(id, end), fd, PollFlags::OUT)));
        // What one has typed goes whole before the next is heard.
        let others = || self.guests.iter().filter(|(other, _)| **other != id).map(|(_, other)| other);
        if !others().any(|other| other.app() == guest.app() && other.is_typing()) {
            all.extend(guest.input().map(|(fd, flags)| (Key::Input(id), fd, flags)));
        }
        all
    }

    fn is_blocked(&self, app: usize, end: End) -> bool {
        self.readers(app).any(|(_, guest)| guest.is_blocked(end))
    }

    fn readers(&self, app: usize) -> impl Iterator<Item = (&u64, &Guest)> {
        self.guests.iter().filter(move |(_, guest)| guest.app() == Some(app))
    }

    /// Goes on after what was waited for.
    pub(crate) fn handle(&mut self, key: Key, buffer: &mut Vec<u8>) {
        match key {
            Key::Listener => self.accept(),
            Key::Guest(id) => self.hear(id),
            Key::Input(id) => self.type_in(id),
            Key::Output(id, end) => {
                if self.guests.get_mut(&id).is_some_and(|guest| guest.flush(end).is_err()) {
                    self.guests.remove(&id);
                }
            }
            Key::App(app, end) => {
                buffer.resize(CHUNK, 0);
                self.pump(app, end, buffer);
            }
        }
        self.guests.retain(|_, guest| !guest.is_done());
        self.apps.retain(|_, ends| ends.is_open());
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(socket) = rustix::net::accept_with(listener, flags) else { return };
        // One too many is let go, and sees the end.
        if self.guests.len() < GUESTS {
            self.guests.insert(self.next, Guest::new(socket));
            self.next += 1;
        }
    }

    /// Does what somebody wants who is attached, or comes to be. Who goes is forgotten.
    fn hear(&mut self, id: u64) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        match guest.next() {
            Ok(None) => {}
            Ok(Some((Request::Attach { app, ends, close_stdin }, descriptors))) => {
                let found = self.apps.iter().rfind(|(_, known)| known.name() == app && known.is_open());
                let done = match found {
                    Some((index, known)) => guest.attach(*index, known, &ends, descriptors, close_stdin),
                    None => Err(format!("app {app:?} has no streams to attach to, or has ended")),
                };
                guest.answer(done);
            }
            Ok(Some((Request::Resize { rows, columns }, _))) => {
                if let Some(ends) = guest.app().and_then(|app| self.apps.get(&app)) {
                    ends.resize(rows, columns);
                }
            }
            Err(_) => {
                self.guests.remove(&id);
            }
        }
    }

    /// Moves on what somebody types.
    fn type_in(&mut self, id: u64) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        guest.type_in();
        if guest.closes_stdin()
            && let Some(app) = guest.app()
        {
            if let Some(ends) = self.apps.get_mut(&app) {
                ends.close_input();
            }
            self.guests.values_mut().filter(|guest| guest.app() == Some(app)).for_each(Guest::close_input);
        }
    }

    /// Moves on what an app has written: to all who are attached.
    fn pump(&mut self, app: usize, end: End, buffer: &mut [u8]) {
        // One of the same round may have come to be blocked.
        if self.is_blocked(app, end) {
            return;
        }
        let Some(ends) = self.apps.get_mut(&app) else { return };
        match ends.read(end, buffer) {
            Ok(Some(length)) => {
                let bytes = &buffer[..length];
                self.guests.retain(|_, guest| guest.app() != Some(app) || guest.pass(end, bytes).is_ok());
            }
            Ok(None) => {}
            Err(_) => self
                .guests
                .values_mut()
                .filter(|guest| guest.app() == Some(app))
                .for_each(|guest| guest.end(end)),
        }
    }

    /// Lets those go who are attached to an app that has ended, and to nothing that may still say something.
    pub(crate) fn ended(&mut self, app: usize) {
        if let Some(ends) = self.apps.get_mut(&app) {
            ends.close_input();
        }
        self.guests.values_mut().filter(|guest| guest.app() == Some(app)).for_each(Guest::close_input);
        self.guests.retain(|_, guest| !guest.is_done());
    }

    /// Moves on all that apps wrote before they ended, as far as it is taken.
    pub(crate) fn drain(&mut self, buffer: &mut Vec<u8>) {
        let blocked: Vec<Key> = self.blocked().map(|(key, _)| key).collect();
        blocked.into_iter().for_each(|key| self.handle(key, buffer));
        let open: Vec<(usize, End)> =
            self.apps.iter().flat_map(|(index, ends)| ends.outputs().map(|(end, _)| (*index, end))).collect();
        buffer.resize(CHUNK, 0);
        for (app, end) in open {
            // What has nothing more now has ended.
            while !self.is_blocked(app, end)
                && let Some(ends) = self.apps.get_mut(&app)
                && ends.has_more(end)
            {
                self.pump(app, end, buffer);
            }
        }
    }

    /// Those who have not taken all.
    pub(crate) fn blocked(&self) -> impl Iterator<Item = (Key, BorrowedFd<'_>)> {
        self.guests
            .iter()
            .flat_map(|(id, guest)| guest.blocked().map(|(end, fd)| (Key::Output(*id, end), fd)))
    }

    /// Lets all go.
    pub(crate) fn give_up(&mut self) {
        self.guests.clear();
    }
}

/// The app's side of its three streams: of those that somebody attaches to, of those that are kept, and nothing.
pub(crate) fn side(
    mode: Mode,
    attached: Option<OwnedFd>,
    log: impl FnOnce() -> Result<OwnedFd>,
) -> Result<OwnedFd> {
    match (attached, mode) {
        (Some(fd), _) => Ok(fd),
        (None, Mode::Log) => log(),
        (None, _) => init::open_null(),
    }
}
