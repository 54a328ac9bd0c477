//! Approvals: asked for, decided by somebody else, used up by the command that they let through.

use jiff::{Timestamp, ToSpan};
use model::approvals::{
    Approval, ApprovalScope, ApprovalStatus, DecideApproval, Pass, RequestApproval, Subject, Verdict,
};
use model::command::{Command, Outcome, Refusal};
use model::id::{AgentId, Caller, SessionId};
use uuid::Uuid;

use super::{Result, Rows, next_position, verification};

/// What the rules of this file ask of a database.
pub trait ApprovalRows {
    /// The request.
    fn approval(&mut self, approval_id: Uuid) -> Result<Option<Approval>>;
    /// The latest open request of the agent in the session for exactly this.
    fn open_approval(
        &mut self,
        agent: &AgentId,
        session: Option<&SessionId>,
        subject: &Subject,
    ) -> Result<Option<Approval>>;
    /// The open requests that ended at `now` or before, oldest first.
    fn approvals_ended(&mut self, now: Timestamp) -> Result<Vec<Approval>>;
    /// Inserts or replaces.
    fn put_approval(&mut self, approval: &Approval) -> Result<()>;
}

/// Asks for an approval. Whoever asks for the same again is told of the request that is open.
pub fn request(rows: &mut impl Rows, now: Timestamp, caller: &Caller, request: &RequestApproval) -> Result<Outcome> {
    let open = rows.open_approval(&caller.agent_id, caller.session_id.as_ref(), &request.subject)?;
    let repeated = open.is_some();
    let approval = match open {
        Some(open) => open,
        None => {
            let approval = Approval {
                approval_id: request.approval_id,
                seq: next_position(rows),
                agent_id: caller.agent_id.clone(),
                agent_type: caller.agent_type.clone(),
                session_id: caller.session_id.clone(),
                subject: request.subject.clone(),
                status: ApprovalStatus::Pending,
                scope: None,
                requested_at: now,
                expires_at: now + i64::from(request.ttl_seconds).seconds(),
                decided_by: None,
                decided_at: None,
                note: None,
                used_at: None,
            };
            rows.put_approval(&approval)?;
            approval
        }
    };
    Ok(Outcome::ApprovalRequested {
        approval_id: approval.approval_id,
        status: approval.status,
        expires_at: approval.expires_at,
        repeated,
        refusal: request.refusal.clone(),
    })
}

/// Decides about a request of somebody else. An approval may be taken back as long as it is not used up.
pub fn decide(rows: &mut impl Rows, now: Timestamp, caller: &Caller, request: &DecideApproval) -> Result<Outcome> {
    let approval_id = request.approval_id;
    let Some(mut approval) = rows.approval(approval_id)? else {
        return Ok(Outcome::Refused(Refusal::ApprovalNotFound { approval_id }));
    };
    if approval.agent_id == caller.agent_id {
        return Ok(Outcome::Refused(Refusal::OwnApproval { approval_id }));
    }
    let can_be = match request.verdict {
        Verdict::Approve => approval.status == ApprovalStatus::Pending,
        Verdict::Deny => approval.status.is_open(),
    };
    if !can_be {
        return Ok(Outcome::Refused(Refusal::ApprovalSettled { approval_id, status: approval.status }));
    }
    match request.verdict {
        Verdict::Approve => {
            approval.status = ApprovalStatus::Approved;
            approval.scope = Some(request.scope);
            approval.expires_at = now + i64::from(request.ttl_seconds).seconds();
        }
        Verdict::Deny => approval.status = ApprovalStatus::Denied,
    }
    approval.decided_by = Some(caller.agent_id.clone());
    approval.decided_at = Some(now);
    approval.note.clone_from(&request.note);
    let settled = verification::settle(rows, now, &approval)?;
    if settled && approval.status == ApprovalStatus::Approved {
        // It has done what it was asked for.
        approval.status = ApprovalStatus::Used;
        approval.used_at = Some(now);
    }
    rows.put_approval(&approval)?;
    Ok(Outcome::ApprovalDecided { approval_id, status: approval.status, expires_at: approval.expires_at })
}

/// Why the approval that the command presents does not let it through; nothing when it does, or none is presented.
pub fn check(rows: &mut impl Rows, command: &Command) -> Result<Option<Refusal>> {
    let Some(pass) = &command.approval else { return Ok(None) };
    let approval_id = pass.approval_id;
    let caller = &command.caller;
    Ok(match rows.approval(approval_id)? {
        None => Some(Refusal::ApprovalNotFound { approval_id }),
        Some(approval) if !approval.is_for(&caller.agent_id, caller.session_id.as_ref(), pass) => {
            Some(Refusal::ApprovalMismatch { approval_id })
        }
        Some(approval) if approval.status != ApprovalStatus::Approved => {
            Some(Refusal::ApprovalSettled { approval_id, status: approval.status })
        }
        Some(_) => None,
    })
}

/// The approval has let a command through.
pub fn spend(rows: &mut impl Rows, now: Timestamp, pass: &Pass) -> Result<()> {
    let Some(mut approval) = rows.approval(pass.approval_id)? else { return Ok(()) };
    if approval.scope != Some(ApprovalScope::Session) {
        approval.status = ApprovalStatus::Used;
    }
    approval.used_at = Some(now);
    rows.put_approval(&approval)
}
