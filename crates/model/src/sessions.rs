//! Sessions: one run of an agent, alive as long as it is heard of.
//!
//! A session is a lease like a lock or a claim: each sign of life moves `expires_at`, and past it the session is
//! disconnected, its locks are released and its tasks go back to the queue.

use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use crate::id::{AgentId, SessionId};

/// How a session is shown to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// Heard of lately.
    Active,
    /// Silent for more than a third of its lease.
    Idle,
    /// Its lease ran out, or it was cleaned up. It must register again before it may act.
    Disconnected,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub session_id: SessionId,
    /// Whose run it is.
    pub agent_id: AgentId,
    /// The agent's type.
    pub agent_type: String,
    /// What the agent says it can do; tasks may require one of these.
    pub capabilities: Vec<String>,
    /// What it says it is working on.
    pub current_task: Option<String>,
    /// When it first registered.
    pub started_at: Timestamp,
    /// The last sign of life that was written down: see [`is_worth_renewing`](Self::is_worth_renewing).
    pub last_heartbeat: Timestamp,
    /// Seconds of silence after which it is disconnected.
    pub ttl_seconds: u32,
    /// `last_heartbeat` + `ttl_seconds`.
    pub expires_at: Timestamp,
    /// When it was disconnected, if it is.
    pub disconnected_at: Option<Timestamp>,
}

impl Session {
    /// Renews the lease: the session was heard of at `now`.
    pub fn heard_of(&mut self, now: Timestamp) {
        self.last_heartbeat = now;
        self.expires_at = now + i64::from(self.ttl_seconds).seconds();
    }

    /// Has so much of the lease gone, a hundredth, that a sign of life is worth a write? What is heard of earlier changes
    /// nothing that anybody would notice, and most operations follow others closely.
    pub fn is_worth_renewing(&self, now: Timestamp) -> bool {
        now >= self.last_heartbeat + (i64::from(self.ttl_seconds) * 10).milliseconds()
    }

    /// How it is shown at `now`.
    pub fn status(&self, now: Timestamp) -> SessionStatus {
        if self.disconnected_at.is_some() || self.expires_at <= now {
            SessionStatus::Disconnected
        } else if now >= self.last_heartbeat + i64::from(self.ttl_seconds / 3).seconds() {
            SessionStatus::Idle
        } else {
            SessionStatus::Active
        }
    }
}
