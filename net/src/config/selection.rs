//! What `--net` says.

use std::net::Ipv6Addr;

use crate::error::{Error, Result, refused};

/// A network that was asked for, and what its plugin is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// `KEY=VALUE;KEY=VALUE`, with IPv6 addresses as they are, without brackets.
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
            if wanted.iter().any(|other| other.name == name) {
                return refused(format!("--net={shown}: network {name:?} is given twice"));
            }
            if matches!(name, "all" | "host") && !args.is_empty() {
                return refused(format!("--net={shown}: {name:?} does not take arguments"));
            }
            let args =
                read_args(args).map_err(|reason| Error::Refused(format!("--net={shown}: {reason}")))?;
            wanted.push(Wanted { name: name.to_owned(), args });
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

fn read_args(args: &str) -> Result<String, String> {
    let pairs = args.split(';').filter(|_| !args.is_empty());
    Ok(pairs.map(read_pair).collect::<Result<Vec<String>, String>>()?.join(";"))
}

fn read_pair(pair: &str) -> Result<String, String> {
    let both = pair.split_once('=').filter(|(key, value)| !key.is_empty() && !value.is_empty());
    let (key, value) = both.ok_or_else(|| format!("{pair:?} must be KEY=VALUE, behind NAME: and each ;"))?;
    if !value.contains([':', '[', ']']) && !key.contains(':') {
        return Ok(pair.to_owned());
    }
    // What is meant for another item of the list, with the wrong sign between them, has colons as well.
    let plain = address(value).filter(|_| !key.contains(':')).ok_or_else(|| {
        format!("{pair:?}: only IPv6 addresses, as IP=[fd00::5], and hardware addresses have colons")
    })?;
    Ok(format!("{key}={plain}"))
}

/// An IPv6 address with or without brackets and the length of a prefix, or a hardware address: without the brackets.
fn address(value: &str) -> Option<String> {
    let plain = match value.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            format!("{address}{rest}")
        }
        None => value.to_owned(),
    };
    let (address, prefix) = plain.split_once('/').unwrap_or((&plain, "128"));
    let is_ipv6 = address.parse::<Ipv6Addr>().is_ok() && prefix.parse::<u8>().is_ok_and(|bits| bits <= 128);
    let is_hexadecimal = |byte: &str| byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit());
    let is_hardware = plain.split(':').count() == 6 && plain.split(':').all(is_hexadecimal);
    (is_ipv6 || (is_hardware && plain == value)).then_some(plain)
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
            (&["a:IP=[fd00::5]"], "a:IP=fd00::5"),
            (&["a:IP=fd00::5", "b:IP=[fd00::5]/64"], "a:IP=fd00::5,b:IP=fd00::5/64"),
            (
                &["a:IP=10.0.0.7;IP=[fd00::5];MAC=02:11:22:33:44:5f"],
                "a:IP=10.0.0.7;IP=fd00::5;MAC=02:11:22:33:44:5f",
            ),
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
            &["a:b:IP=1.2.3.4"],
            &["a:IP=1.2.3.4:b"],
            &["a:IP=[1.2.3.4]"],
            &["a:IP=[fd00::5"],
            &["a:IP=fd00::5]"],
            &["a:IP=[fd00::5]x"],
            &["a:IP=fd00::5/129"],
            &["a:IP=fd00:5"],
            &["a:MAC=[02:11:22:33:44:55]"],
            &["a:MAC=02:11:22:33:44"],
            &[":IP=1"],
        ] {
            assert!(read(lists).is_err(), "{lists:?}");
        }
    }
}
