//! What happens to pods, as it happens: by what is told of their directories, and of machined's. Pods leave their places by
//! `rename(2)`, and end with the close of the descriptor that holds their lock.

use std::{
    collections::HashMap,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rkt_pod::{Place, PodDir, lookup, names};
use rustix::{
    fs::{
        FlockOperation, Mode, OFlags,
        inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    },
    io::Errno,
};

/// What may happen to a pod, in this order but for what machined does. What happened unseen before something else is told before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// It has a directory, and is being prepared.
    Created,
    /// It waits for `run-prepared`.
    Prepared,
    /// It runs.
    Started,
    /// machined knows it as a machine.
    Registered,
    /// machined does not know it any more.
    Unregistered,
    /// Who prepared it died, or did not come to its end.
    Aborted,
    /// It has ended.
    Exited,
    /// Its directory is no more.
    Removed,
}

impl Kind {
    /// The word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Kind::Created => "created",
            Kind::Prepared => "prepared",
            Kind::Started => "started",
            Kind::Registered => "registered",
            Kind::Unregistered => "unregistered",
            Kind::Aborted => "aborted",
            Kind::Exited => "exited",
            Kind::Removed => "removed",
        }
    }
}

/// Something that happened to a pod.
#[derive(Debug)]
pub(crate) struct Event {
    /// What.
    pub(crate) kind: Kind,
    /// To which pod.
    pub(crate) uuid: String,
    /// The machine that it is for machined, where that is what is told.
    pub(crate) machine: Option<String>,
}

/// Where machined notes each machine in a file of its name: where sd_login_monitor_new(3) looks, too. What is in the files
/// is machined's own.
const MACHINES: &str = "/run/systemd/machines";

/// A close of the lock is told before the lock is free: how long until we look at it, twice as long each time.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(512);

/// A pod that has not gone yet.
#[derive(Debug)]
struct Known {
    last: Kind,
    place: Place,
    /// Its directory, which is not closed while we watch it: that, too, would be told. And the watch.
    watched: Option<(OwnedFd, i32)>,
    /// When we look at its lock again, and how long after the last look that is.
    look: Option<(Instant, Duration)>,
}

/// Watches the pods of a data directory.
#[derive(Debug)]
pub(crate) struct Watcher {
    data: PathBuf,
    inotify: OwnedFd,
    places: HashMap<i32, Place>,
    /// The watch of machined's directory, where there is one.
    machines: Option<i32>,
    /// The pods that are machines, by the machines' names.
    registered: HashMap<String, String>,
    watches: HashMap<i32, String>,
    pods: HashMap<String, Known>,
    events: Vec<Event>,
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

impl Watcher {
    /// Begins. Of what has happened before, nothing is told.
    pub(crate) fn new(data: &Path) -> Result<Watcher> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).context("watch pods")?;
        let mut places = HashMap::new();
        for place in Place::ALL {
            let path = data.join(rkt_pod::layout::PODS).join(place.directory());
            let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE | WatchFlags::ONLYDIR;
            let watch = inotify::add_watch(&inotify, &path, flags)
                .with_context(|| format!("watch {}", path.display()))?;
            places.insert(watch, place);
        }
        let flags = WatchFlags::MOVED_TO | WatchFlags::DELETE | WatchFlags::ONLYDIR;
        let machines = match inotify::add_watch(&inotify, MACHINES, flags) {
            Ok(watch) => Some(watch),
            // Without systemd there are no machines.
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(errno).with_context(|| format!("watch {MACHINES}")),
        };
        let mut watcher = Watcher {
            data: data.to_owned(),
            inotify,
            places,
            machines,
            registered: HashMap::new(),
            watches: HashMap::new(),
            pods: HashMap::new(),
            events: Vec::new(),
        };
        watcher.look_at_all()?;
        watcher.events.clear();
        Ok(watcher)
    }

    /// When something may have happened of which nobody tells.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.pods.values().filter_map(|pod| pod.look.map(|(at, _)| at)).min()
    }

    /// What has happened since the last call.
    pub(crate) fn next(&mut self) -> Result<Vec<Event>> {
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut told = Vec::new();
        let mut overflow = false;
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    overflow |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                    let name = event.file_name().and_then(|name| name.to_str().ok()).map(str::to_owned);
                    told.push((event.wd(), event.events(), name));
                }
                Err(Errno::WOULDBLOCK) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).context("watch pods"),
            }
        }
        for (watch, flags, name) in told {
            self.told(watch, flags, name);
        }
        if overflow {
            self.look_at_all()?;
        }
        let now = Instant::now();
        let due = |pod: &Known| pod.look.is_some_and(|(at, _)| at <= now);
        let due: Vec<String> =
            self.pods.iter().filter(|(_, pod)| due(pod)).map(|(uuid, _)| uuid.clone()).collect();
        for uuid in due {
            self.look_at_lock(&uuid);
        }
        Ok(std::mem::take(&mut self.events))
    }

    fn told(&mut self, watch: i32, flags: ReadFlags, name: Option<String>) {
        if Some(watch) == self.machines {
            match name {
                Some(machine) if flags.contains(ReadFlags::DELETE) => self.is_no_machine(&machine),
                Some(machine) => self.is_machine(machine),
                None => {}
            }
        } else if let (Some(place), Some(uuid)) = (self.places.get(&watch).copied(), name) {
            if !lookup::is_uuid(&uuid) {
                return;
            }
            if flags.contains(ReadFlags::DELETE) {
                if self.pods.get(&uuid).is_some_and(|pod| pod.place == place) {
                    self.happened(&uuid, Kind::Removed);
                }
            } else {
                self.is_in(&uuid, place);
            }
        } else if flags.contains(ReadFlags::IGNORED) {
            self.watches.remove(&watch);
        } else if let Some(uuid) = self.watches.get(&watch).cloned() {
            self.look_soon(&uuid);
        }
    }

    /// A pod has come to a place.
    fn is_in(&mut self, uuid: &str, place: Place) {
        let kind = match place {
            Place::Embryo => return,
            Place::Prepare => Kind::Created,
            Place::Prepared => Kind::Prepared,
            Place::Run => Kind::Started,
            Place::ExitedGarbage => Kind::Exited,
            // A prepared one that nobody ran is only removed.
            Place::Garbage => match self.pods.get(uuid).map(|pod| pod.last) {
                Some(last) if last > Kind::Created => last,
                _ => Kind::Aborted,
            },
        };
        self.happened(uuid, kind);
        if let Some(pod) = self.pods.get_mut(uuid) {
            pod.place = place;
            if pod.watched.is_none()
                && pod.last < Kind::Aborted
                && matches!(place, Place::Prepare | Place::Run)
            {
                self.watch(uuid, place);
            }
        }
        self.look_soon(uuid);
    }

    /// machined has noted a machine, or more of it.
    fn is_machine(&mut self, machine: String) {
        let named = machine.strip_prefix("rkt-").filter(|uuid| lookup::is_uuid(uuid));
        let pod = match named {
            Some(uuid) => lookup::by_uuid(&self.data, uuid),
            None => names::holders(&self.data, &machine).unwrap_or_default().into_iter().find(names::lives),
        };
        let Some(uuid) = pod.map(|pod| pod.uuid().to_owned()) else { return };
        if self.registered.insert(machine.clone(), uuid.clone()).is_none() {
            // It runs for longer than that, whatever is told first.
            self.happened(&uuid, Kind::Started);
            self.events.push(Event { kind: Kind::Registered, uuid, machine: Some(machine) });
        }
    }

    fn is_no_machine(&mut self, machine: &str) {
        if let Some(uuid) = self.registered.remove(machine) {
            let machine = Some(machine.to_owned());
            self.events.push(Event { kind: Kind::Unregistered, uuid, machine });
        }
    }

    fn watch(&mut self, uuid: &str, place: Place) {
        let path = PodDir::new(&self.data, place, uuid).path();
        let flags = WatchFlags::CLOSE_NOWRITE | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW;
        let open = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Where it has moved on already, the next place is told.
        let (Ok(directory), Ok(watch)) =
            (rustix::fs::open(&path, open, Mode::empty()), inotify::add_watch(&self.inotify, &path, flags))
        else {
            return;
        };
        self.watches.insert(watch, uuid.to_owned());
        if let Some(pod) = self.pods.get_mut(uuid) {
            pod.watched = Some((directory, watch));
        }
    }

    /// Notes what has happened, and what must have before.
    fn happened(&mut self, uuid: &str, kind: Kind) {
        let last = self.pods.get(uuid).map(|pod| pod.last);
        let mut tell = |kind: Kind| self.events.push(Event { kind, uuid: uuid.to_owned(), machine: None });
        if last.is_some_and(|last| last >= kind) {
            return;
        }
        if last.is_none() && kind > Kind::Created {
            tell(Kind::Created);
        }
        if kind == Kind::Exited && last.is_none_or(|last| last < Kind::Started) {
            tell(Kind::Started);
        }
        tell(kind);
        if kind == Kind::Removed {
            self.pods.remove(uuid);
            return;
        }
        let pod = self.pods.entry(uuid.to_owned()).or_insert(Known {
            last: kind,
            place: Place::Prepare,
            watched: None,
            look: None,
        });
        pod.last = kind;
        if kind >= Kind::Aborted
            && let Some((_, watch)) = pod.watched.take()
            && inotify::remove_watch(&self.inotify, watch).is_err()
        {
            // It went with the directory.
        }
    }

    fn look_soon(&mut self, uuid: &str) {
        if let Some(pod) = self.pods.get_mut(uuid)
            && matches!(pod.last, Kind::Created | Kind::Started)
        {
            pod.look = Some((Instant::now() + FIRST_LOOK, FIRST_LOOK));
        }
    }

    /// Whether somebody still works on the pod.
    fn look_at_lock(&mut self, uuid: &str) {
        let Some(pod) = self.pods.get_mut(uuid) else { return };
        let (Some((_, waited)), Some((directory, _))) = (pod.look.take(), &pod.watched) else { return };
        match rustix::fs::flock(directory, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {
                if rustix::fs::flock(directory, FlockOperation::Unlock).is_err() {
                    // It goes with the descriptor.
                }
                // From its place it may be on its way to the next one.
                let kind = match pod.place {
                    Place::Run => Kind::Exited,
                    Place::Prepare if PodDir::new(&self.data, Place::Prepare, uuid).path().exists() => {
                        Kind::Aborted
                    }
                    _ => return,
                };
                self.happened(uuid, kind);
            }
            Err(_) if waited < LAST_LOOK => {
                pod.look = Some((Instant::now() + 2 * waited, 2 * waited));
            }
            Err(_) => {}
        }
    }

    /// Looks where all pods are: at first, and when more has happened than was told.
    fn look_at_all(&mut self) -> Result<()> {
        let found = lookup::all(&self.data, &Place::ALL)?;
        let gone: Vec<String> = self
            .pods
            .keys()
            .filter(|uuid| !found.iter().any(|pod| pod.uuid() == uuid.as_str()))
            .cloned()
            .collect();
        for uuid in gone {
            self.happened(&uuid, Kind::Removed);
        }
        for pod in found {
            self.is_in(pod.uuid(), pod.place());
            self.look_at_lock(pod.uuid());
        }
        let machines: Vec<String> = match std::fs::read_dir(MACHINES) {
            Ok(entries) => {
                entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
            }
            Err(_) => Vec::new(),
        };
        for gone in
            self.registered.keys().filter(|name| !machines.contains(name)).cloned().collect::<Vec<_>>()
        {
            self.is_no_machine(&gone);
        }
        machines.into_iter().for_each(|machine| self.is_machine(machine));
        Ok(())
    }
}
