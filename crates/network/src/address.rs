//! Is an address globally reachable? By the IANA special-purpose registries of IPv4 and IPv6.
//!
//! An IPv6 address that stands for an IPv4 address is judged by that one. What the registries do not call globally
//! reachable (6to4, Teredo: "N/A") is not public, and neither is what IANA has assigned to nobody.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is not public: what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreachable(&'static str);

impl Unreachable {
    pub(crate) const fn new(what: &'static str) -> Self {
        Self(what)
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Blocks of IPv4 that are not globally reachable, and what they are for.
const V4: &[(Ipv4Addr, u32, &str)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8, "this network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private use"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "shared address space (carrier-grade NAT)"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local, where clouds keep their metadata"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private use"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "protocol assignments"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "the former 6to4 relays"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private use"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarking"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved, or broadcast"),
];

/// Within those, what is globally reachable all the same.
const V4_PUBLIC: &[(Ipv4Addr, u32)] = &[(Ipv4Addr::new(192, 0, 0, 9), 32), (Ipv4Addr::new(192, 0, 0, 10), 32)];

/// As [`V4`], within 2000::/3, which is all that is assigned.
const V6: &[(Ipv6Addr, u32, &str)] = &[
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, "Teredo"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "protocol assignments"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "documentation"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "documentation"),
];

/// Within those, what is globally reachable all the same.
const V6_PUBLIC: &[(Ipv6Addr, u32)] = &[
    (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 1), 128),
    (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 2), 128),
    (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 3), 128),
    (Ipv6Addr::new(0x2001, 3, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2001, 4, 0x112, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x2001, 0x20, 0, 0, 0, 0, 0, 0), 28),
    (Ipv6Addr::new(0x2001, 0x30, 0, 0, 0, 0, 0, 0), 28),
];

/// The address that a packet for this one goes to: an IPv4-mapped one is its IPv4 address.
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Is it globally reachable?
///
/// # Errors
/// What it is for instead.
pub fn public(address: IpAddr) -> Result<(), Unreachable> {
    match canonical(address) {
        IpAddr::V4(address) => public_v4(address),
        IpAddr::V6(address) => public_v6(address),
    }
}

/// The IPv4 addresses within an IPv6 address that a gateway or a host might take it for.
pub fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = canonical(address) else { return None };
    let [first, second, third, .., last_but_one, last] = v6.segments();
    match v6.segments() {
        // NAT64, and IPv4-compatible.
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] | [0, 0, 0, 0, 0, 0, _, _] if v6 != Ipv6Addr::LOCALHOST => {
            Some(joined(last_but_one, last))
        }
        _ if first == 0x2002 => Some(joined(second, third)),
        // Teredo: the client's address, inverted.
        _ if (first, second) == (0x2001, 0) => Some(joined(!last_but_one, !last)),
        _ => None,
    }
}

fn joined(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
}

fn public_v4(address: Ipv4Addr) -> Result<(), Unreachable> {
    let bits = u32::from(address);
    let within = |base: Ipv4Addr, length: u32| (bits ^ u32::from(base)).checked_shr(32 - length).unwrap_or(0) == 0;
    if V4_PUBLIC.iter().any(|(base, length)| within(*base, *length)) {
        return Ok(());
    }
    match V4.iter().find(|(base, length, _)| within(*base, *length)) {
        Some((.., what)) => Err(Unreachable(what)),
        None => Ok(()),
    }
}

fn public_v6(address: Ipv6Addr) -> Result<(), Unreachable> {
    let bits = u128::from(address);
    let within = |base: Ipv6Addr, length: u32| (bits ^ u128::from(base)).checked_shr(128 - length).unwrap_or(0) == 0;
    let segments = address.segments();
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 0] => return Err(Unreachable("unspecified: this machine")),
        [0, 0, 0, 0, 0, 0, 0, 1] => return Err(Unreachable("loopback")),
        [0, 0, 0, 0, 0, 0, ..] => return Err(Unreachable("IPv4-compatible, which is not used any more")),
        // NAT64: the gateway goes to the IPv4 address.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => return public_v4(joined(high, low)),
        [0x64, 0xff9b, 1, ..] => return Err(Unreachable("local NAT64")),
        _ => {}
    }
    match segments[0] {
        0xfc00..=0xfdff => return Err(Unreachable("unique local")),
        0xfe80..=0xfebf => return Err(Unreachable("link-local")),
        0xfec0..=0xfeff => return Err(Unreachable("site-local")),
        0xff00..=0xffff => return Err(Unreachable("multicast")),
        0x2000..=0x3fff => {}
        _ => return Err(Unreachable("no part of the global Internet")),
    }
    if V6_PUBLIC.iter().any(|(base, length)| within(*base, *length)) {
        return Ok(());
    }
    match V6.iter().find(|(base, length, _)| within(*base, *length)) {
        Some((.., what)) => Err(Unreachable(what)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_public(text: &str) -> bool {
        public(text.parse().unwrap()).is_ok()
    }

    /// The first and the last address of each block, and their neighbours outside.
    #[test]
    fn blocks_end_where_they_end() {
        for (block, outside) in [
            (["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0"]),
            (["100.64.0.0", "100.127.255.255"], ["100.63.255.255", "100.128.0.0"]),
            (["127.0.0.0", "127.255.255.255"], ["126.255.255.255", "128.0.0.0"]),
            (["169.254.0.0", "169.254.255.255"], ["169.253.255.255", "169.255.0.0"]),
            (["172.16.0.0", "172.31.255.255"], ["172.15.255.255", "172.32.0.0"]),
            (["192.168.0.0", "192.168.255.255"], ["192.167.255.255", "192.169.0.0"]),
            (["198.18.0.0", "198.19.255.255"], ["198.17.255.255", "198.20.0.0"]),
            (["224.0.0.0", "255.255.255.255"], ["223.255.255.255", "1.0.0.0"]),
            (["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"], ["2001:db7::", "2001:db9::"]),
            (["2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], ["2001:ffff::", "2003::"]),
            (["3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"], ["3ffe::", "3fff:1000::"]),
            (["4000::", "fdff::"], ["2400::", "2606::"]),
        ] {
            assert!(block.iter().all(|address| !is_public(address)), "{block:?}");
            assert!(outside.iter().all(|address| is_public(address)), "{outside:?}");
        }
    }

    #[test]
    fn an_address_within_an_address_is_judged() {
        for inner in ["127.0.0.1", "10.1.2.3", "169.254.169.254"] {
            let [a, b, c, d] = inner.parse::<Ipv4Addr>().unwrap().octets();
            let hex = format!("{a:02x}{b:02x}:{c:02x}{d:02x}");
            for spelt in
                [format!("::ffff:{hex}"), format!("64:ff9b::{hex}"), format!("::{hex}"), format!("2002:{hex}::")]
            {
                assert!(!is_public(&spelt), "{spelt}");
            }
        }
        assert!(is_public("::ffff:8.8.8.8") && is_public("64:ff9b::8.8.8.8"));
        assert!(!is_public("::8.8.8.8") && !is_public("64:ff9b:1::8.8.8.8"));
    }

    #[test]
    fn embedded_addresses_are_found() {
        let found = |text: &str| embedded(text.parse().unwrap()).map(|v4| v4.to_string());
        assert_eq!(found("64:ff9b::8.8.8.8").as_deref(), Some("8.8.8.8"));
        assert_eq!(found("2002:808:808::1").as_deref(), Some("8.8.8.8"));
        assert_eq!(found("2001:0:1::f7f7:f7f7").as_deref(), Some("8.8.8.8"));
        assert_eq!((found("::1"), found("8.8.8.8"), found("2606::1")), (None, None, None));
    }
}
