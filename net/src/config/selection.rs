//! What `--net` says.

use crate::error::{Error, Result, refused};

/// A network that was asked for, and what its plugin is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// `KEY=VALUE;KEY=VALUE`.
    pub args: String,
}

/// The network of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The host's.
    Host,
    /// One of its own with nothing but a loopback device.
    None,
    /// These networks.
    Networks(Vec<Wanted>),
    /// All that are configured.
    All,
}

impl Selection {
    /// Reads the lists of all options together. Without any it is the network `default`.
    ///
    /// # Errors
    /// Where an item is not `NAME` or `NAME:ARGS`, or one network comes twice.
    pub fn read(lists: &[String]) -> Result<Selection> {
        let shown = lists.join(",");
        let mut wanted: Vec<Wanted> = Vec::new();
        for item in lists.iter().flat_map(|list| list.split(',')) {
            let (name, args) = item.split_once(':').unwrap_or((item, ""));
            if name.is_empty() {
                return refused(format!("--net={shown}: a network's name must not be empty"));
            }
            if args.contains(':') {
                return refused(format!("--net={shown}: {item:?} must be NAME or NAME:ARGS"));
            }
            if wanted.iter().any(|other| other.name == name) {
                return refused(format!("--net={shown}: network {name:?} is given twice"));
            }
            if matches!(name, "all" | "host") && !args.is_empty() {
                return refused(format!("--net={shown}: {name:?} does not take arguments"));
            }
            check_args(args).map_err(|reason| Error::Refused(format!("--net={shown}: {reason}")))?;
            wanted.push(Wanted { name: name.to_owned(), args: args.to_owned() });
        }
        let has = |name: &str| wanted.iter().any(|wanted| wanted.name == name);
        Ok(if has("host") {
            Selection::Host
        } else if has("none") {
            Selection::None
        } else if has("all") {
            Selection::All
        } else if wanted.is_empty() {
            Selection::Networks(vec![Wanted { name: "default".to_owned(), args: String::new() }])
        } else {
            Selection::Networks(wanted)
        })
    }

    /// The selection as one list.
    pub fn list(&self) -> String {
        match self {
            Selection::Host => "host".to_owned(),
            Selection::None => "none".to_owned(),
            Selection::All => "all".to_owned(),
            Selection::Networks(wanted) => {
                let item = |wanted: &Wanted| match wanted.args.as_str() {
                    "" => wanted.name.clone(),
                    args => format!("{}:{args}", wanted.name),
                };
                wanted.iter().map(item).collect::<Vec<_>>().join(",")
            }
        }
    }
}

fn check_args(args: &str) -> Result<(), String> {
    let wrong = args.split(';').find(|pair| {
        !args.is_empty()
            && !pair.split_once('=').is_some_and(|(key, value)| !key.is_empty() && !value.is_empty())
    });
    match wrong {
        Some(pair) => Err(format!("{pair:?} must be KEY=VALUE")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lists: &[&str]) -> Result<String> {
        let lists: Vec<String> = lists.iter().map(|list| (*list).to_owned()).collect();
        Selection::read(&lists).map(|selection| selection.list())
    }

    #[test]
    fn lists_add_up_and_host_and_none_win() {
        for (lists, want) in [
            (&[][..], "default"),
            (&["host"], "host"),
            (&["a,none", "b"], "none"),
            (&["none", "host"], "host"),
            (&["a", "all"], "all"),
            (&["a:IP=10.0.0.7;X=y", "b"], "a:IP=10.0.0.7;X=y,b"),
            (&["none:IP=1.2.3.4"], "none"),
        ] {
            assert_eq!(read(lists).unwrap(), want, "{lists:?}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for lists in [
            &["", "host"][..],
            &["host,"],
            &["none", "none"],
            &["a:b:c"],
            &["all:IP=1.2.3.4"],
            &["host:A=b"],
            &["a:IP"],
            &["a:IP=1;"],
            &[":IP=1"],
        ] {
            assert!(read(lists).is_err(), "{lists:?}");
        }
    }
}
