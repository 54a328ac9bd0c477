//! One host, however it was spelt, as a browser would read it.
//!
//! The WHATWG host parser does the work (percent-decoding, UTS #46, IPv4 in every spelling). Beyond it we drop the dot at
//! the end and refuse names that no resolver can have.

use std::fmt;
use std::net::IpAddr;

use crate::address::{self, Unreachable};

/// A host in its one canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// Lower case, in ASCII, without a dot at the end.
    Name(String),
    /// IPv4-mapped addresses are IPv4.
    Address(IpAddr),
}

/// Why a text is no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHost {
    /// There is nothing.
    #[error("there is no host")]
    Empty,
    /// A blank or control character, which programs drop or keep as they like.
    #[error("there is a blank or a control character in it")]
    Blank,
    /// What separates a host from what stands around it.
    #[error("there is a character in it that no host has")]
    Character,
    /// `[...]` that is none.
    #[error("this is no IPv6 address")]
    Ipv6,
    /// `%eth0` and the like.
    #[error("an IPv6 address with a zone names an interface of this machine")]
    Zone,
    /// Ends in a number, and is no address.
    #[error("it ends in a number and is no IPv4 address")]
    Ipv4,
    /// Not a valid name, in Unicode or in Punycode.
    #[error("no name has such characters, or it is no valid Punycode")]
    Idna,
    /// `a..b`, or a label or name too long for DNS.
    #[error("a name has labels of 1 to 63 characters and at most 253 in all")]
    Length,
}

/// The greatest length of a text that is looked at: what is longer is no name, however it is encoded.
const TEXT_LIMIT: usize = 4096;

impl Host {
    /// Reads a host. IPv6 addresses stand in brackets.
    ///
    /// # Errors
    /// [`BadHost`] for what is none, or is not the same to everybody.
    pub fn parse(text: &str) -> Result<Self, BadHost> {
        if text.is_empty() {
            return Err(BadHost::Empty);
        }
        if text.len() > TEXT_LIMIT {
            return Err(BadHost::Length);
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(BadHost::Blank);
        }
        if text.starts_with('[') && text.contains('%') {
            return Err(BadHost::Zone);
        }
        match url::Host::parse(text) {
            Ok(url::Host::Ipv4(v4)) => Ok(Self::Address(v4.into())),
            Ok(url::Host::Ipv6(v6)) => Ok(Self::Address(address::canonical(v6.into()))),
            Ok(url::Host::Domain(name)) => Self::name(&name),
            Err(error) => Err(match error {
                url::ParseError::EmptyHost => BadHost::Empty,
                url::ParseError::InvalidIpv6Address => BadHost::Ipv6,
                url::ParseError::InvalidIpv4Address => BadHost::Ipv4,
                url::ParseError::IdnaError => BadHost::Idna,
                _ => BadHost::Character,
            }),
        }
    }

    fn name(name: &str) -> Result<Self, BadHost> {
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.is_empty() {
            return Err(BadHost::Empty);
        }
        if name.len() > 253 || name.split('.').any(|label| label.is_empty() || label.len() > 63) {
            return Err(BadHost::Length);
        }
        // Browsers let `*`, `;` and others pass, and no resolver has such names.
        if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b)) {
            return Err(BadHost::Character);
        }
        Ok(Self::Name(name.to_owned()))
    }

    /// Is it public, as far as can be told without resolving it?
    ///
    /// # Errors
    /// What it is for instead.
    pub fn public(&self) -> Result<(), Unreachable> {
        match self {
            Self::Address(address) => address::public(*address),
            Self::Name(name) => match Zone::of(name) {
                Some(zone) => Err(zone.what()),
                None => Ok(()),
            },
        }
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        Self::Address(address::canonical(address))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(v4)) => v4.fmt(f),
            Self::Address(IpAddr::V6(v6)) => write!(f, "[{v6}]"),
        }
    }
}

/// A part of the names that the public DNS does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// `localhost` and below: this machine (RFC 6761).
    Loopback,
    /// `.local`, `.internal`, `.home.arpa`, `.localdomain`: this network.
    Local,
    /// No dot: whatever this machine's search list or hosts file makes of it.
    Single,
}

impl Zone {
    /// The zone of a canonical name; `None` for what is public.
    pub fn of(name: &str) -> Option<Self> {
        let is_in = |zone: &str| name.strip_suffix(zone).is_some_and(|above| above.is_empty() || above.ends_with('.'));
        if is_in("localhost") {
            Some(Self::Loopback)
        } else if ["local", "internal", "home.arpa", "localdomain"].into_iter().any(is_in) {
            Some(Self::Local)
        } else if !name.contains('.') {
            Some(Self::Single)
        } else {
            None
        }
    }

    fn what(self) -> Unreachable {
        Unreachable::new(match self {
            Self::Loopback => "a name of this machine",
            Self::Local => "a name of the local network",
            Self::Single => "a name without a dot, which the public DNS does not have",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, BadHost> {
        Host::parse(text).map(|host| host.to_string())
    }

    #[test]
    fn one_host_has_one_spelling() {
        for (spelt, canonical) in [
            ("EXAMPLE.com", "example.com"),
            ("example.com.", "example.com"),
            ("ex%61mple%2Ecom", "example.com"),
            ("\u{ff45}xample\u{3002}com", "example.com"),
            ("exa\u{ad}mple.com", "example.com"),
            ("b\u{fc}cher.example", "xn--bcher-kva.example"),
            ("BU\u{308}CHER.example", "xn--bcher-kva.example"),
            ("_dmarc.example.com", "_dmarc.example.com"),
            ("0x7f.1", "127.0.0.1"),
            ("017700000001", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("\u{2460}\u{2461}\u{2466}.0.0.1", "127.0.0.1"),
            ("127.1.", "127.0.0.1"),
            ("[::FFFF:7f00:1]", "127.0.0.1"),
            ("[0:0::1]", "[::1]"),
        ] {
            assert_eq!(read(spelt).as_deref(), Ok(canonical), "{spelt}");
        }
    }

    #[test]
    fn what_is_no_host_is_told_why() {
        for (text, why) in [
            ("", BadHost::Empty),
            (".", BadHost::Empty),
            ("a b.example", BadHost::Blank),
            ("a\tb.example", BadHost::Blank),
            ("a\u{a0}b.example", BadHost::Blank),
            ("a\u{7f}.example", BadHost::Blank),
            ("a..example", BadHost::Length),
            (&"a".repeat(64), BadHost::Length),
            ("example.com..", BadHost::Length),
            ("a@b", BadHost::Idna),
            ("a%00b", BadHost::Idna),
            ("a%2fb", BadHost::Idna),
            ("*.example", BadHost::Character),
            ("256.1.1.1", BadHost::Ipv4),
            ("1.2.3.4.5", BadHost::Ipv4),
            ("08.8.8.8", BadHost::Ipv4),
            ("[::1", BadHost::Ipv6),
            ("[::g]", BadHost::Ipv6),
            ("[fe80::1%25eth0]", BadHost::Zone),
            ("xn--a-.example", BadHost::Idna),
        ] {
            assert_eq!(read(text), Err(why), "{text}");
        }
    }

    #[test]
    fn zones_are_whole_labels() {
        let zone = |name| Zone::of(name);
        assert_eq!(zone("localhost"), Some(Zone::Loopback));
        assert_eq!(zone("a.localhost"), Some(Zone::Loopback));
        assert_eq!(zone("metadata.google.internal"), Some(Zone::Local));
        assert_eq!(zone("printer.local"), Some(Zone::Local));
        assert_eq!(zone("db"), Some(Zone::Single));
        assert_eq!((zone("notlocalhost.example"), zone("local.example"), zone("a.notlocal")), (None, None, None));
    }
}
