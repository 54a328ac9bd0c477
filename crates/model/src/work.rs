//! The work queue: tasks, their states, and when a failed one is tried again.
//!
//! A claim is a lease. Whoever holds it renews it by heartbeat; when it lapses the task goes back to the queue, up to
//! `max_attempts`, and then fails. A failed task fails every task that depends on it: nothing waits for ever.

use jiff::{SignedDuration, Timestamp, ToSpan};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::JsonText;
use crate::id::{AgentId, SessionId};

/// `error_code` of a task that an orchestrator cancelled.
pub const CANCELLED: &str = "cancelled_by_orchestrator";
/// `error_code` of a task whose dependency failed.
pub const DEPENDENCY_FAILED: &str = "dependency_failed";
/// `error_code` of a task that nobody began before its deadline.
pub const DEADLINE_EXCEEDED: &str = "deadline_exceeded";
/// `error_code` of a task whose last attempt was abandoned: its lease lapsed or its session died.
pub const LEASE_LAPSED: &str = "lease_lapsed";

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Waits to be claimed: for its dependencies, for its turn, or for a retry.
    Pending,
    /// Somebody holds its lease.
    Claimed,
    /// Somebody holds its lease and has sent a heartbeat since.
    Running,
    /// Done.
    Completed,
    /// Given up, with `error_code` saying why.
    Failed,
}

impl TaskStatus {
    /// Its name in requests and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Claimed => "claimed",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    /// The status of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Pending, Self::Claimed, Self::Running, Self::Completed, Self::Failed]
            .into_iter()
            .find(|status| status.as_str() == name)
    }

    /// Will it never change again?
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }

    /// Does somebody hold its lease?
    pub fn is_held(self) -> bool {
        matches!(self, Self::Claimed | Self::Running)
    }
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    pub task_id: Uuid,
    /// Order of submission.
    pub seq: i64,
    /// What kind of work it is.
    pub task_type: String,
    /// What to do.
    pub description: String,
    /// Whatever the submitter wants the worker to have.
    pub input_data: Option<JsonText>,
    /// 1 (first) to 10 (last).
    pub priority: u8,
    /// Where it stands.
    pub status: TaskStatus,
    /// The tasks that must be completed first.
    pub depends_on: Vec<Uuid>,
    /// How many of those are not completed yet.
    pub open_dependencies: u32,
    /// When it is too late to begin.
    pub deadline: Option<Timestamp>,
    /// How often it may be claimed.
    pub max_attempts: u32,
    /// How often it has been claimed.
    pub attempt: u32,
    /// Not to be claimed before this: the pause before a retry.
    pub not_before: Option<Timestamp>,
    /// Names the submission, so that repeating it changes nothing.
    pub idempotency_key: Option<String>,
    /// What the submission asked for, hashed: tells a repetition from another task under the same key.
    pub fingerprint: String,
    /// A capability its worker must have.
    pub required_capability: Option<String>,
    /// The only agent that may claim it.
    pub assignee: Option<AgentId>,
    /// The feature it belongs to; a paused feature's tasks are not handed out.
    pub feature_id: Option<String>,
    /// Who submitted it.
    pub created_by: AgentId,
    /// Who holds its lease, or held it last.
    pub claimed_by: Option<AgentId>,
    /// The session under which it was claimed.
    pub session_id: Option<SessionId>,
    /// The claim's fencing token.
    pub fencing_token: Option<i64>,
    /// How long a claim lasts without a heartbeat, in seconds.
    pub lease_seconds: u32,
    /// When the claim lapses.
    pub lease_expires_at: Option<Timestamp>,
    /// What the worker gave back.
    pub result: Option<JsonText>,
    /// Why it failed, in a word.
    pub error_code: Option<String>,
    /// Why it failed, in a sentence.
    pub error_message: Option<String>,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When it was last claimed.
    pub claimed_at: Option<Timestamp>,
    /// When it reached its final status.
    pub completed_at: Option<Timestamp>,
}

impl Task {
    /// The pause before the next attempt: 5 s after the first failure, doubled each time, at most 5 min.
    pub fn backoff(&self) -> SignedDuration {
        let doublings = self.attempt.saturating_sub(1).min(6);
        SignedDuration::from_secs((5_i64 << doublings).min(300))
    }

    /// Renews the lease at `now`, but not beyond so many minutes after the claim. What there is of it stays.
    pub fn renew_lease(&mut self, now: Timestamp, at_most_minutes: Option<u32>) {
        let end = now + i64::from(self.lease_seconds).seconds();
        let last = at_most_minutes.zip(self.claimed_at).map(|(minutes, at)| at + i64::from(minutes).minutes());
        let end = last.map_or(end, |last| end.min(last));
        self.lease_expires_at = Some(self.lease_expires_at.map_or(end, |earlier| earlier.max(end)));
    }
}

/// Which tasks to show, newest first: all conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskFilter {
    /// Only with this status.
    pub status: Option<TaskStatus>,
    /// Only with this error code.
    pub error_code: Option<String>,
    /// Only of this type.
    pub task_type: Option<String>,
    /// At most this many.
    pub limit: u32,
    /// Only tasks submitted before the one with this `seq`.
    pub before: Option<i64>,
}
