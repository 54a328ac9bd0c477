//! A rule names hosts: `host`, `*.host` (any depth below it, not itself), `**.host` (with itself), `*` (all). A port behind
//! it, `host:443`, limits it to that port.

use std::fmt;
use std::net::Ipv6Addr;

use crate::host::{BadHost, Host, Zone};
use crate::target::{Target, parse_port, split_port};

/// A rule in its canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    pattern: Pattern,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Pattern {
    /// `*`
    Any,
    /// `host`
    Host(Host),
    /// `*.host`
    Below(String),
    /// `**.host`
    Within(String),
}

/// A text that is no rule: which, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rule {rule:?} cannot be used: {why}")]
pub struct BadRule {
    /// The text.
    pub rule: String,
    /// What is wrong with it.
    pub why: String,
}

/// How a rule meets a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Match {
    /// Host and port.
    Full,
    /// The host; but the rule is for one port, and which is asked for is not known.
    PortUnknown(u16),
    /// Not at all.
    None,
}

impl Rule {
    /// Reads a rule. Its host is read as that of a target is.
    ///
    /// # Errors
    /// [`BadRule`], which names it.
    pub fn parse(text: &str) -> Result<Self, BadRule> {
        Self::read(text).map_err(|why| BadRule { rule: text.to_owned(), why })
    }

    fn read(text: &str) -> Result<Self, String> {
        if text.contains("://") || text.contains(['/', '?', '#', '@', '\\']) {
            return Err("a rule is a host, perhaps with a port, and no URL".to_owned());
        }
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            let host = Host::from(std::net::IpAddr::V6(address));
            return Ok(Self { pattern: Pattern::Host(host), port: None });
        }
        let (host, port) = split_port(text);
        let port = port.map(parse_port).transpose().map_err(|bad| bad.to_string())?;
        // Browsers take these for dots, and so does the rest of the rule.
        let host: String = host.replace(['\u{3002}', '\u{ff0e}', '\u{ff61}'], ".");
        let pattern = if host == "*" {
            Pattern::Any
        } else if let Some(base) = host.strip_prefix("**.") {
            Pattern::Within(name_below(base)?)
        } else if let Some(base) = host.strip_prefix("*.") {
            Pattern::Below(name_below(base)?)
        } else if host.contains('*') {
            return Err("a * stands alone, or as *. or **. before a whole host".to_owned());
        } else {
            Pattern::Host(Host::parse(&host).map_err(|bad| bad.to_string())?)
        };
        Ok(Self { pattern, port })
    }

    /// The host, where the rule names exactly one.
    pub fn host(&self) -> Option<&Host> {
        match &self.pattern {
            Pattern::Host(host) => Some(host),
            _ => None,
        }
    }

    pub(crate) fn matches(&self, host: &Host, port: Option<u16>) -> Match {
        let is_host = match (&self.pattern, host) {
            (Pattern::Any, _) => true,
            (Pattern::Host(ours), theirs) => ours == theirs,
            (Pattern::Below(base), Host::Name(name)) => is_below(name, base),
            (Pattern::Within(base), Host::Name(name)) => name == base || is_below(name, base),
            (Pattern::Below(_) | Pattern::Within(_), Host::Address(_)) => false,
        };
        match (is_host, self.port, port) {
            (false, ..) => Match::None,
            (true, None, _) => Match::Full,
            (true, Some(ours), Some(theirs)) if ours == theirs => Match::Full,
            (true, Some(_), Some(_)) => Match::None,
            (true, Some(ours), None) => Match::PortUnknown(ours),
        }
    }

    /// Does it list this host, which is not public, so literally that it is meant? An address, a name of this machine and
    /// one without a dot only by itself; a name of the local network also by a rule that names its zone.
    pub(crate) fn lists(&self, target: &Target) -> bool {
        if self.matches(&target.host, target.port) != Match::Full {
            return false;
        }
        match (&self.pattern, &target.host) {
            (Pattern::Host(_), _) => true,
            (Pattern::Below(base) | Pattern::Within(base), Host::Name(name)) => {
                Zone::of(name) == Some(Zone::Local) && Zone::of(base).is_some()
            }
            _ => false,
        }
    }
}

/// The name that a wildcard stands before.
fn name_below(base: &str) -> Result<String, String> {
    match Host::parse(base) {
        Ok(Host::Name(name)) => Ok(name),
        Ok(Host::Address(_)) => Err("nothing is below an address: name each address by itself".to_owned()),
        Err(BadHost::Character) if base.contains('*') => {
            Err("a * stands alone, or as *. or **. before a whole host".to_owned())
        }
        Err(bad) => Err(bad.to_string()),
    }
}

fn is_below(name: &str, base: &str) -> bool {
    name.strip_suffix(base).is_some_and(|above| above.ends_with('.'))
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pattern {
            Pattern::Any => f.write_str("*"),
            Pattern::Host(host) => host.fmt(f),
            Pattern::Below(base) => write!(f, "*.{base}"),
            Pattern::Within(base) => write!(f, "**.{base}"),
        }?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_has_one_spelling() {
        for (text, canonical) in [
            ("Example.COM.", "example.com"),
            ("*.B\u{fc}cher.example:443", "*.xn--bcher-kva.example:443"),
            ("**\u{3002}example\u{3002}com", "**.example.com"),
            ("*:22", "*:22"),
            ("0x7f.1:80", "127.0.0.1:80"),
            ("::1", "[::1]"),
            ("[0::1]:8080", "[::1]:8080"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(Rule::parse(text).unwrap().to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn a_bad_rule_is_named() {
        for text in [
            "",
            " ",
            "**",
            "*.",
            "**.",
            "*.*.example.com",
            "*example.com",
            "a.*.example.com",
            "***.example.com",
            "https://example.com",
            "example.com/",
            "me@example.com",
            "example.com:",
            "example.com:*",
            "example.com:0",
            "example.com:65536",
            " example.com",
            "*.127.0.0.1",
            "127.*",
            "10.0.0.0/8",
            "**.[::1]",
            "a..b",
            "exa mple.com",
        ] {
            let bad = Rule::parse(text).unwrap_err();
            assert_eq!(bad.rule, text);
            assert!(bad.to_string().starts_with(&format!("the rule {text:?} cannot be used: ")), "{bad}");
        }
    }
}
