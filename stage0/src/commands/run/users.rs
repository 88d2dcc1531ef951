//! `--private-users`

use std::path::Path;

use anyhow::{Result, bail};
use rkt_pod::users::{Range, Wanted};

use crate::commands::boolean;

/// What is said of the pod's users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Users(Option<Wanted>);

/// Reads the option's value: `auto`, a range, or a boolean as the original took it.
pub(super) fn parse(text: &str) -> Result<Users, String> {
    if text == "auto" {
        return Ok(Users(Some(Wanted::Auto)));
    }
    if let Ok(on) = boolean(text) {
        return Ok(Users(on.then_some(Wanted::Auto)));
    }
    let range: Range = text.parse().map_err(|reason| format!("{reason}; give it, or auto"))?;
    Ok(Users(Some(Wanted::Exactly(range))))
}

impl Users {
    /// The range that the pod is to have, where it is to have one.
    pub(super) fn wanted(self) -> Option<Wanted> {
        self.0
    }

    /// Refuses what this kernel cannot do.
    pub(super) fn check(self) -> Result<()> {
        if self.0.is_some() && !Path::new("/proc/self/ns/user").exists() {
            bail!("--private-users is not supported, the kernel has no user namespaces (CONFIG_USER_NS)");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_or_a_range() {
        for auto in ["auto", "true"] {
            assert_eq!(parse(auto).unwrap().wanted(), Some(Wanted::Auto), "{auto}");
        }
        assert_eq!(parse("false").unwrap().wanted(), None);
        let range = Range::new(700_000, 1000).unwrap();
        assert_eq!(parse("700000:1000").unwrap().wanted(), Some(Wanted::Exactly(range)));
        for wrong in ["", "pick", "0:65536", "700000", "700000:0", "4294967295:2", "-1:1", "1:2:3"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
