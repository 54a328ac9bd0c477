//! API keys: what a client of the HTTP door shows, and who it is bound to.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::id::{AgentId, Project};

/// A stored key. The key itself is nowhere: only the SHA-256 of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its id, which names it when it is listed or revoked.
    pub id: Uuid,
    /// What it is for, in its maker's words.
    pub name: String,
    /// SHA-256 of the key, in lower-case hex.
    pub hash: String,
    /// The project it opens.
    pub project: Project,
    /// The agent it is bound to; an unbound key may name its own.
    pub agent_id: Option<AgentId>,
    /// The agent type it is bound to.
    pub agent_type: Option<String>,
    /// What it may be used for: operations, or groups of them; for everything when there is none.
    pub scopes: Vec<String>,
    /// How many requests a minute each server takes from it; any number when absent.
    pub per_minute: Option<u32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends, if ever.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, give or take a minute.
    pub last_used_at: Option<Timestamp>,
}

impl ApiKey {
    /// Does it still open anything at `now`?
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}
