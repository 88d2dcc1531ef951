//! Attaching to apps that run: what is said at the socket in the pod's directory ([`crate::layout::ATTACH`]).
//!
//! Each message is one packet of JSON. The first one is [`Request::Attach`], and brings a descriptor for each of its ends.
//! It is answered with a [`Reply`]. From then on the supervisor moves the bytes by itself; the end of the connection, from
//! whichever side, ends that.

use serde::{Deserialize, Serialize};

use crate::streams::{Mode, Streams};

/// Bytes of a message, at most.
pub const LARGEST_MESSAGE: usize = 4096;

/// What somebody can be attached to of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Its standard input, a pipe. The descriptor is read from.
    Stdin,
    /// Its standard output, a pipe. The descriptor is written to, as those of the following.
    Stdout,
    /// Its standard error, a pipe.
    Stderr,
    /// What is typed on its terminal. The descriptor is read from.
    TtyIn,
    /// What its terminal shows.
    TtyOut,
}

impl End {
    /// The word that names it.
    pub const fn name(self) -> &'static str {
        match self {
            End::Stdin => "stdin",
            End::Stdout => "stdout",
            End::Stderr => "stderr",
            End::TtyIn => "tty-in",
            End::TtyOut => "tty-out",
        }
    }

    /// The one that this word names.
    pub fn from_name(word: &str) -> Option<End> {
        [End::Stdin, End::Stdout, End::Stderr, End::TtyIn, End::TtyOut]
            .into_iter()
            .find(|end| end.name() == word)
    }

    /// Whether bytes go from whoever is attached to the app.
    pub const fn is_input(self) -> bool {
        matches!(self, End::Stdin | End::TtyIn)
    }

    /// Whether it is one of the app's terminal.
    pub const fn is_terminal(self) -> bool {
        matches!(self, End::TtyIn | End::TtyOut)
    }

    /// Those that an app with such streams has.
    pub fn of(streams: Streams) -> Vec<End> {
        let pipes =
            [(streams.stdin, End::Stdin), (streams.stdout, End::Stdout), (streams.stderr, End::Stderr)];
        let mut ends: Vec<End> =
            pipes.into_iter().filter(|(mode, _)| *mode == Mode::Stream).map(|(_, end)| end).collect();
        if streams.stdin == Mode::Tty {
            ends.push(End::TtyIn);
        }
        if streams.has_terminal() {
            ends.push(End::TtyOut);
        }
        ends
    }
}

/// What somebody who is attached wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Request {
    /// To be attached.
    #[serde(rename_all = "camelCase")]
    Attach {
        /// The app.
        app: String,
        /// To what of it, as many as there are descriptors.
        ends: Vec<End>,
        /// Whether the app's standard input is to end with that of this one.
        close_stdin: bool,
    },
    /// That the app's terminal has another size.
    Resize {
        /// Lines.
        rows: u16,
        /// Characters of a line.
        columns: u16,
    },
}

/// The answer to [`Request::Attach`]: why it was refused, where it was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reply {
    /// One line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_has_the_ends_that_its_streams_make() {
        let ends = |stdin, stdout, stderr| End::of(Streams { stdin, stdout, stderr });
        assert!(ends(Mode::Null, Mode::Log, Mode::Log).is_empty());
        assert_eq!(ends(Mode::Stream, Mode::Stream, Mode::Null), [End::Stdin, End::Stdout]);
        assert_eq!(ends(Mode::Tty, Mode::Tty, Mode::Tty), [End::TtyIn, End::TtyOut]);
        assert_eq!(ends(Mode::Null, Mode::Tty, Mode::Stream), [End::Stderr, End::TtyOut]);
        assert_eq!(ends(Mode::Tty, Mode::Log, Mode::Log), [End::TtyIn, End::TtyOut]);
    }

    #[test]
    fn messages_are_one_line_of_json() {
        let ends = vec![End::TtyIn, End::Stdout];
        let attach = Request::Attach { app: "web".to_owned(), ends, close_stdin: true };
        let text = serde_json::to_string(&attach).unwrap();
        assert_eq!(text, r#"{"attach":{"app":"web","ends":["tty-in","stdout"],"closeStdin":true}}"#);
        assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), attach);
        assert!(serde_json::from_str::<Request>(r#"{"attach":{"app":"web"}}"#).is_err());
    }
}
