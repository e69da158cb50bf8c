//! Networks: as far as peers are told apart by where they are.

use std::net::{IpAddr, Ipv4Addr};

/// What one subscriber has: an address of IPv4, however it is written, or a /64 of IPv6, in which
/// everybody has as many addresses as they like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Network {
    /// An address.
    V4(Ipv4Addr),
    /// The upper half of addresses.
    V6(u64),
}

impl Network {
    /// The network in which an address is.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4),
            IpAddr::V6(v6) => Self::V6((v6.to_bits() >> 64) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn are_one(one: &str, other: &str) -> bool {
        let of = |address: &str| Network::of(address.parse().unwrap());
        of(one) == of(other)
    }

    #[test]
    fn a_network_is_one_address_or_half_of_one() {
        assert!(are_one("192.0.2.7", "192.0.2.7"));
        assert!(are_one("192.0.2.7", "::ffff:192.0.2.7"));
        assert!(!are_one("192.0.2.7", "192.0.2.8"));
        assert!(!are_one("::ffff:192.0.2.7", "::ffff:192.0.2.8"));
        assert!(are_one(
            "2001:db8:1:2::",
            "2001:db8:1:2:ffff:ffff:ffff:ffff"
        ));
        assert!(!are_one("2001:db8:1:2::7", "2001:db8:1:3::7"));
        assert!(!are_one("0.0.0.0", "::"));
        assert!(!are_one("192.0.2.7", "0:0:c000:207::"));
    }
}
