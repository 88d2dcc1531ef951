//! Places (directories) and states (place and lock) of a pod.

use std::fmt;

/// The directory below `pods/` in which a pod is. Pods move from one to the next by `rename(2)`, never backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Just made; nobody works with it yet.
    Embryo,
    /// Being filled by `run` or `prepare`.
    Prepare,
    /// Complete, waiting for `run-prepared`.
    Prepared,
    /// Running as long as its lock is held, exited afterwards.
    Run,
    /// Exited and marked by `gc`; the grace period runs from here.
    ExitedGarbage,
    /// Never ran, or may go at once.
    Garbage,
}

impl Place {
    /// All places, in the order in which pods go through them.
    pub const ALL: [Place; 6] =
        [Place::Embryo, Place::Prepare, Place::Prepared, Place::Run, Place::ExitedGarbage, Place::Garbage];
    /// The places whose pods users see and name.
    pub const VISIBLE: [Place; 4] = [Place::Prepare, Place::Prepared, Place::Run, Place::ExitedGarbage];

    /// The directory's name below `pods/`.
    pub const fn directory(self) -> &'static str {
        match self {
            Place::Embryo => "embryo",
            Place::Prepare => "prepare",
            Place::Prepared => "prepared",
            Place::Run => "run",
            Place::ExitedGarbage => "exited-garbage",
            Place::Garbage => "garbage",
        }
    }
}

/// What a pod is doing: its [`Place`] and whether somebody holds its lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// In `embryo`.
    Embryo,
    /// In `prepare` and locked.
    Preparing,
    /// In `prepare` and not locked: whoever prepared it died.
    AbortedPrepare,
    /// In `prepared`.
    Prepared,
    /// In `run` and locked.
    Running,
    /// In `garbage` and locked.
    Deleting,
    /// In `exited-garbage` and locked.
    ExitedDeleting,
    /// In `run` and not locked.
    Exited,
    /// In `exited-garbage` and not locked.
    ExitedGarbage,
    /// In `garbage` and not locked.
    Garbage,
}

impl State {
    /// The state of a pod in `place` whose lock is held (`locked`) or not.
    pub const fn of(place: Place, locked: bool) -> State {
        match (place, locked) {
            (Place::Embryo, _) => State::Embryo,
            (Place::Prepare, true) => State::Preparing,
            (Place::Prepare, false) => State::AbortedPrepare,
            (Place::Prepared, _) => State::Prepared,
            (Place::Run, true) => State::Running,
            (Place::Run, false) => State::Exited,
            (Place::ExitedGarbage, true) => State::ExitedDeleting,
            (Place::ExitedGarbage, false) => State::ExitedGarbage,
            (Place::Garbage, true) => State::Deleting,
            (Place::Garbage, false) => State::Garbage,
        }
    }

    /// The word that `rkt list` and `rkt status` print.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Embryo => "embryo",
            State::Preparing => "preparing",
            State::AbortedPrepare => "aborted prepare",
            State::Prepared => "prepared",
            State::Running => "running",
            State::Deleting => "deleting",
            State::ExitedDeleting => "exited deleting",
            State::Exited => "exited",
            State::ExitedGarbage => "exited garbage",
            State::Garbage => "garbage",
        }
    }

    /// Whether the pod ran and has ended.
    pub const fn is_exited(self) -> bool {
        matches!(self, State::Exited | State::ExitedGarbage | State::ExitedDeleting)
    }

    /// Whether nothing will happen to the pod any more but its removal.
    pub const fn is_finished(self) -> bool {
        self.is_exited() || matches!(self, State::AbortedPrepare | State::Garbage | State::Deleting)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_and_place_make_the_state() {
        let table = [
            (Place::Embryo, State::Embryo, State::Embryo),
            (Place::Prepare, State::Preparing, State::AbortedPrepare),
            (Place::Prepared, State::Prepared, State::Prepared),
            (Place::Run, State::Running, State::Exited),
            (Place::ExitedGarbage, State::ExitedDeleting, State::ExitedGarbage),
            (Place::Garbage, State::Deleting, State::Garbage),
        ];
        for (place, locked, unlocked) in table {
            assert_eq!(State::of(place, true), locked);
            assert_eq!(State::of(place, false), unlocked);
        }
    }
}
