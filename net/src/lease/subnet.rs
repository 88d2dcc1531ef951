//! Ranges of addresses.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A range of IPv4 addresses: the first is the network's, the second the gateway's, the last is broadcast's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet4 {
    base: u32,
    prefix: u8,
}

impl Subnet4 {
    /// How much of an address is the network's.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The address of this machine in it.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(self.base + 1)
    }

    /// Its first address.
    pub fn base(self) -> Ipv4Addr {
        Ipv4Addr::from(self.base)
    }

    /// How many pods it has addresses for.
    pub fn hosts(self) -> u32 {
        (1 << (32 - self.prefix)) - 3
    }

    /// The address of a pod, by its number from 0.
    pub(crate) fn host(self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.base + 2 + number)
    }

    /// The number of a pod's address, where it is one.
    pub(crate) fn number_of(self, address: Ipv4Addr) -> Option<u32> {
        let number = u32::from(address).checked_sub(self.base + 2)?;
        (number < self.hosts()).then_some(number)
    }

    /// The mask, as it was written before prefixes were.
    pub fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::MAX << (32 - self.prefix))
    }

    /// Whether some address is in both.
    pub(crate) fn overlaps(self, other: Subnet4) -> bool {
        let shift = 32 - self.prefix.min(other.prefix);
        self.base >> shift == other.base >> shift
    }
}

impl FromStr for Subnet4 {
    type Err = String;

    fn from_str(text: &str) -> Result<Subnet4, String> {
        let parts = text
            .split_once('/')
            .and_then(|(base, prefix)| Some((base.parse::<Ipv4Addr>().ok()?, prefix.parse::<u8>().ok()?)));
        let Some((base, prefix)) = parts else {
            return Err(format!("{text:?} is not a range of IPv4 addresses such as 10.1.0.0/16"));
        };
        if !(8..=30).contains(&prefix) {
            return Err(format!("{text:?}: the part behind the slash must be from 8 to 30"));
        }
        let base = u32::from(base);
        if base << prefix != 0 {
            return Err(format!("{text:?} has bits set behind the first {prefix}"));
        }
        Ok(Subnet4 { base, prefix })
    }
}

impl fmt::Display for Subnet4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base(), self.prefix)
    }
}

/// A range of 2^64 IPv6 addresses. Pods have in it the number that they have among the IPv4 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet6(u128);

impl Subnet6 {
    /// How much of an address is the network's.
    pub const PREFIX: u8 = 64;

    /// Its first address.
    pub fn base(self) -> Ipv6Addr {
        Ipv6Addr::from(self.0)
    }

    /// The address of this machine in it.
    pub fn gateway(self) -> Ipv6Addr {
        Ipv6Addr::from(self.0 + 1)
    }

    /// The address of a pod, by its number from 0.
    pub(crate) fn host(self, number: u32) -> Ipv6Addr {
        Ipv6Addr::from(self.0 + 2 + u128::from(number))
    }

    /// The number of a pod's address, where it is one.
    pub(crate) fn number_of(self, address: Ipv6Addr) -> Option<u32> {
        u128::from(address).checked_sub(self.0 + 2)?.try_into().ok()
    }
}

impl FromStr for Subnet6 {
    type Err = String;

    fn from_str(text: &str) -> Result<Subnet6, String> {
        let base = text.strip_suffix("/64").and_then(|base| base.parse::<Ipv6Addr>().ok());
        let Some(base) = base.map(u128::from) else {
            return Err(format!("{text:?} is not a range of IPv6 addresses such as fd00:1:2:3::/64"));
        };
        if base << 64 != 0 {
            return Err(format!("{text:?} has bits set behind the first 64"));
        }
        Ok(Subnet6(base))
    }
}

impl fmt::Display for Subnet6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base(), Self::PREFIX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_counted() {
        let subnet: Subnet4 = "172.16.28.0/24".parse().unwrap();
        assert_eq!(subnet.gateway().to_string(), "172.16.28.1");
        assert_eq!(subnet.mask().to_string(), "255.255.255.0");
        assert_eq!((subnet.hosts(), subnet.host(0).to_string()), (253, "172.16.28.2".to_owned()));
        assert_eq!(subnet.host(252).to_string(), "172.16.28.254");
        for (address, number) in
            [("172.16.28.2", Some(0)), ("172.16.28.254", Some(252)), ("172.16.28.255", None)]
        {
            assert_eq!(subnet.number_of(address.parse().unwrap()), number);
        }
        for outside in ["172.16.28.0", "172.16.28.1", "172.16.27.9", "172.16.29.2"] {
            assert_eq!(subnet.number_of(outside.parse().unwrap()), None, "{outside}");
        }
        assert_eq!("10.0.0.0/30".parse::<Subnet4>().unwrap().hosts(), 1);
        let six: Subnet6 = "fd72:6b74:1::/64".parse().unwrap();
        assert_eq!(six.host(0).to_string(), "fd72:6b74:1::2");
        assert_eq!(six.to_string(), "fd72:6b74:1::/64");
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for wrong in
            ["", "10.0.0.0", "10.0.0.0/31", "10.0.0.0/7", "10.0.0.1/24", "10.0.0/24", "x/24", "::/64"]
        {
            assert!(wrong.parse::<Subnet4>().is_err(), "{wrong}");
        }
        for wrong in ["", "fd00::/48", "fd00::1/64", "10.0.0.0/64", "fd00::"] {
            assert!(wrong.parse::<Subnet6>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn overlaps_are_seen() {
        let overlap = |a: &str, b: &str| a.parse::<Subnet4>().unwrap().overlaps(b.parse().unwrap());
        assert!(overlap("10.0.0.0/8", "10.9.0.0/16"));
        assert!(overlap("10.9.0.0/16", "10.0.0.0/8"));
        assert!(!overlap("10.9.0.0/16", "10.8.0.0/16"));
    }
}
