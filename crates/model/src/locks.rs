//! Locks and those who wait for them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::id::{AgentId, SessionId};
use crate::key::LockKey;

/// Shortest and longest time to live of a lock, in minutes.
pub const TTL_MINUTES: std::ops::RangeInclusive<u32> = 1..=480;

/// How long a waiter stands in the queue without being heard of, in seconds: a client that died while it waited stops
/// holding up others after this.
pub const WAITER_LEASE_SECONDS: i64 = 3;

/// Whether others may hold an overlapping key at the same time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockMode {
    /// Nobody else.
    #[default]
    Exclusive,
    /// Others who also ask for `shared`.
    Shared,
}

impl LockMode {
    /// May two different agents hold overlapping keys in these modes at once?
    pub fn agrees_with(self, other: Self) -> bool {
        self == Self::Shared && other == Self::Shared
    }

    /// Its name in requests and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exclusive => "exclusive",
            Self::Shared => "shared",
        }
    }
}

/// A lock that is held: at most one for a key and an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// What is locked.
    pub key: LockKey,
    /// Who holds it.
    pub agent_id: AgentId,
    /// The holder's type.
    pub agent_type: String,
    /// The session that last took or refreshed it, and with which it ends.
    pub session_id: Option<SessionId>,
    /// Whether others may share it.
    pub mode: LockMode,
    /// Why, in the holder's words.
    pub reason: Option<String>,
    /// The grant's fencing token: larger than that of every earlier grant in the project.
    pub fencing_token: i64,
    /// When it was granted.
    pub locked_at: Timestamp,
    /// When it ends unless refreshed, by the database's clock.
    pub expires_at: Timestamp,
}

/// A place in the queue for keys that were taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiter {
    /// Names this place.
    pub ticket: Uuid,
    /// Order in the queue: smaller came first.
    pub seq: i64,
    /// Who waits.
    pub agent_id: AgentId,
    /// Their type.
    pub agent_type: String,
    /// All the keys asked for.
    pub keys: Vec<LockKey>,
    /// The mode asked for.
    pub mode: LockMode,
    /// Why, in their words.
    pub reason: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// The place is lost at this instant unless the waiter is heard of: [`WAITER_LEASE_SECONDS`].
    pub expires_at: Timestamp,
}
