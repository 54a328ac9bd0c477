//! Handoffs: what an agent leaves for whoever goes on with its work, most often itself in its next session.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::JsonText;
use crate::id::{AgentId, SessionId};

/// One handoff. It is written once and never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handoff {
    /// Its id.
    pub handoff_id: Uuid,
    /// Order of writing.
    pub seq: i64,
    /// Who wrote it.
    pub agent_id: AgentId,
    /// The writer's type.
    pub agent_type: String,
    /// The session that ended with it, or went on.
    pub session_id: Option<SessionId>,
    /// The feature the work is for.
    pub feature_id: Option<String>,
    /// What it says.
    #[serde(flatten)]
    pub notes: Notes,
    /// When it was written.
    pub created_at: Timestamp,
}

/// What a handoff says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// Where the work stands, in a few sentences.
    pub summary: String,
    /// What is done.
    pub completed_work: Vec<String>,
    /// What was begun and is not done.
    pub in_progress: Vec<String>,
    /// What was decided, and why.
    pub decisions: Vec<String>,
    /// What to do next, in order.
    pub next_steps: Vec<String>,
    /// The files that matter.
    pub relevant_files: Vec<String>,
    /// What was said in another form than these, as it came.
    pub content: Option<JsonText>,
}

/// Which handoffs to show, newest first: all conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HandoffFilter {
    /// Only this agent's.
    pub agent_id: Option<AgentId>,
    /// Only those of this session.
    pub session_id: Option<SessionId>,
    /// Only those for this feature.
    pub feature_id: Option<String>,
    /// At most this many.
    pub limit: u32,
}
