//! Approvals in the reference.

use jiff::Timestamp;
use model::approvals::{Approval, ApprovalFilter, Subject};
use model::id::{AgentId, SessionId};
use uuid::Uuid;

use super::{ReferenceRows, Result, State};
use crate::engine::ApprovalRows;

impl State {
    pub fn has_approvals_due(&self, now: Timestamp) -> bool {
        self.approvals.values().any(|approval| is_due(approval, now))
    }

    pub fn approvals_where(&self, filter: &ApprovalFilter) -> Vec<Approval> {
        let wanted = |a: &&Approval| {
            filter.approval_id.is_none_or(|id| a.approval_id == id)
                && filter.status.is_none_or(|status| a.status == status)
                && filter.agent_id.as_ref().is_none_or(|agent| a.agent_id == *agent)
                && filter.fingerprint.as_ref().is_none_or(|fingerprint| a.subject.fingerprint == *fingerprint)
                && filter.before.is_none_or(|before| a.seq < before)
        };
        self.approvals.values().rev().filter(wanted).take(filter.limit as usize).cloned().collect()
    }
}

fn is_due(approval: &Approval, now: Timestamp) -> bool {
    approval.status.is_open() && approval.expires_at <= now
}

impl ApprovalRows for ReferenceRows<'_> {
    fn approval(&mut self, approval_id: Uuid) -> Result<Option<Approval>> {
        Ok(self.approvals.values().find(|a| a.approval_id == approval_id).cloned())
    }

    fn open_approval(
        &mut self,
        agent: &AgentId,
        session: Option<&SessionId>,
        subject: &Subject,
    ) -> Result<Option<Approval>> {
        let wanted = |a: &&Approval| {
            a.status.is_open()
                && a.agent_id == *agent
                && a.session_id.as_ref() == session
                && a.subject.operation == subject.operation
                && a.subject.fingerprint == subject.fingerprint
        };
        Ok(self.approvals.values().rev().find(wanted).cloned())
    }

    fn approvals_ended(&mut self, now: Timestamp) -> Result<Vec<Approval>> {
        Ok(self.approvals.values().filter(|approval| is_due(approval, now)).cloned().collect())
    }

    fn put_approval(&mut self, approval: &Approval) -> Result<()> {
        self.approvals.insert(approval.seq, approval.clone());
        Ok(())
    }
}
