//! Addresses that the user wants a pod to have: `--net=NAME:IP=ADDRESS`.

use std::{
    fmt::Display,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{
    config::Native,
    error::{Result, refused},
};

/// What the user wants for addresses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

impl Wish {
    /// Reads `IP=ADDRESS;IP=ADDRESS`.
    pub(super) fn read(args: &str) -> Result<Wish> {
        let mut wish = Wish::default();
        for (key, value) in args.split(';').filter_map(|pair| pair.split_once('=')) {
            if key != "IP" {
                return refused(format!("{key}={value}: the only argument that it takes is IP=ADDRESS"));
            }
            let before = match value.parse() {
                Ok(IpAddr::V4(address)) => wish.v4.replace(address).map(IpAddr::V4),
                Ok(IpAddr::V6(address)) => wish.v6.replace(address).map(IpAddr::V6),
                Err(_) => return refused(format!("IP={value} is not an IP address")),
            };
            if let Some(before) = before {
                return refused(format!("IP={before} and IP={value}: a pod has one address of each kind"));
            }
        }
        Ok(wish)
    }

    /// The number that the pod is to have among the network's addresses, of either kind, and how to call it.
    pub(super) fn number(&self, native: &Native) -> Result<Option<(u32, String)>> {
        let none = |address: IpAddr, range: &dyn Display, first: IpAddr, last: IpAddr| {
            refused(format!(
                "IP={address} is not an address of {range} that a pod can have: those are {first} to {last}"
            ))
        };
        let (v4, last) = (native.subnet4, native.subnet4.hosts() - 1);
        let by_v4 = match self.v4 {
            Some(address) => match v4.number_of(address) {
                None => return none(address.into(), &v4, v4.host(0).into(), v4.host(last).into()),
                number => number,
            },
            None => None,
        };
        let by_v6 = match (self.v6, native.subnet6) {
            (None, _) => None,
            (Some(address), None) => {
                return refused(format!("IP={address}: this network has no IPv6 addresses"));
            }
            (Some(address), Some(_)) if !crate::host::has_ipv6() => {
                return refused(format!("IP={address}: this machine does without IPv6"));
            }
            (Some(address), Some(v6)) => match v6.number_of(address).filter(|number| *number <= last) {
                None => return none(address.into(), &v6, v6.host(0).into(), v6.host(last).into()),
                number => number,
            },
        };
        match (self.v4.zip(by_v4), self.v6.zip(by_v6)) {
            (Some((address, number)), Some((other, number6))) if number != number6 => refused(format!(
                "IP={address} and IP={other}: a pod's addresses have the same number, {other} goes with {}",
                v4.host(number6)
            )),
            (Some((address, number)), _) => Ok(Some((number, format!("IP={address}")))),
            (None, Some((address, number))) => {
                Ok(Some((number, format!("IP={address}, and {} with it,", v4.host(number)))))
            }
            (None, None) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_one_address_of_each_kind() {
        let (v4, v6) = (Ipv4Addr::new(172, 16, 28, 9), "fd72:6b74:1::9".parse().unwrap());
        assert_eq!(Wish::read("").unwrap(), Wish::default());
        assert_eq!(Wish::read("IP=172.16.28.9").unwrap(), Wish { v4: Some(v4), v6: None });
        assert_eq!(Wish::read("IP=fd72:6b74:1::9").unwrap(), Wish { v4: None, v6: Some(v6) });
        let both = Wish { v4: Some(v4), v6: Some(v6) };
        assert_eq!(Wish::read("IP=fd72:6b74:1::9;IP=172.16.28.9").unwrap(), both);
        for wrong in ["IP=x", "IP=fd00::1/64", "MAC=1", "IP=1.2.3.4;X=1", "IP=1.2.3.4;IP=1.2.3.5"] {
            assert!(Wish::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_of_both_kinds_have_the_same_number() {
        let native = Native {
            subnet4: "172.16.28.0/24".parse().unwrap(),
            subnet6: Some("fd72:6b74:1::/64".parse().unwrap()),
            masquerade: true,
            restricted: false,
            mtu: None,
        };
        let number = |args: &str| {
            let number = Wish::read(args).unwrap().number(&native);
            number.map(|found| found.map(|(number, _)| number)).map_err(|error| error.to_string())
        };
        assert_eq!(number("IP=172.16.28.77"), Ok(Some(75)));
        assert_eq!(
            number("IP=172.16.28.255").unwrap_err().split(": ").last(),
            Some("those are 172.16.28.2 to 172.16.28.254")
        );
        if !crate::host::has_ipv6() {
            return;
        }
        assert_eq!(number("IP=fd72:6b74:1::4d"), Ok(Some(75)));
        assert_eq!(number("IP=fd72:6b74:1::4d;IP=172.16.28.77"), Ok(Some(75)));
        for (wrong, part) in [
            ("IP=fd72:6b74:1::ff", "fd72:6b74:1::2 to fd72:6b74:1::fe"),
            ("IP=fd72:6b74:1::1", "not an address"),
            ("IP=fd72:6b74:2::4d", "not an address"),
            ("IP=fd72:6b74:1:0:1::4d", "not an address"),
            ("IP=fd72:6b74:1::4e;IP=172.16.28.77", "goes with 172.16.28.78"),
        ] {
            let error = number(wrong).unwrap_err();
            assert!(error.contains(part), "{wrong}: {error}");
        }
    }
}
