//! The signal that asks an app to end.

use anyhow::{Context, Result};
use rustix::process::Signal;

/// Where images that were converted from Docker's format keep theirs.
const ANNOTATION: &str = "appc.io/docker/stopsignal";

const NAMES: [(&str, Signal); 17] = [
    ("HUP", Signal::HUP),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("ABRT", Signal::ABORT),
    ("ALRM", Signal::ALARM),
    ("TERM", Signal::TERM),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("KILL", Signal::KILL),
    ("CONT", Signal::CONT),
    ("WINCH", Signal::WINCH),
    ("PIPE", Signal::PIPE),
    ("IO", Signal::IO),
    ("POLL", Signal::IO),
    ("PWR", Signal::POWER),
    ("URG", Signal::URG),
    ("VTALRM", Signal::VTALARM),
];

/// The signal that an image wants: `SIGTERM`, unless it says otherwise.
///
/// # Errors
/// Where it wants none that there is.
pub(crate) fn of(image: &appc::schema::ImageManifest) -> Result<Signal> {
    match image.annotations.get(ANNOTATION) {
        Some(text) => {
            parse(text).with_context(|| format!("the image's stop signal {text:?} is none that can be sent"))
        }
        None => Ok(Signal::TERM),
    }
}

/// `SIGQUIT`, `QUIT` or `3`.
fn parse(text: &str) -> Option<Signal> {
    if let Ok(number) = text.parse() {
        return Signal::from_named_raw(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, signal)| *signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, want) in [
            ("SIGQUIT", Some(Signal::QUIT)),
            ("quit", Some(Signal::QUIT)),
            ("3", Some(Signal::QUIT)),
            ("15", Some(Signal::TERM)),
            ("SIGRTMIN+3", None),
            ("0", None),
            ("-1", None),
            ("999", None),
            ("", None),
        ] {
            assert_eq!(parse(text), want, "{text}");
        }
    }
}
