//! Where an app's standard streams lead: annotations of the app with the names and words of rkt 1.30.

/// The annotation of standard input.
pub const STDIN: &str = "coreos.com/rkt/stage2/stdin";
/// The annotation of standard output.
pub const STDOUT: &str = "coreos.com/rkt/stage2/stdout";
/// The annotation of standard error.
pub const STDERR: &str = "coreos.com/rkt/stage2/stderr";

/// The words that need somebody who attaches to the app.
const ATTACHED: [&str; 3] = ["stream", "tty", "interactive"];

/// Where an output stream leads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nowhere.
    Null,
    /// Into the log of the app, and through to the streams of `rkt run`.
    #[default]
    Log,
}

/// Where the streams of an app lead. Standard input is always empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Streams {
    /// Standard output.
    pub stdout: Mode,
    /// Standard error.
    pub stderr: Mode,
}

impl Streams {
    /// What the annotations of an app say, each found by `get`. The error is for the user.
    pub fn of<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Streams, String> {
        let output = |annotation| match get(annotation) {
            Some(word) => mode(word).map_err(|reason| format!("annotation {annotation}={word}: {reason}")),
            None => Ok(Mode::default()),
        };
        if let Some(word) = get(STDIN) {
            check(STDIN, word).map_err(|reason| format!("annotation {STDIN}={word}: {reason}"))?;
        }
        Ok(Streams { stdout: output(STDOUT)?, stderr: output(STDERR)? })
    }
}

/// Whether `word` is one for the stream with this annotation. The error is for the user.
pub fn check(annotation: &str, word: &str) -> Result<(), String> {
    match (annotation, word) {
        (STDIN, "null") => Ok(()),
        (STDIN, word) if ATTACHED.contains(&word) => Err(not_attached("null")),
        (STDIN, _) => Err("must be null".to_owned()),
        (_, word) => mode(word).map(|_| ()),
    }
}

fn mode(word: &str) -> Result<Mode, String> {
    match word {
        "null" => Ok(Mode::Null),
        "log" => Ok(Mode::Log),
        word if ATTACHED.contains(&word) => Err(not_attached("null or log")),
        _ => Err("must be null or log".to_owned()),
    }
}

fn not_attached(instead: &str) -> String {
    format!("attaching to apps is not available in this version; choose {instead}, or --interactive")
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
        assert_eq!(streams(&[]), Ok(Streams { stdout: Mode::Log, stderr: Mode::Log }));
        let quiet = streams(&[(STDOUT, "null"), (STDERR, "log"), (STDIN, "null")]);
        assert_eq!(quiet, Ok(Streams { stdout: Mode::Null, stderr: Mode::Log }));
        assert_eq!(streams(&[(STDERR, "null")]).map(|streams| streams.stderr), Ok(Mode::Null));
    }

    #[test]
    fn what_cannot_be_had_is_refused() {
        for (annotation, word) in [
            (STDIN, "log"),
            (STDIN, "stream"),
            (STDIN, ""),
            (STDOUT, "stream"),
            (STDOUT, "tty"),
            (STDERR, "interactive"),
            (STDERR, "Log"),
            (STDERR, ""),
        ] {
            assert!(check(annotation, word).is_err(), "{annotation}={word}");
            let reason = streams(&[(annotation, word)]).unwrap_err();
            assert!(reason.contains(annotation), "{reason}");
        }
        for (annotation, word) in [(STDIN, "null"), (STDOUT, "null"), (STDOUT, "log"), (STDERR, "log")] {
            assert_eq!(check(annotation, word), Ok(()), "{annotation}={word}");
        }
    }
}
