//! What comes out: a decision, and what it rests on.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// What may happen now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Nothing stands against it.
    Allow,
    /// It may run, and is logged.
    Warn,
    /// A person must agree first.
    Ask,
    /// It must not run.
    Block,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Warn => "warn",
            Self::Ask => "ask",
            Self::Block => "block",
        })
    }
}

/// How bad something is. It decides what happens, unless whoever does it is trusted enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing: [`Decision::Warn`].
    Low,
    /// Something may be lost, or reach others: [`Decision::Ask`].
    Medium,
    /// Something is lost: [`Decision::Block`].
    High,
    /// Very much is lost, for good: [`Decision::Block`].
    Critical,
}

impl Severity {
    /// What follows from it.
    pub fn decision(self) -> Decision {
        match self {
            Self::Low => Decision::Warn,
            Self::Medium => Decision::Ask,
            Self::High | Self::Critical => Decision::Block,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

/// How far somebody is trusted: 0 untrusted, 1 limited, 2 standard, 3 elevated, 4 admin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Trust(u8);

impl Trust {
    /// Of whoever nothing is known of.
    pub const STANDARD: Self = Self(2);

    /// From 0 to 4.
    pub fn new(level: u8) -> Option<Self> {
        (level <= 4).then_some(Self(level))
    }

    /// Its number.
    pub fn level(self) -> u8 {
        self.0
    }

    /// Of a preconfigured profile.
    pub fn of_profile(name: &str) -> Option<Self> {
        PROFILES.iter().find(|(profile, _)| *profile == name).map(|(_, level)| Self(*level))
    }
}

/// The preconfigured profiles, and how far each is trusted.
pub const PROFILES: &[(&str, u8)] = &[
    ("claude_code_cli", 3),
    ("claude_code_web_reviewer", 1),
    ("claude_code_web_implementer", 2),
    ("codex_cli", 3),
    ("codex_cloud_worker", 2),
    ("gemini_cli", 3),
    ("gemini_cloud", 2),
    ("strands_orchestrator", 3),
];

/// The outcome of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// What may happen.
    #[serde(rename = "verdict")]
    pub decision: Decision,
    /// What was found, the worst first.
    pub violations: Vec<Violation>,
}

impl Verdict {
    /// May it run?
    pub fn is_safe(&self) -> bool {
        self.decision <= Decision::Warn
    }

    /// Why, in a sentence or two.
    pub fn reason(&self) -> &str {
        self.violations.first().map_or("nothing in it is known to do harm", |violation| &violation.reason)
    }
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The rule's id.
    #[serde(rename = "pattern_name")]
    pub rule: String,
    /// What it is about.
    pub category: String,
    /// How bad it is.
    pub severity: Severity,
    /// What follows from it for this caller.
    pub decision: Decision,
    /// The part of the input that does it.
    pub matched_text: String,
    /// Where that stands, in bytes.
    pub span: Range<usize>,
    /// What runs it, from the outside in: `sudo`, `env`, `bash -c`.
    pub reached: Vec<String>,
    /// Must it not run?
    pub blocked: bool,
    /// Why.
    pub reason: String,
    /// What to do instead.
    pub suggestion: String,
}
