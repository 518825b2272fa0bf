//! The groups of IP addresses that one machine or one operator holds.
//!
//! Budgets and places count peers by group, since a holder of one address in a group can use many.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The leading bits of an IPv6 address that one host may fill as it likes.
const HOST_BITS: u32 = 64;
/// The leading bits of an IPv6 address that a provider gives to one customer.
const SITE_BITS: u32 = 48;
/// The leading bits of an IPv4 address that one customer often holds whole.
const BLOCK_BITS: u32 = 24;

/// Returns the first address of the group that one host holds: an IPv4 address itself, or the /64
/// of an IPv6 address.
pub(crate) fn host_group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(first_v6(address, HOST_BITS)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Returns the first address of the group that one operator holds: the /24 of an IPv4 address, or
/// the /48 of an IPv6 address.
pub(crate) fn site_group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(first_v4(address, BLOCK_BITS)),
        IpAddr::V6(address) => IpAddr::V6(first_v6(address, SITE_BITS)),
    }
}

fn first_v4(address: Ipv4Addr, bits: u32) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits)).unwrap_or_default();
    Ipv4Addr::from_bits(address.to_bits() & mask)
}

fn first_v6(address: Ipv6Addr, bits: u32) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits)).unwrap_or_default();
    Ipv6Addr::from_bits(address.to_bits() & mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_the_group_of_its_leading_bits() {
        let ip = |text: &str| -> IpAddr { text.parse().expect("an address") };
        for (address, host, site) in [
            ("192.0.2.77", "192.0.2.77", "192.0.2.0"),
            ("::ffff:192.0.2.77", "192.0.2.77", "192.0.2.0"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", "2001:db8:1::"),
        ] {
            assert_eq!((host_group(ip(address)), site_group(ip(address))), (ip(host), ip(site)));
        }
    }
}
