//! How names are found in a pod: its `/etc/resolv.conf` and `/etc/hosts`.

mod hosts;
pub mod neighbours;
mod resolv;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use hosts::Hosts;
pub use resolv::{Dns, DnsOptions};

/// Where one of the two files comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// From the pod's networks, or the image.
    #[default]
    Default,
    /// It is the host's.
    Host,
    /// The image's, or nothing.
    None,
    /// stage0 has written it.
    Stage0,
}

impl Mode {
    const ALL: [Mode; 4] = [Mode::Default, Mode::Host, Mode::None, Mode::Stage0];

    const fn word(self) -> &'static str {
        match self {
            Mode::Default => "default",
            Mode::Host => "host",
            Mode::None => "none",
            Mode::Stage0 => "stage0",
        }
    }
}

/// Where both come from: what stage1's `--dns-conf-mode` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Modes {
    /// `/etc/resolv.conf`
    pub resolv: Mode,
    /// `/etc/hosts`
    pub hosts: Mode,
}

impl fmt::Display for Modes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "resolv={},hosts={}", self.resolv.word(), self.hosts.word())
    }
}

impl std::str::FromStr for Modes {
    type Err = String;

    fn from_str(text: &str) -> Result<Modes, String> {
        let mut modes = Modes::default();
        for pair in text.split(',') {
            let (file, word) = pair.split_once('=').unwrap_or((pair, ""));
            let mode = Mode::ALL.into_iter().find(|mode| mode.word() == word);
            let mode = mode.ok_or_else(|| format!("{pair:?}: {word:?} is no mode"))?;
            match file {
                "resolv" => modes.resolv = mode,
                "hosts" => modes.hosts = mode,
                _ => return Err(format!("{pair:?}: must be of resolv or hosts")),
            }
        }
        Ok(modes)
    }
}

/// Whether something can stand in such a file without becoming two of it.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && text.chars().all(|c| c.is_ascii_graphic() && c != '#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_and_read() {
        for text in ["resolv=default,hosts=host", "resolv=stage0,hosts=stage0", "resolv=none,hosts=default"] {
            assert_eq!(text.parse::<Modes>().unwrap().to_string(), text);
        }
        for wrong in ["", "resolv", "resolv=x", "x=host"] {
            assert!(wrong.parse::<Modes>().is_err(), "{wrong}");
        }
    }
}
