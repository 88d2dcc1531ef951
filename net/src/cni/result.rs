//! What plugins answer.

use std::net::{IpAddr, Ipv4Addr};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    error::{Error, Result, refused},
    names::Dns,
};

/// More addresses or interfaces than any plugin makes.
const MOST: usize = 64;

/// What came of adding a pod to a network.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// As the last plugin said it.
    pub(crate) result: Value,
    /// The pod's addresses, with the lengths of their networks' prefixes.
    pub(crate) addresses: Vec<(IpAddr, u8)>,
    /// The next one on its way out.
    pub(crate) gateway: Option<IpAddr>,
    /// The interface on the host, where it says so.
    pub(crate) host_interface: Option<String>,
    /// What it says of DNS.
    pub(crate) dns: Dns,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    interfaces: Vec<Interface>,
    ips: Vec<Ip>,
    ip4: Option<OldIp>,
    ip6: Option<OldIp>,
    dns: Dns,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Interface {
    name: String,
    sandbox: String,
}

#[derive(Debug, Deserialize)]
struct Ip {
    address: String,
    gateway: Option<String>,
    interface: Option<i64>,
}

/// Of versions 0.1 and 0.2.
#[derive(Debug, Deserialize)]
struct OldIp {
    ip: String,
    gateway: Option<String>,
}

impl Outcome {
    /// Reads the answer of a chain's last plugin.
    ///
    /// # Errors
    /// Where it is none.
    pub(crate) fn read(result: Value) -> Result<Outcome> {
        if !result.is_object() {
            return refused("the plugins' answer is none of CNI's");
        }
        let answer: Answer = serde_json::from_value(result.clone())
            .map_err(|error| Error::Refused(format!("the plugins' answer is none of CNI's: {error}")))?;
        if answer.ips.len() > MOST || answer.interfaces.len() > MOST {
            return refused(format!("the plugins' answer has more than {MOST} addresses or interfaces"));
        }
        answer.dns.check()?;
        let in_pod = |ip: &&Ip| {
            let interface =
                ip.interface.and_then(|index| answer.interfaces.get(usize::try_from(index).ok()?));
            interface.is_none_or(|interface| !interface.sandbox.is_empty())
        };
        let new = answer.ips.iter().filter(in_pod).map(|ip| (ip.address.as_str(), ip.gateway.as_deref()));
        let old = answer.ip4.iter().chain(&answer.ip6).map(|ip| (ip.ip.as_str(), ip.gateway.as_deref()));
        let mut addresses = Vec::new();
        let mut first_gateway = None;
        for (address, gateway) in new.chain(old) {
            addresses.push(cidr(address)?);
            if let Some(gateway) = gateway.filter(|gateway| !gateway.is_empty() && first_gateway.is_none()) {
                let parsed = gateway.parse::<IpAddr>();
                first_gateway = Some(parsed.map_err(|_| {
                    Error::Refused(format!("the plugins' gateway {gateway:?} is no address"))
                })?);
            }
        }
        let valid = |name: &&str| {
            !name.is_empty()
                && name.len() < 16
                && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
        };
        let outside = answer.interfaces.iter().filter(|interface| interface.sandbox.is_empty());
        // A bridge comes first, the pod's own end of a pair behind it.
        let host_interface = outside.map(|interface| interface.name.as_str()).rfind(valid).map(str::to_owned);
        Ok(Outcome { addresses, gateway: first_gateway, host_interface, dns: answer.dns, result })
    }

    /// The first IPv4 address.
    pub(crate) fn v4(&self) -> Option<(Ipv4Addr, u8)> {
        self.addresses.iter().find_map(|(address, prefix)| match address {
            IpAddr::V4(address) => Some((*address, *prefix)),
            IpAddr::V6(_) => None,
        })
    }
}

fn cidr(text: &str) -> Result<(IpAddr, u8)> {
    let parts = text.split_once('/').and_then(|(address, prefix)| {
        let (address, prefix) = (address.parse::<IpAddr>().ok()?, prefix.parse::<u8>().ok()?);
        (prefix <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, prefix))
    });
    parts.ok_or_else(|| Error::Refused(format!("the plugins' address {text:?} is none")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_of_all_versions_are_read() {
        let new = json!({"cniVersion": "1.0.0",
            "interfaces": [{"name": "br0"}, {"name": "veth1"}, {"name": "eth0", "sandbox": "/proc/1/ns/net"}],
            "ips": [{"address": "10.1.0.2/16", "gateway": "10.1.0.1", "interface": 2},
                {"address": "fd00::2/64", "interface": 2}, {"address": "10.1.0.1/16", "interface": 0}],
            "routes": [{"dst": "0.0.0.0/0"}], "dns": {"nameservers": ["10.1.0.1"]}});
        let outcome = Outcome::read(new).unwrap();
        let addresses: Vec<String> =
            outcome.addresses.iter().map(|(ip, prefix)| format!("{ip}/{prefix}")).collect();
        assert_eq!(addresses, ["10.1.0.2/16", "fd00::2/64"]);
        assert_eq!(outcome.gateway.unwrap().to_string(), "10.1.0.1");
        assert_eq!(outcome.host_interface.as_deref(), Some("veth1"));
        assert_eq!(outcome.dns.nameservers, ["10.1.0.1"]);
        let old = json!({"ip4": {"ip": "10.1.0.2/16", "gateway": "10.1.0.1"}, "dns": {}});
        assert_eq!(Outcome::read(old).unwrap().v4(), Some(("10.1.0.2".parse().unwrap(), 16)));
        assert_eq!(Outcome::read(json!({})).unwrap().v4(), None, "no address at all will do");
    }

    #[test]
    fn hostile_answers_are_refused() {
        let many: Vec<Value> = (0..65).map(|_| json!({"address": "10.0.0.1/8"})).collect();
        for answer in [
            json!(3),
            json!([]),
            json!({"ips": 3}),
            json!({"ips": [{"address": "10.0.0.1"}]}),
            json!({"ips": [{"address": "10.0.0.1/33"}]}),
            json!({"ips": [{"address": "10.0.0.1/8", "gateway": "x"}]}),
            json!({"ips": many}),
            json!({"dns": {"nameservers": ["1.2.3.4\nsearch evil"]}}),
            json!({"dns": {"search": ["a b"]}}),
        ] {
            assert!(Outcome::read(answer.clone()).is_err(), "{answer}");
        }
        let name = Outcome::read(json!({"interfaces": [{"name": "../../etc"}]})).unwrap();
        assert_eq!(name.host_interface, None);
    }
}
