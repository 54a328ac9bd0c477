//! Which profile an agent has: assigned to it, else to its type, else that of its type from the start, else the default.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::profile::{Profile, preconfigured};
use crate::trust::Trust;

/// Who a profile is assigned to. Written `agent:NAME` or `type:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Assignee {
    /// One agent.
    Agent(String),
    /// All agents of a type.
    Type(String),
}

impl Assignee {
    /// Reads `agent:NAME` or `type:NAME`.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once(':')?;
        match kind {
            _ if name.is_empty() => None,
            "agent" => Some(Self::Agent(name.into())),
            "type" => Some(Self::Type(name.into())),
            _ => None,
        }
    }
}

impl fmt::Display for Assignee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(name) => write!(f, "agent:{name}"),
            Self::Type(name) => write!(f, "type:{name}"),
        }
    }
}

/// Where an agent's profile comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Somebody assigned it.
    Assignment,
    /// Nobody did.
    Default,
}

/// An agent's profile, and why it is that one.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The profile.
    pub profile: Arc<Profile>,
    /// Where it comes from.
    pub source: Source,
    /// Why, in words.
    pub reason: Reason,
}

/// Why a profile was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is assigned to the agent.
    AssignedToAgent,
    /// It is assigned to the agent's type.
    AssignedToType,
    /// It is the one of the agent's type.
    OfType,
    /// There is none for the agent's type.
    NoneOfType,
}

impl Reason {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AssignedToAgent => "assigned to this agent",
            Self::AssignedToType => "assigned to agents of this type",
            Self::OfType => "the profile of this agent type",
            Self::NoneOfType => "no profile is for this agent type: PROFILES_DEFAULT_TRUST says how far it is trusted",
        }
    }
}

/// All profiles of a project, and who has which.
#[derive(Debug, Clone)]
pub struct Profiles {
    profiles: HashMap<String, Arc<Profile>>,
    agents: HashMap<String, String>,
    types: HashMap<String, String>,
    default: Arc<Profile>,
}

impl Profiles {
    /// Those that are there from the start; whoever has none of them is trusted so far.
    pub fn new(default_trust: Trust) -> Self {
        let named = preconfigured().into_iter().map(|profile| (profile.name.clone(), Arc::new(profile)));
        let default = Profile::new("default", default_trust, "For agents of no known type");
        Self { profiles: named.collect(), agents: HashMap::new(), types: HashMap::new(), default: Arc::new(default) }
    }

    /// Adds a profile, or puts it in the place of the one of its name. `default` is whoever's that has no other.
    pub fn put(&mut self, profile: Profile) {
        let profile = Arc::new(profile);
        if profile.name == self.default.name {
            self.default = profile;
        } else {
            self.profiles.insert(profile.name.clone(), profile);
        }
    }

    /// Gives somebody the profile of this name.
    pub fn assign(&mut self, to: Assignee, profile: &str) {
        match to {
            Assignee::Agent(name) => self.agents.insert(name, profile.into()),
            Assignee::Type(name) => self.types.insert(name, profile.into()),
        };
    }

    /// The profile of this name.
    pub fn find(&self, name: &str) -> Option<&Arc<Profile>> {
        if name == self.default.name { Some(&self.default) } else { self.profiles.get(name) }
    }

    /// All profiles, by name.
    pub fn all(&self) -> Vec<&Arc<Profile>> {
        let mut all: Vec<_> = self.profiles.values().chain([&self.default]).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Who has been assigned which, agents first.
    pub fn assignments(&self) -> Vec<(Assignee, &str)> {
        let agents = self.agents.iter().map(|(name, profile)| (Assignee::Agent(name.clone()), profile.as_str()));
        let types = self.types.iter().map(|(name, profile)| (Assignee::Type(name.clone()), profile.as_str()));
        let mut all: Vec<_> = agents.chain(types).collect();
        all.sort();
        all
    }

    /// The agent's profile. An assignment of a profile that is gone trusts nobody.
    pub fn of(&self, agent_id: &str, agent_type: &str) -> Chosen {
        let assigned = |name: &String| self.find(name).cloned().unwrap_or_else(|| Arc::new(missing(name)));
        if let Some(name) = self.agents.get(agent_id) {
            return Chosen { profile: assigned(name), source: Source::Assignment, reason: Reason::AssignedToAgent };
        }
        if let Some(name) = self.types.get(agent_type) {
            return Chosen { profile: assigned(name), source: Source::Assignment, reason: Reason::AssignedToType };
        }
        let (profile, reason) = match self.profiles.get(agent_type) {
            Some(profile) => (profile, Reason::OfType),
            None => (&self.default, Reason::NoneOfType),
        };
        Chosen { profile: profile.clone(), source: Source::Default, reason }
    }
}

fn missing(name: &str) -> Profile {
    Profile::new(name, Trust::Untrusted, "There is no profile of this name any more")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_assigned_goes_before_what_is_usual() {
        let mut profiles = Profiles::new(Trust::Standard);
        let chosen = |profiles: &Profiles, agent: &str, kind: &str| {
            let chosen = profiles.of(agent, kind);
            (chosen.profile.name.clone(), chosen.profile.trust, chosen.reason)
        };
        let unknown = ("default".to_owned(), Trust::Standard, Reason::NoneOfType);
        assert_eq!(chosen(&profiles, "ann", "cloud_agent"), unknown);
        let usual = ("codex_cli".to_owned(), Trust::Elevated, Reason::OfType);
        assert_eq!(chosen(&profiles, "ann", "codex_cli"), usual);
        profiles.put(Profile::new("strict", Trust::Limited, ""));
        profiles.assign(Assignee::Type("codex_cli".into()), "strict");
        let strict = ("strict".to_owned(), Trust::Limited, Reason::AssignedToType);
        assert_eq!(chosen(&profiles, "ann", "codex_cli"), strict);
        profiles.assign(Assignee::Agent("ann".into()), "human");
        assert_eq!(chosen(&profiles, "ann", "codex_cli").2, Reason::AssignedToAgent);
        assert_eq!(chosen(&profiles, "bob", "codex_cli"), strict);
        profiles.assign(Assignee::Agent("bob".into()), "gone");
        assert_eq!(chosen(&profiles, "bob", "codex_cli").1, Trust::Untrusted, "nobody is trusted by mistake");
        profiles.put(Profile::new("default", Trust::Untrusted, ""));
        assert_eq!(chosen(&profiles, "eve", "cloud_agent").1, Trust::Untrusted);
    }

    #[test]
    fn assignees_are_written_as_they_are_read() {
        for text in ["agent:ci-1", "type:codex_cli", "agent:a:b"] {
            assert_eq!(Assignee::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "ci-1", "agent:", "team:x"] {
            assert_eq!(Assignee::parse(text), None, "{text}");
        }
    }
}
