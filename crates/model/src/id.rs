//! Names that clients choose: agents, sessions, features, projects.

use std::fmt;

/// The longest name, in bytes.
pub const NAME_LIMIT: usize = 256;

/// A name that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be 1 to {NAME_LIMIT} bytes without control characters, and not blank")]
pub struct BadName {
    /// What was being named: `agent id`, `session id`, `project`.
    pub what: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Checks the name: 1 to [`NAME_LIMIT`] bytes, not blank, no control characters.
            pub fn new(name: impl Into<String>) -> Result<Self, BadName> {
                let name = name.into();
                let good = !name.trim().is_empty() && name.len() <= NAME_LIMIT && !name.chars().any(char::is_control);
                if good { Ok(Self(name)) } else { Err(BadName { what: $what }) }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = BadName;
            fn try_from(name: String) -> Result<Self, BadName> {
                Self::new(name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// Who acts: the owner of locks and claims. A restarted agent keeps its id.
    AgentId,
    "agent id"
);
name!(
    /// One run of an agent: what a heartbeat keeps alive.
    SessionId,
    "session id"
);
name!(
    /// Something that is being built, on a branch of its own.
    FeatureId,
    "feature id"
);
name!(
    /// A world of its own: no record of one project is visible in another.
    Project,
    "project"
);

impl Project {
    /// The project of whoever names none.
    pub fn default_project() -> Self {
        Self("default".into())
    }
}

/// Who is calling, once the door has established it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Caller {
    /// The agent.
    pub agent_id: AgentId,
    /// Its kind, such as `claude_code_cli`.
    pub agent_type: String,
    /// Its session, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
}
