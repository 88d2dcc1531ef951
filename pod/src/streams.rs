//! Where an app's standard streams lead: annotations of the app with the names and words of rkt 1.30.

/// The annotation of standard input.
pub const STDIN: &str = "coreos.com/rkt/stage2/stdin";
/// The annotation of standard output.
pub const STDOUT: &str = "coreos.com/rkt/stage2/stdout";
/// The annotation of standard error.
pub const STDERR: &str = "coreos.com/rkt/stage2/stderr";

/// Where a stream leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nowhere.
    Null,
    /// Output: into the log of the app, and through to the streams of `rkt run`.
    Log,
    /// To whoever attaches to the app, through a pipe.
    Stream,
    /// The same through a terminal, of which an app has one at most.
    Tty,
}

/// Where the streams of an app lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streams {
    /// Standard input.
    pub stdin: Mode,
    /// Standard output.
    pub stdout: Mode,
    /// Standard error.
    pub stderr: Mode,
}

impl Default for Streams {
    fn default() -> Streams {
        Streams { stdin: Mode::Null, stdout: Mode::Log, stderr: Mode::Log }
    }
}

impl Streams {
    /// What the annotations of an app say, each found by `get`. The error is for the user.
    pub fn of<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Streams, String> {
        let stream = |annotation, default| match get(annotation) {
            // What rkt 1.30 calls a terminal in manifests.
            Some("interactive") => Ok(Mode::Tty),
            Some(word) => {
                mode(annotation, word).map_err(|reason| format!("annotation {annotation}={word}: {reason}"))
            }
            None => Ok(default),
        };
        let default = Streams::default();
        Ok(Streams {
            stdin: stream(STDIN, default.stdin)?,
            stdout: stream(STDOUT, default.stdout)?,
            stderr: stream(STDERR, default.stderr)?,
        })
    }

    /// Whether one of them is a terminal.
    pub fn has_terminal(self) -> bool {
        [self.stdin, self.stdout, self.stderr].contains(&Mode::Tty)
    }

    /// Whether somebody can attach to one of them.
    pub fn can_be_attached(self) -> bool {
        self.has_terminal() || [self.stdin, self.stdout, self.stderr].contains(&Mode::Stream)
    }
}

/// Whether `word` is one for the stream with this annotation. The error is for the user.
pub fn check(annotation: &str, word: &str) -> Result<(), String> {
    mode(annotation, word).map(|_| ())
}

fn mode(annotation: &str, word: &str) -> Result<Mode, String> {
    match (annotation, word) {
        (_, "null") => Ok(Mode::Null),
        (_, "stream") => Ok(Mode::Stream),
        (_, "tty") => Ok(Mode::Tty),
        (STDIN, _) => Err("must be null, stream or tty".to_owned()),
        (_, "log") => Ok(Mode::Log),
        _ => Err("must be null, log, stream or tty".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams(annotations: &[(&str, &'static str)]) -> Result<Streams, String> {
        let find = |name: &str| annotations.iter().find(|(known, _)| *known == name).map(|(_, word)| *word);
        Streams::of(find)
    }

    #[test]
    fn output_is_logged_unless_said_otherwise() {
        let usual = Streams { stdin: Mode::Null, stdout: Mode::Log, stderr: Mode::Log };
        assert_eq!(streams(&[]), Ok(usual));
        assert!(!usual.can_be_attached() && !usual.has_terminal());
        let quiet = streams(&[(STDOUT, "null"), (STDERR, "log"), (STDIN, "null")]);
        assert_eq!(quiet, Ok(Streams { stdout: Mode::Null, ..usual }));
        assert_eq!(streams(&[(STDERR, "null")]).map(|streams| streams.stderr), Ok(Mode::Null));
    }

    #[test]
    fn what_can_be_attached_is_a_pipe_or_a_terminal() {
        let pipe = streams(&[(STDIN, "stream")]).unwrap();
        assert!(pipe.can_be_attached() && !pipe.has_terminal());
        let terminal = streams(&[(STDOUT, "tty")]).unwrap();
        assert!(terminal.can_be_attached() && terminal.has_terminal());
        assert_eq!(streams(&[(STDIN, "interactive")]).map(|streams| streams.stdin), Ok(Mode::Tty));
    }

    #[test]
    fn what_cannot_be_had_is_refused() {
        for (annotation, word) in [
            (STDIN, "log"),
            (STDIN, ""),
            (STDIN, "Stream"),
            (STDOUT, "interactive"),
            (STDERR, "Log"),
            (STDERR, ""),
        ] {
            assert!(check(annotation, word).is_err(), "{annotation}={word}");
        }
        let reason = streams(&[(STDIN, "log")]).unwrap_err();
        assert!(reason.contains(STDIN), "{reason}");
        for (annotation, word) in
            [(STDIN, "null"), (STDIN, "tty"), (STDOUT, "null"), (STDOUT, "stream"), (STDERR, "log")]
        {
            assert_eq!(check(annotation, word), Ok(()), "{annotation}={word}");
        }
    }
}
