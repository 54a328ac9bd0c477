//! Approvals: what an agent was refused and a person may let it do.
//!
//! A request names its [`Subject`]: what is to be done, on what, and a fingerprint of exactly that. An approval lets
//! nothing else through, and nobody else: it is used up by the transaction of the command that it lets through, or, when
//! it was given for a session, holds for that session until it ends.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::command::Refusal;
use crate::id::{AgentId, SessionId};

/// What somebody asks to be allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The operation: its name, or `run_command` for a command that the agent runs itself.
    pub operation: String,
    /// On what, for people to read: a command, a path, a task.
    pub resource: String,
    /// Of exactly what was refused: equal for equal requests, and only for those.
    pub fingerprint: String,
    /// Why it is needed, or why it was refused.
    pub reason: String,
}

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalStatus {
    /// Nobody has decided yet.
    Pending,
    /// It may be done.
    Approved,
    /// It must not be done; or it was approved once, and the approval was taken back.
    Denied,
    /// Nobody decided, or nobody used the approval, in time.
    Expired,
    /// It was done, once.
    Used,
}

impl ApprovalStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Approved, Self::Denied, Self::Expired, Self::Used];

    /// Its name in requests and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Used => "used",
        }
    }

    /// The status of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// May it still change by itself, or be decided?
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Approved)
    }
}

/// How far an approval reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalScope {
    /// For one command.
    Once,
    /// For the session in which it was asked for, as often as wanted.
    Session,
}

impl ApprovalScope {
    /// Its name in requests and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Session => "session",
        }
    }
}

/// What a person says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Yes.
    Approve,
    /// No.
    Deny,
}

/// A request, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Its id.
    pub approval_id: Uuid,
    /// Order of asking.
    pub seq: i64,
    /// Who asks. Nobody else may use the approval.
    pub agent_id: AgentId,
    /// The asker's type.
    pub agent_type: String,
    /// The session in which it was asked for.
    pub session_id: Option<SessionId>,
    /// What is asked for.
    #[serde(flatten)]
    pub subject: Subject,
    /// Where it stands.
    pub status: ApprovalStatus,
    /// How far it reaches, once approved.
    pub scope: Option<ApprovalScope>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When the request, or the approval, ends by itself.
    pub expires_at: Timestamp,
    /// Who decided.
    pub decided_by: Option<AgentId>,
    /// When.
    pub decided_at: Option<Timestamp>,
    /// What the decider said to it.
    pub note: Option<String>,
    /// When it was last used.
    pub used_at: Option<Timestamp>,
}

/// Ask for an approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestApproval {
    /// Its id, freshly minted. Where the caller has asked for the same already, that request's id is answered.
    pub approval_id: Uuid,
    /// What is asked for.
    pub subject: Subject,
    /// Seconds until the request ends undecided.
    pub ttl_seconds: u32,
    /// The refusal that led to it, if one did: it is recorded in the request's place in the trail.
    pub refusal: Option<Refusal>,
}

/// Decide about a request, or take an approval back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecideApproval {
    /// Which.
    pub approval_id: Uuid,
    /// What is decided.
    pub verdict: Verdict,
    /// How far an approval reaches.
    pub scope: ApprovalScope,
    /// Seconds that an approval holds.
    pub ttl_seconds: u32,
    /// What the decider says to it.
    pub note: Option<String>,
}

/// An approval that a command presents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// Which approval.
    pub approval_id: Uuid,
    /// See [`Subject`]: what the command does.
    pub operation: String,
    /// See [`Subject`]: on exactly what.
    pub fingerprint: String,
}

/// Which requests to show, newest first: all conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalFilter {
    /// Only this one.
    pub approval_id: Option<Uuid>,
    /// Only those that stand so.
    pub status: Option<ApprovalStatus>,
    /// Only this agent's.
    pub agent_id: Option<AgentId>,
    /// Only those for exactly this.
    pub fingerprint: Option<String>,
    /// Only those asked for before this position.
    pub before: Option<i64>,
    /// At most this many.
    pub limit: u32,
}

impl Approval {
    /// Does it let this agent do this, in this session?
    pub fn is_for(&self, agent: &AgentId, session: Option<&SessionId>, pass: &Pass) -> bool {
        self.agent_id == *agent
            && self.subject.operation == pass.operation
            && self.subject.fingerprint == pass.fingerprint
            && (self.scope != Some(ApprovalScope::Session) || self.session_id.as_ref() == session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_name() {
        for status in ApprovalStatus::ALL {
            assert_eq!(ApprovalStatus::from_name(status.as_str()), Some(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        assert_eq!(ApprovalStatus::from_name("pendin"), None);
    }
}
