//! What the things of Agent Coordinator are, and the rules that need nothing but them.
//!
//! No IO, no clock, no randomness, no async: an instant or an id that is needed is passed in. Every other crate speaks
//! in these types.
//!
//! - [`key`]: lock keys, their one canonical spelling, and when two of them overlap
//! - [`locks`], [`work`], [`sessions`], [`handoffs`], [`messages`], [`ports`], [`audit`], [`api_keys`]: the records, one
//!   module a capability
//! - [`memories`], [`working_memory`], [`skills`]: what agents remember; [`text`] and [`ranking`]: how it is found
//! - [`approvals`]: what an agent was refused and a person may let it do
//! - [`features`], [`merge_queue`]: what is being built, what it claims, and when it is merged
//! - [`github`]: what was seen of a repository there
//! - [`verification`]: what must pass for a commit, and what came of it
//! - [`network`]: what was asked of the network, and answered
//! - [`rulebook`]: the project's own rules, whatever they are about; [`limits`]: how much an agent may do
//! - [`chain`], [`merkle`]: how the audit trail is hashed
//! - [`command`]: what can be asked of a store, and what it answers
//! - [`id`]: names of agents, sessions and projects

pub mod api_keys;
pub mod approvals;
pub mod audit;
pub mod chain;
pub mod command;
pub mod features;
pub mod github;
mod glob;
pub mod handoffs;
pub mod id;
pub mod key;
pub mod limits;
pub mod locks;
pub mod memories;
pub mod merge_queue;
pub mod merkle;
pub mod messages;
pub mod network;
pub mod ports;
pub mod ranking;
pub mod rulebook;
pub mod sessions;
pub mod skills;
pub mod text;
pub mod verification;
pub mod work;
pub mod working_memory;

/// A JSON value kept as the text it arrived in, so that no engine re-writes its numbers or the order of its fields.
///
/// It serialises as a string: in a command the payload is opaque to the store.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct JsonText(String);

impl JsonText {
    /// The text of `value`; `null` should it, against all custom, not be one that JSON can say.
    pub fn new(value: &impl serde::Serialize) -> Self {
        Self(serde_json::to_string(value).unwrap_or_else(|_| "null".into()))
    }

    /// Text that is known to be JSON because this type wrote it, as when read back from a database.
    pub fn from_trusted(text: String) -> Self {
        Self(text)
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value; `null` should the text, against its promise, not be JSON.
    pub fn value(&self) -> serde_json::Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}
