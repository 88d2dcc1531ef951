//! What a finished command said and how it ended, with assertions that show all of it when they fail.

use std::{fmt, os::unix::process::ExitStatusExt, process::Output};

/// A command that has ended.
#[derive(Clone)]
pub struct Outcome {
    /// The command, for messages.
    pub command: String,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit status, or 128 + the signal that ended it.
    pub status: i32,
}

impl Outcome {
    /// What `command` has said, and how it ended.
    pub fn new(command: String, output: &Output) -> Outcome {
        Outcome {
            command,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            status: status_of(output.status),
        }
    }

    /// Asserts that the command ended with `status`.
    #[track_caller]
    pub fn exits(self, status: i32) -> Outcome {
        assert_eq!(self.status, status, "exit status\n{self:?}");
        self
    }

    /// Asserts success.
    #[track_caller]
    pub fn success(self) -> Outcome {
        self.exits(0)
    }

    /// Asserts that rkt itself failed (254) with one line that contains all of `parts`, and printed no result.
    #[track_caller]
    pub fn refused(self, parts: &[&str]) -> Outcome {
        let outcome = self.exits(254);
        let line = outcome.stderr.lines().find(|line| parts.iter().all(|part| line.contains(part)));
        assert!(line.is_some(), "no line of stderr has all of {parts:?}\n{outcome:?}");
        assert!(!outcome.stderr.contains("panicked"), "rkt panicked\n{outcome:?}");
        outcome
    }

    /// Asserts the whole of standard output.
    #[track_caller]
    pub fn stdout_is(self, expected: &str) -> Outcome {
        assert_eq!(self.stdout, expected, "stdout\n{self:?}");
        self
    }

    /// Asserts that standard output contains `part`.
    #[track_caller]
    pub fn stdout_has(self, part: &str) -> Outcome {
        assert!(self.stdout.contains(part), "stdout lacks {part:?}\n{self:?}");
        self
    }

    /// Asserts that standard output does not contain `part`.
    #[track_caller]
    pub fn stdout_lacks(self, part: &str) -> Outcome {
        assert!(!self.stdout.contains(part), "stdout has {part:?}\n{self:?}");
        self
    }

    /// Asserts that standard error contains `part`.
    #[track_caller]
    pub fn stderr_has(self, part: &str) -> Outcome {
        assert!(self.stderr.contains(part), "stderr lacks {part:?}\n{self:?}");
        self
    }

    /// Asserts that standard error does not contain `part`.
    #[track_caller]
    pub fn stderr_lacks(self, part: &str) -> Outcome {
        assert!(!self.stderr.contains(part), "stderr has {part:?}\n{self:?}");
        self
    }

    /// The lines of standard output.
    pub fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }

    /// The value of `key=value` lines, as `rkt status` prints them.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.stdout.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!("stdout is not JSON: {error}\n{self:?}"),
        }
    }
}

/// Exit status as a shell gives it.
pub(crate) fn status_of(status: std::process::ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ {}\n[exit status {}]", self.command, self.status)?;
        writeln!(f, "--- stdout\n{}\n--- stderr\n{}", self.stdout.trim_end(), self.stderr.trim_end())
    }
}
