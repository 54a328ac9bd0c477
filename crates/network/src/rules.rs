//! All rules together, and the order in which they decide: deny wins; then what is not public is refused unless it is
//! listed literally; then allow; then the default.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::address;
use crate::host::{Host, Zone};
use crate::rule::{BadRule, Match, Rule};
use crate::target::Target;

/// Yes or no.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// It may be reached.
    Allow,
    /// It may not.
    #[default]
    Deny,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        })
    }
}

/// What may be reached, and what may not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// What may be reached.
    pub allow: Vec<Rule>,
    /// What may not, whatever else is said.
    pub deny: Vec<Rule>,
    /// What holds for everything else.
    pub default: Access,
}

/// What decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ground {
    /// It names no host, or not the same to everybody.
    Malformed,
    /// A rule that denies it.
    DenyRule,
    /// It is not public.
    NonPublic,
    /// A rule that allows it.
    AllowRule,
    /// No rule.
    Default,
}

impl Ground {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::DenyRule => "deny_rule",
            Self::NonPublic => "non_public",
            Self::AllowRule => "allow_rule",
            Self::Default => "default",
        }
    }
}

/// Yes or no, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Yes or no.
    pub access: Access,
    /// What decided.
    pub ground: Ground,
    /// The rule that decided, if one did.
    pub rule: Option<String>,
    /// In a sentence.
    pub reason: String,
}

impl Verdict {
    /// It names no host.
    pub fn malformed(reason: impl Into<String>) -> Self {
        Self::new(Access::Deny, Ground::Malformed, None, reason.into())
    }

    /// May it be reached?
    pub fn is_allowed(&self) -> bool {
        self.access == Access::Allow
    }

    /// What decided, as people would name it: the rule, or `non_public`, or `default`.
    pub fn policy(&self) -> String {
        match &self.rule {
            Some(rule) => format!("{}: {rule}", self.ground.as_str()),
            None => self.ground.as_str().to_owned(),
        }
    }

    fn new(access: Access, ground: Ground, rule: Option<&Rule>, reason: String) -> Self {
        Self { access, ground, rule: rule.map(ToString::to_string), reason }
    }
}

impl Rules {
    /// Reads rules.
    ///
    /// # Errors
    /// The first that cannot be used: with one fewer rule, the others could let through what was not meant.
    pub fn parse<S: AsRef<str>>(allow: &[S], deny: &[S], default: Access) -> Result<Self, BadRule> {
        let read = |texts: &[S]| texts.iter().map(|text| Rule::parse(text.as_ref())).collect::<Result<Vec<_>, _>>();
        Ok(Self { allow: read(allow)?, deny: read(deny)?, default })
    }

    /// Judges a URL or a host by its text.
    pub fn check_text(&self, text: &str, resolved: &[IpAddr]) -> Verdict {
        match Target::parse(text) {
            Ok(target) => self.check(&target, resolved),
            Err(bad) => Verdict::malformed(format!("this is no host that can be judged: {bad}")),
        }
    }

    /// Judges a target. `resolved` are the addresses that its name has, where that is known: each of them must be fit to
    /// be reached.
    pub fn check(&self, target: &Target, resolved: &[IpAddr]) -> Verdict {
        let host = &target.host;
        let resolved: Vec<IpAddr> = resolved.iter().copied().map(address::canonical).collect();
        if let Some((rule, met)) = self.denying(target, &resolved) {
            let reason = if met == *host {
                format!("{target} is denied by the rule {rule}")
            } else {
                format!("{target} leads to {met}, which is denied by the rule {rule}")
            };
            return Verdict::new(Access::Deny, Ground::DenyRule, Some(rule), reason);
        }
        if let Some(reason) = self.not_public(target, &resolved) {
            return Verdict::new(Access::Deny, Ground::NonPublic, None, reason);
        }
        let mut only_on_port = None;
        for rule in &self.allow {
            match rule.matches(host, target.port) {
                Match::Full => {
                    let reason = format!("{target} is allowed by the rule {rule}");
                    return Verdict::new(Access::Allow, Ground::AllowRule, Some(rule), reason);
                }
                Match::PortUnknown(port) => only_on_port = Some(port),
                Match::None => {}
            }
        }
        let reason = match (self.default, only_on_port) {
            (Access::Allow, _) => format!("no rule denies {target}, and what no rule names is allowed"),
            (Access::Deny, Some(port)) => {
                format!("{host} is allowed on port {port} only: ask for {host}:{port}, or with a whole URL")
            }
            (Access::Deny, None) => format!("no rule allows {target}, and what no rule names is denied"),
        };
        Verdict::new(self.default, Ground::Default, None, reason)
    }

    /// The first rule that denies the target or an address it leads to, and that host.
    fn denying(&self, target: &Target, resolved: &[IpAddr]) -> Option<(&Rule, Host)> {
        let mut hosts = vec![target.host.clone()];
        hosts.extend(resolved.iter().map(|address| Host::Address(*address)));
        let addresses: Vec<IpAddr> = hosts
            .iter()
            .filter_map(|host| match host {
                Host::Address(address) => Some(*address),
                Host::Name(_) => None,
            })
            .collect();
        hosts.extend(addresses.into_iter().filter_map(address::embedded).map(|v4| Host::Address(v4.into())));
        hosts.into_iter().find_map(|host| {
            let rule = self.deny.iter().find(|rule| rule.matches(&host, target.port) == Match::Full)?;
            Some((rule, host))
        })
    }

    /// Why it is refused as not public, if it is.
    fn not_public(&self, target: &Target, resolved: &[IpAddr]) -> Option<String> {
        let is_listed = |target: &Target| self.allow.iter().any(|rule| rule.lists(target));
        let listed_by_name = is_listed(target);
        if let Err(what) = target.host.public()
            && !listed_by_name
        {
            return Some(format!("{target} is not public ({what}), and no rule lists it literally"));
        }
        // Whoever lists localhost means this machine.
        let means_loopback =
            listed_by_name && matches!(&target.host, Host::Name(name) if Zone::of(name) == Some(Zone::Loopback));
        resolved.iter().find_map(|address| {
            let what = address::public(*address).err()?;
            let itself = Target { host: Host::Address(*address), port: target.port };
            if is_listed(&itself) || (means_loopback && address.is_loopback()) {
                return None;
            }
            let address = &itself.host;
            Some(format!("{target} leads to {address}, which is not public ({what}), and no rule lists it literally"))
        })
    }
}
