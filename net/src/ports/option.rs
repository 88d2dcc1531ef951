//! `--port=NAME:[IP:]HOSTPORT[/udp]`

use std::{fmt, net::IpAddr, str::FromStr};

use appc::types::AcName;

use super::Protocol;

/// A port of the host, for a port of an app by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortOption {
    /// The name of the app's port.
    pub name: AcName,
    /// The address of the host; all of them where absent.
    pub host_ip: Option<IpAddr>,
    /// The port of the host.
    pub host_port: u16,
    /// Instead of the protocol that the app declares.
    pub protocol: Option<Protocol>,
}

impl FromStr for PortOption {
    type Err = String;

    fn from_str(text: &str) -> Result<PortOption, String> {
        let wrong = || format!("{text:?} must be NAME:[IP:]HOSTPORT[/udp], with IPv6 addresses in brackets");
        let (name, rest) = text.split_once(':').ok_or_else(wrong)?;
        let (rest, protocol) = match rest.rsplit_once('/') {
            Some((rest, word)) => {
                let protocol = Protocol::from_name(word);
                (rest, Some(protocol.ok_or_else(|| format!("{text:?}: {word:?} is neither tcp nor udp"))?))
            }
            None => (rest, None),
        };
        let (host_ip, port) = match rest.rsplit_once(':') {
            Some((ip, port)) => {
                let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']'));
                let ip: Option<IpAddr> = match bare {
                    Some(ip) => ip.parse::<std::net::Ipv6Addr>().ok().map(IpAddr::V6),
                    None => ip.parse::<std::net::Ipv4Addr>().ok().map(IpAddr::V4),
                };
                (Some(ip.ok_or_else(wrong)?), port)
            }
            None => (None, rest),
        };
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let host_port = port.parse().ok().filter(|port| digits && *port > 0);
        let host_port = host_port.ok_or_else(|| format!("{text:?}: {port:?} is not a port, 1 to 65535"))?;
        let name = name.parse().map_err(|error| format!("{text:?}: {error}"))?;
        Ok(PortOption { name, host_ip, host_port, protocol })
    }
}

impl fmt::Display for PortOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.name)?;
        match self.host_ip {
            Some(IpAddr::V4(ip)) => write!(f, "{ip}:")?,
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:")?,
            None => {}
        }
        write!(f, "{}", self.host_port)?;
        match self.protocol {
            Some(protocol) => write!(f, "/{}", protocol.name()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_written() {
        for text in ["http:80", "http:127.0.0.1:8080", "dns:[::1]:53/udp", "dns:53/tcp", "a:65535"] {
            assert_eq!(text.parse::<PortOption>().unwrap().to_string(), text);
        }
        for wrong in [
            "",
            "http",
            "http:",
            "http:0",
            "http:65536",
            "http:+80",
            "http:::1:80",
            "http:localhost:80",
            ":80",
            "http:80/sctp",
            "Http:80",
            "http:[127.0.0.1]:80",
            "http:80:80",
            "http: 80",
        ] {
            assert!(wrong.parse::<PortOption>().is_err(), "{wrong}");
        }
    }
}
