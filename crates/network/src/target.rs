//! The host and port that a URL or a bare host names.
//!
//! Accepted are `scheme://host[:port]...`, `host[:port]` with a path or not, and an IPv6 address with or without brackets.
//! Whatever two parsers could read as two hosts is refused: users before an `@`, backslashes, slashes too few or too many.

use std::fmt;
use std::net::Ipv6Addr;

use crate::host::{BadHost, Host};

/// What is to be reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The host.
    pub host: Host,
    /// The port: the one that is named, or else the scheme's. `None` when neither tells.
    pub port: Option<u16>,
}

/// Why a text names no target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// Blanks and control characters, wherever they are.
    #[error("there is a blank or a control character in it, which programs drop or keep as they like")]
    Blank,
    /// `user@host`.
    #[error("there is an @ before or right behind the host: what stands before it only looks like one")]
    User,
    /// `\`.
    #[error("there is a backslash before its path, which some programs read as a slash")]
    Backslash,
    /// `https:host`, `https:/host`, `https:///host`, `//host`.
    #[error("a URL begins with a scheme, :// and a host")]
    Slashes,
    /// `file:`.
    #[error("a file is not on the network")]
    File,
    /// The port.
    #[error("a port is a number from 1 to 65535")]
    Port,
    /// The host.
    #[error("{0}")]
    Host(#[from] BadHost),
}

/// Ports of schemes that agents' tools use. Another scheme's port is unknown.
const PORTS: &[(&str, u16)] = &[
    ("http", 80),
    ("ws", 80),
    ("https", 443),
    ("wss", 443),
    ("ftp", 21),
    ("ftps", 990),
    ("ssh", 22),
    ("sftp", 22),
    ("git+ssh", 22),
    ("git", 9418),
    ("gopher", 70),
    ("telnet", 23),
    ("ldap", 389),
    ("ldaps", 636),
    ("smtp", 25),
    ("postgres", 5432),
    ("postgresql", 5432),
    ("mysql", 3306),
    ("redis", 6379),
    ("rediss", 6379),
    ("mongodb", 27017),
    ("amqp", 5672),
    ("amqps", 5671),
];

impl Target {
    /// Reads a URL or a host.
    ///
    /// # Errors
    /// [`BadTarget`] for what is neither, or is not the same to everybody.
    pub fn parse(text: &str) -> Result<Self, BadTarget> {
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(BadTarget::Blank);
        }
        let (scheme, rest) = match scheme(text) {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, text),
        };
        if scheme.as_deref() == Some("file") {
            return Err(BadTarget::File);
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, after) = rest.split_at(end);
        if authority.contains('\\') {
            return Err(BadTarget::Backslash);
        }
        if authority.is_empty() && !rest.is_empty() {
            return Err(BadTarget::Slashes);
        }
        // `good#@evil` and `good?@evil` have been read as a user and a host, too.
        let is_behind = || after.starts_with(['?', '#']) && after.split('/').next().is_some_and(|s| s.contains('@'));
        if authority.contains('@') || is_behind() {
            return Err(BadTarget::User);
        }
        if scheme.is_none()
            && let Ok(bare) = authority.parse::<Ipv6Addr>()
        {
            return Ok(Self { host: Host::from(std::net::IpAddr::V6(bare)), port: None });
        }
        let (host, port) = split_port(authority);
        let port = match port {
            None => scheme_port(scheme.as_deref()),
            // As browsers do. Without a scheme it is one that lacks its slashes: `https:`.
            Some("") if scheme.is_some() => scheme_port(scheme.as_deref()),
            Some(port) => Some(parse_port(port)?),
        };
        Ok(Self { host: Host::parse(host)?, port })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => self.host.fmt(f),
        }
    }
}

fn scheme_port(scheme: Option<&str>) -> Option<u16> {
    PORTS.iter().find(|(name, _)| Some(*name) == scheme).map(|(_, port)| *port)
}

/// The scheme before `://`, and what follows.
fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    is_scheme.then_some((scheme, rest))
}

/// `host:port`, where a colon inside brackets is the address's.
pub(crate) fn split_port(text: &str) -> (&str, Option<&str>) {
    let after_brackets = text.rfind(']').map_or(0, |at| at + 1);
    match text[after_brackets..].rfind(':') {
        Some(at) => (&text[..after_brackets + at], Some(&text[after_brackets + at + 1..])),
        None => (text, None),
    }
}

pub(crate) fn parse_port(text: &str) -> Result<u16, BadTarget> {
    // Parsing alone would take a sign.
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let port = if is_number { text.trim_start_matches('0').parse().ok() } else { None };
    port.ok_or(BadTarget::Port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, BadTarget> {
        Target::parse(text).map(|target| target.to_string())
    }

    #[test]
    fn urls_and_hosts_name_a_host_and_a_port() {
        for (text, target) in [
            ("https://Example.com/a/@scope/b?c=d@e#f", "example.com:443"),
            ("HTTP://example.com", "example.com:80"),
            ("https://example.com:/", "example.com:443"),
            ("https://example.com:08443/", "example.com:8443"),
            ("custom+x://example.com/", "example.com"),
            ("wss://[2606:4700::1111]:8443/x", "[2606:4700::1111]:8443"),
            ("example.com", "example.com"),
            ("example.com:22", "example.com:22"),
            ("example.com/path?to=https://other.example/", "example.com"),
            ("::1", "[::1]"),
            ("[::1]:80", "[::1]:80"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("http://127.1:8080\u{2f}", "127.0.0.1:8080"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(target), "{text}");
        }
    }

    #[test]
    fn what_two_programs_read_as_two_hosts_is_refused() {
        for (text, why) in [
            ("http://good.example@evil.example/", BadTarget::User),
            ("http://user:pass@good.example/", BadTarget::User),
            ("http://good.example#@evil.example/", BadTarget::User),
            ("http://good.example?@evil.example/", BadTarget::User),
            ("http://good.example\\@evil.example/", BadTarget::Backslash),
            ("http:\\\\good.example/", BadTarget::Backslash),
            ("good.example\\.evil.example", BadTarget::Backslash),
            ("http:///good.example/", BadTarget::Slashes),
            ("//good.example/", BadTarget::Slashes),
            ("http://good.example /", BadTarget::Blank),
            (" http://good.example/", BadTarget::Blank),
            ("http://good.example/\nHost: evil.example", BadTarget::Blank),
            ("http://good.ex\tample/", BadTarget::Blank),
            ("file://good.example/etc/passwd", BadTarget::File),
            ("http://good.example:0/", BadTarget::Port),
            ("http://good.example:+80/", BadTarget::Port),
            ("http://good.example:65536/", BadTarget::Port),
            ("http://good.example:80:80/", BadTarget::Host(BadHost::Idna)),
            ("http:good.example", BadTarget::Port),
            ("http:/good.example", BadTarget::Port),
            ("javascript:alert(1)", BadTarget::Port),
            ("", BadTarget::Host(BadHost::Empty)),
            ("http://", BadTarget::Host(BadHost::Empty)),
            ("http://:80/", BadTarget::Host(BadHost::Empty)),
        ] {
            assert_eq!(read(text), Err(why), "{text}");
        }
    }
}
