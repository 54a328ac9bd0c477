//! Ports that nothing else on the machine uses, for tests that say which ones they mean.

use std::fs::{self, File};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::ops::RangeInclusive;

/// How many ports stand side by side in a [`Range`].
pub const LENGTH: u16 = 256;
/// Those below are the system's own.
const FIRST: u16 = 1024;

/// [`LENGTH`] ports on which nobody listened when they were taken, and that no other test takes until this is dropped.
pub struct Range {
    /// The lowest of them.
    pub base: u16,
    /// Locked: a process that is killed leaves nothing behind that stands in the way.
    _claim: File,
}

impl Range {
    /// Takes one. Outside of the range from which the system takes the ports of connections, if it leaves any.
    #[expect(clippy::panic, reason = "called by tests, to which missing ports are a failure")]
    pub fn claim() -> Self {
        let passing = passing();
        let is_passing = |base: &u16| *base <= *passing.end() && base + (LENGTH - 1) >= *passing.start();
        let bases = (FIRST..=u16::MAX - (LENGTH - 1)).step_by(LENGTH.into());
        let (inside, outside): (Vec<u16>, Vec<u16>) = bases.partition(is_passing);
        let found = outside.into_iter().rev().chain(inside).find_map(Self::claim_at);
        found.unwrap_or_else(|| panic!("no ports for this test: nowhere are {LENGTH} in a row free"))
    }

    fn claim_at(base: u16) -> Option<Self> {
        let path = std::env::temp_dir().join(format!("coordinator-test-ports-{base}"));
        let claim = File::options().create(true).append(true).open(path).ok()?;
        claim.try_lock().ok()?;
        let is_free = |port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() && is_free_in_ipv6(port);
        (base..=base + (LENGTH - 1)).all(is_free).then_some(Self { base, _claim: claim })
    }
}

/// Also on a machine that has no IPv6.
fn is_free_in_ipv6(port: u16) -> bool {
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
        .err()
        .is_none_or(|error| error.kind() != std::io::ErrorKind::AddrInUse)
}

/// The ports that the system gives to whoever connects.
fn passing() -> RangeInclusive<u16> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = text.split_whitespace().filter_map(|end| end.parse().ok());
    // What the registry of port numbers leaves to them: RFC 6335, section 6.
    let first = ends.next().unwrap_or(49_152);
    first..=ends.next().unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_have_the_same_and_none_has_what_is_listened_on() {
        let (one, two) = (Range::claim(), Range::claim());
        assert_ne!(one.base, two.base);
        let base = one.base;
        drop(one);
        let _other = TcpListener::bind((Ipv4Addr::LOCALHOST, base + 200)).unwrap();
        assert_ne!(Range::claim().base, base);
        assert!(Range::claim_at(base).is_none());
    }
}
