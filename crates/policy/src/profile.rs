//! Profiles: what an agent of some kind may do.
//!
//! A profile is written as TOML, by the names that agents are shown it under:
//!
//! ```toml
//! trust_level = 2
//! description = "Fixes what the linter finds"
//! max_file_modifications = 20
//! blocked_operations = ["cancel_task"]
//! ```

use std::ops::Range;

use model::limits::Limits;
use serde::{Deserialize, Serialize};

use crate::request::Action;
use crate::trust::Trust;

/// What an agent of some kind may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// How far its agents are trusted.
    pub trust: Trust,
    /// Only these; whatever the trust allows when absent.
    pub allowed: Option<Vec<Permission>>,
    /// Never these.
    pub blocked: Vec<Permission>,
    /// How much of it.
    pub limits: Limits,
}

/// What a profile allows or blocks by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// All operations that change nothing: `reads`.
    Reads,
    /// The operation of this name.
    Operation(String),
}

impl Permission {
    /// Reads its name.
    pub fn named(name: &str) -> Self {
        if name == "reads" { Self::Reads } else { Self::Operation(name.into()) }
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Reads => "reads",
            Self::Operation(name) => name,
        }
    }

    fn covers(&self, action: &Action) -> bool {
        match self {
            Self::Reads => action.reads,
            Self::Operation(name) => name == action.name,
        }
    }
}

/// Text that is no profile: what is wrong with it, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadProfile {
    /// What is wrong.
    pub message: String,
    /// Where, in bytes.
    pub span: Option<Range<usize>>,
}

/// A profile as it is written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    trust_level: u8,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    allowed_operations: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    blocked_operations: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_file_modifications: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_calls_per_hour: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_minutes_per_task: Option<u32>,
}

impl Profile {
    /// With nothing but a trust.
    pub fn new(name: &str, trust: Trust, description: &str) -> Self {
        Self {
            name: name.into(),
            description: description.into(),
            trust,
            allowed: None,
            blocked: vec![],
            limits: Limits::NONE,
        }
    }

    /// Reads a profile from the text of a rule.
    ///
    /// # Errors
    /// [`BadProfile`]
    pub fn parse(name: &str, text: &str) -> Result<Self, BadProfile> {
        let bad = |message: String| BadProfile { message, span: None };
        let written: Written = toml::from_str(text)
            .map_err(|error| BadProfile { message: error.message().to_owned(), span: error.span() })?;
        let trust = Trust::of(written.trust_level.into())
            .ok_or_else(|| bad(format!("trust_level is {}: must be 0 to 4", written.trust_level)))?;
        if written.max_minutes_per_task == Some(0) {
            return Err(bad("max_minutes_per_task is 0: must be at least 1".into()));
        }
        let named = |names: &[String]| names.iter().map(|name| Permission::named(name)).collect::<Vec<_>>();
        Ok(Self {
            name: name.into(),
            description: written.description,
            trust,
            allowed: written.allowed_operations.as_deref().map(named),
            blocked: named(&written.blocked_operations),
            limits: Limits {
                max_file_modifications: written.max_file_modifications,
                max_calls_per_hour: written.max_calls_per_hour,
                max_minutes_per_task: written.max_minutes_per_task,
            },
        })
    }

    /// The text that [`parse`](Self::parse) reads.
    pub fn to_text(&self) -> String {
        let names = |list: &[Permission]| list.iter().map(|p| p.as_str().to_owned()).collect::<Vec<_>>();
        let written = Written {
            trust_level: self.trust.level(),
            description: self.description.clone(),
            allowed_operations: self.allowed.as_deref().map(names),
            blocked_operations: names(&self.blocked),
            max_file_modifications: self.limits.max_file_modifications,
            max_calls_per_hour: self.limits.max_calls_per_hour,
            max_minutes_per_task: self.limits.max_minutes_per_task,
        };
        // It holds nothing that TOML cannot say.
        toml::to_string(&written).unwrap_or_default()
    }

    /// Do its lists let the action through? Whatever an engine says, they are its bounds.
    pub fn lists(&self, action: &Action) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.iter().any(|p| p.covers(action)))
            && !self.blocked.iter().any(|p| p.covers(action))
    }

    /// The names in its lists, to be checked against the operations there are.
    pub fn named_operations(&self) -> impl Iterator<Item = &str> {
        let all = self.allowed.iter().flatten().chain(&self.blocked);
        all.filter(|permission| **permission != Permission::Reads).map(Permission::as_str)
    }
}

/// The profiles that are there from the start. Each is also that of the agent type of its name.
pub fn preconfigured() -> Vec<Profile> {
    let of = |name, trust, description: &str| Profile::new(name, trust, description);
    let files = |profile: Profile, count| Profile {
        limits: Limits { max_file_modifications: Some(count), ..Limits::NONE },
        ..profile
    };
    // Whoever runs unattended in a cloud does not decide that others are dead.
    let cloud = |profile: Profile| Profile { blocked: vec![Permission::named("cleanup_dead_agents")], ..profile };
    let reviewer = Profile {
        allowed: Some(["reads", "register_session", "heartbeat"].map(Permission::named).to_vec()),
        ..of("claude_code_web_reviewer", Trust::Limited, "Claude Code on the web, reviewing: reads only")
    };
    vec![
        of("claude_code_cli", Trust::Elevated, "Claude Code on a developer's machine"),
        reviewer,
        cloud(files(of("claude_code_web_implementer", Trust::Standard, "Claude Code on the web, implementing"), 50)),
        of("codex_cli", Trust::Elevated, "Codex on a developer's machine"),
        cloud(files(of("codex_cloud_worker", Trust::Standard, "Codex in the cloud"), 50)),
        of("gemini_cli", Trust::Elevated, "Gemini CLI on a developer's machine"),
        cloud(of("gemini_cloud", Trust::Standard, "Gemini in the cloud")),
        files(of("strands_orchestrator", Trust::Elevated, "Directs other agents, and may clean up after them"), 200),
        of("human", Trust::Admin, "A person at the command line"),
    ]
}

/// Line and column of a byte of the text, both from 1.
pub fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at.min(text.len())).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for profile in preconfigured() {
            assert_eq!(Profile::parse(&profile.name, &profile.to_text()), Ok(profile));
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let text = "trust_level = 2\nmax_files = 3\n";
        let bad = Profile::parse("p", text).unwrap_err();
        assert!(bad.message.contains("max_files"), "{bad}");
        assert_eq!(bad.span.map(|span| span.start), text.find("max_files"));
        for (text, expected) in [
            ("", "trust_level"),
            ("trust_level = 5", "must be 0 to 4"),
            ("trust_level = -1", "-1"),
            ("trust_level = 1\nmax_minutes_per_task = 0", "at least 1"),
        ] {
            let bad = Profile::parse("p", text).unwrap_err();
            assert!(bad.message.contains(expected), "{text}: {bad}");
        }
    }
}
