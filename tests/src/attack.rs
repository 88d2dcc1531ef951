//! Images whose app is an attacker, and what came of its attempts.

use std::path::PathBuf;

use crate::{image::Image, outcome::Outcome, rkt::Rkt};

/// Where the attacker is in its image.
pub const ATTACKER: &str = "/bin/attacker";

/// An image with the attacker in it, a program of this crate's own at `program`.
pub fn image(rkt: &Rkt, name: &str, program: &str, describe: impl FnOnce(Image) -> Image) -> PathBuf {
    let content = std::fs::read(program).unwrap();
    rkt.image(name, |image| describe(image.file(&ATTACKER[1..], content, 0o755)))
}

/// Asserts that there were attempts and that none was successful but those whose names begin with one of `harmless`.
#[track_caller]
pub fn all_failed(end: &Outcome, harmless: &[&str]) {
    let attempts: Vec<&str> = end.lines().into_iter().filter(|line| line.contains(": ")).collect();
    assert!(attempts.len() > 2, "no attempts were made\n{end:?}");
    let successes: Vec<&&str> = attempts
        .iter()
        .filter(|line| line.ends_with(": OK") && !harmless.iter().any(|name| line.starts_with(name)))
        .collect();
    assert!(successes.is_empty(), "successful: {successes:?}\n{end:?}");
}
