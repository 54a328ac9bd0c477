//! Messages: a few lines from one agent to others, about the work they share.
//!
//! Whom a message reaches is settled when it is sent: the agent it names, be it there or not, or whoever is connected at
//! that instant. A message is in each one's inbox until that agent reads it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::id::{AgentId, SessionId};

/// The longest text of a message, in bytes.
pub const TEXT_LIMIT: usize = 4096;
/// The most messages that are read at once.
pub const READ_LIMIT: u32 = 50;

/// Whom a message is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "to", content = "name", rename_all = "snake_case")]
pub enum Audience {
    /// One agent: it waits for one that is not there.
    Agent(AgentId),
    /// Every other agent that is connected and can do this.
    Capability(String),
    /// Every other agent that is connected.
    All,
}

/// One message. It is written once and never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its id.
    pub message_id: Uuid,
    /// Order of sending.
    pub seq: i64,
    /// Who sent it.
    pub agent_id: AgentId,
    /// The sender's type.
    pub agent_type: String,
    /// The session it was sent in.
    pub session_id: Option<SessionId>,
    /// Whom it is for.
    pub audience: Audience,
    /// The lock key or the task that it is about.
    pub thread: Option<String>,
    /// What it says.
    pub text: String,
    /// When it was sent.
    pub created_at: Timestamp,
}

/// Which messages to show, newest first: all conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageFilter {
    /// Only those about this.
    pub thread: Option<String>,
    /// Only those that this agent sent.
    pub sender: Option<AgentId>,
    /// At most this many.
    pub limit: u32,
}
