//! `/etc/hosts`

use std::net::IpAddr;

use super::{Mode, is_word};
use crate::error::{Result, refused};

/// The names that every machine has.
const BASE: &str = "::1 ip6-localhost ip6-loopback localhost6 localhost6.localdomain6\n\
    fe00::0 ip6-localnet\nff00::0 ip6-mcastprefix\nff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n\
    ff02::3 ip6-allhosts\n";

/// What `--hosts-entry` says: addresses with their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts(Vec<(IpAddr, Vec<String>)>);

impl Hosts {
    /// Where the file comes from, and what it has besides the usual where the command line says so.
    ///
    /// # Errors
    /// Where an entry is neither `IP=NAME` nor the only word `host`.
    pub fn read(options: &[String]) -> Result<(Mode, Hosts)> {
        let items: Vec<&str> = options.iter().flat_map(|list| list.split(',')).collect();
        if items.contains(&"host") {
            if items.len() > 1 {
                return refused("--hosts-entry=host does not go with other entries");
            }
            return Ok((Mode::Host, Hosts::default()));
        }
        let mut hosts = Hosts::default();
        for item in &items {
            let Some((address, name)) = item.split_once('=') else {
                return refused(format!("--hosts-entry={item}: must be IP=NAME or host"));
            };
            let Ok(address) = address.parse::<IpAddr>() else {
                return refused(format!("--hosts-entry={item}: {address:?} is not an IP address"));
            };
            if !is_word(name) {
                return refused(format!("--hosts-entry={item}: {name:?} is not a name"));
            }
            match hosts.0.iter_mut().find(|(other, _)| *other == address) {
                Some((_, names)) => names.push(name.to_owned()),
                None => hosts.0.push((address, vec![name.to_owned()])),
            }
        }
        Ok((if items.is_empty() { Mode::Default } else { Mode::Stage0 }, hosts))
    }

    /// The file of a pod with this host name.
    pub fn file(&self, hostname: &str) -> String {
        let mut text = format!(
            "127.0.0.1 localhost localhost.domain localhost4 localhost4.localdomain4 {hostname}\n{BASE}"
        );
        if !self.0.is_empty() {
            text += "# Added by rkt run --hosts-entry\n";
        }
        for (address, names) in &self.0 {
            text += &format!("{address} {}\n", names.join(" "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[&str]) -> Result<(Mode, Hosts)> {
        Hosts::read(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn names_of_one_address_stand_in_one_line() {
        assert_eq!(read(&[]).unwrap(), (Mode::Default, Hosts::default()));
        assert_eq!(read(&["host"]).unwrap().0, Mode::Host);
        let (mode, hosts) = read(&["192.0.2.1=a,::7=b", "192.0.2.1=c"]).unwrap();
        assert_eq!(mode, Mode::Stage0);
        let text = hosts.file("me");
        assert!(
            text.starts_with("127.0.0.1 localhost localhost.domain localhost4 localhost4.localdomain4 me\n")
        );
        assert!(text.ends_with("# Added by rkt run --hosts-entry\n192.0.2.1 a c\n::7 b\n"), "{text}");
        for wrong in [
            &["host,192.0.2.1=a"][..],
            &["host", "host"],
            &["a"],
            &["x=a"],
            &["192.0.2.1="],
            &["192.0.2.1=a\nb"],
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
