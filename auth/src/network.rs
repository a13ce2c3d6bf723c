//! Networks of addresses, as `allow_nets` lists them.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// Addresses from which a user may log in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Network {
    /// This machine, where there is no address (`local`).
    Local,
    /// IPv4 addresses with these first bits.
    V4 {
        /// The bits; those behind the prefix are not looked at.
        address: Ipv4Addr,
        /// How many of them, 0 to 32.
        prefix: u32,
    },
    /// IPv6 addresses with these first bits.
    V6 {
        /// The bits; those behind the prefix are not looked at.
        address: Ipv6Addr,
        /// How many of them, 0 to 128.
        prefix: u32,
    },
}

/// A text is no network.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an address, address/bits or local")]
pub struct InvalidNetwork;

impl Network {
    /// Whether an address is in it; `None` is this machine without an address.
    pub fn contains(&self, address: Option<IpAddr>) -> bool {
        match (*self, address.map(|address| address.to_canonical())) {
            (Self::Local, None) => true,
            (Self::V4 { address, prefix }, Some(IpAddr::V4(other))) => {
                let mask = u32::MAX.checked_shl(Ipv4Addr::BITS - prefix).unwrap_or(0);
                (address.to_bits() ^ other.to_bits()) & mask == 0
            }
            (Self::V6 { address, prefix }, Some(IpAddr::V6(other))) => {
                let mask = u128::MAX.checked_shl(Ipv6Addr::BITS - prefix).unwrap_or(0);
                (address.to_bits() ^ other.to_bits()) & mask == 0
            }
            _ => false,
        }
    }

    /// Reads networks separated by commas.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, InvalidNetwork> {
        text.split(',').map(|network| network.trim().parse()).collect()
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        if text == "local" {
            return Ok(Self::Local);
        }
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u32>().map_err(|_| InvalidNetwork)?)),
            None => (text, None),
        };
        let of =
            |bits: u32| prefix.map_or(Some(bits), |prefix| (prefix <= bits).then_some(prefix)).ok_or(InvalidNetwork);
        match address.parse().map_err(|_| InvalidNetwork)? {
            IpAddr::V4(address) => Ok(Self::V4 { address, prefix: of(Ipv4Addr::BITS)? }),
            IpAddr::V6(address) => Ok(Self::V6 { address, prefix: of(Ipv6Addr::BITS)? }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_and_out() {
        let networks = Network::parse_list("192.0.2.0/24, 2001:db8::/32,198.51.100.7,local").unwrap();
        let contains = |address: &str| networks.iter().any(|network| network.contains(Some(address.parse().unwrap())));
        for address in ["192.0.2.255", "2001:db8:ffff::1", "198.51.100.7", "::ffff:192.0.2.1"] {
            assert!(contains(address), "{address}");
        }
        for address in ["192.0.3.0", "2001:db9::1", "198.51.100.8", "127.0.0.1", "::1"] {
            assert!(!contains(address), "{address}");
        }
        assert!(networks.iter().any(|network| network.contains(None)));
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains(Some([203, 0, 113, 1].into())));
        assert!("::/0".parse::<Network>().unwrap().contains(Some("2001:db8::1".parse().unwrap())));
        for text in ["", "192.0.2.0/33", "::/129", "192.0.2/24", "example.org", "192.0.2.0/", "192.0.2.0/-1"] {
            assert_eq!(text.parse::<Network>(), Err(InvalidNetwork), "{text}");
        }
    }
}
