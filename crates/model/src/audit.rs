//! The audit trail: one row for each mutating operation and each refusal, never changed again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// The agent id under which the coordinator records what it does by itself, such as releasing a lapsed lease.
pub const SYSTEM_AGENT: &str = "coordinator";
/// The agent type that goes with [`SYSTEM_AGENT`].
pub const SYSTEM_TYPE: &str = "system";

/// One row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Position in the project's trail: 1, 2, 3... without gaps.
    pub seq: i64,
    /// Id of the operation's run.
    pub id: Uuid,
    /// Who did it.
    pub agent_id: String,
    /// Their type.
    pub agent_type: String,
    /// Their session, where they had one.
    pub session_id: Option<String>,
    /// The operation's name.
    pub operation: String,
    /// What was asked, secrets redacted.
    pub parameters: Value,
    /// What came of it.
    pub result: Value,
    /// Milliseconds from the call's arrival until it was handed to the database.
    pub duration_ms: i64,
    /// `false` for a refusal.
    pub success: bool,
    /// The refusal's code.
    pub error_message: Option<String>,
    /// When, by the database's clock.
    pub created_at: Timestamp,
}

/// Which rows to show: all conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AuditFilter {
    /// Only this agent's.
    pub agent_id: Option<String>,
    /// Only this operation's.
    pub operation: Option<String>,
    /// At or after.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Only successes, or only refusals.
    pub success: Option<bool>,
    /// At most this many.
    pub limit: u32,
    /// Only rows older than this position.
    pub before: Option<i64>,
}
