//! The rulebook: the project's own rules, in one place and every version of them.
//!
//! A rule is a document: text of some kind under a name. What the text says is the business of whoever reads that kind;
//! here it is opaque. The latest version of each is in force, and nothing is ever changed or lost: to remove a rule is to
//! put no text, to roll it back is to put an older text again.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::AgentId;

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// Who has which profile.
    Assignment,
    /// Commands that agents may not run.
    Guardrails,
    /// Hosts that agents may reach.
    Network,
    /// What is permitted, in Cedar.
    Policy,
    /// How far an agent is trusted, and its limits.
    Profile,
    /// What must pass for a change.
    Verification,
}

impl RuleKind {
    /// All of them, in the order of their names.
    pub const ALL: [Self; 6] =
        [Self::Assignment, Self::Guardrails, Self::Network, Self::Policy, Self::Profile, Self::Verification];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assignment => "assignment",
            Self::Guardrails => "guardrails",
            Self::Network => "network",
            Self::Policy => "policy",
            Self::Profile => "profile",
            Self::Verification => "verification",
        }
    }
}

impl fmt::Display for RuleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One version of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What it is about.
    pub kind: RuleKind,
    /// Its name among those of its kind.
    pub name: String,
    /// What it says; `None` where this version removed it.
    pub body: Option<String>,
    /// The position in the trail of the command that put it: of two versions the larger is the later, whatever the rule.
    pub version: i64,
    /// Who put it.
    pub author: AgentId,
    /// When.
    pub created_at: Timestamp,
}

/// Put a new version of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutRule {
    /// See [`Rule`]. In JSON an action's own `kind` is in the way.
    #[serde(rename = "rule_kind")]
    pub kind: RuleKind,
    /// See [`Rule`].
    pub name: String,
    /// See [`Rule`].
    pub body: Option<String>,
    /// The version that the author has seen, 0 for none: should there be another by now, nothing is put.
    pub expected_version: Option<i64>,
}
