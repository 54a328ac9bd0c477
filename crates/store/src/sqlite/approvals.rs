//! Approvals in SQLite.

use jiff::Timestamp;
use model::approvals::{Approval, ApprovalFilter, ApprovalScope, ApprovalStatus, Subject};
use model::id::{AgentId, Project, SessionId};
use rusqlite::{Connection, Row, ToSql, named_params};
use uuid::Uuid;

use super::records::{self, instant, micros, optional_instant, optional_word, word};
use super::rows::SqliteRows;
use super::{Result, read};
use crate::engine::ApprovalRows;

const APPROVAL: &str = "approval_id, seq, agent_id, agent_type, session_id, operation, resource, fingerprint, reason, \
                        status, scope, requested_at, expires_at, decided_by, decided_at, note, used_at";

fn approval(row: &Row<'_>) -> rusqlite::Result<Approval> {
    Ok(Approval {
        approval_id: records::uuid(row, 0)?,
        seq: row.get(1)?,
        agent_id: word(row, 2)?,
        agent_type: row.get(3)?,
        session_id: optional_word(row, 4)?,
        subject: Subject {
            operation: row.get(5)?,
            resource: row.get(6)?,
            fingerprint: row.get(7)?,
            reason: row.get(8)?,
        },
        status: word::<ApprovalStatus>(row, 9)?,
        scope: optional_word::<ApprovalScope>(row, 10)?,
        requested_at: instant(row, 11)?,
        expires_at: instant(row, 12)?,
        decided_by: optional_word(row, 13)?,
        decided_at: optional_instant(row, 14)?,
        note: row.get(15)?,
        used_at: optional_instant(row, 16)?,
    })
}

/// A page of requests, newest first.
pub fn list(connection: &Connection, project: &Project, filter: &ApprovalFilter) -> rusqlite::Result<Vec<Approval>> {
    let sql = format!(
        "select {APPROVAL} from approvals where project = :project
             and (:approval_id is null or approval_id = :approval_id)
             and (:status is null or status = :status)
             and (:agent_id is null or agent_id = :agent_id)
             and (:fingerprint is null or fingerprint = :fingerprint)
             and (:before is null or seq < :before)
         order by seq desc limit :limit"
    );
    let params = named_params! {
        ":project": project.as_str(),
        ":approval_id": filter.approval_id.as_ref().map(Uuid::as_bytes),
        ":status": filter.status.map(ApprovalStatus::as_str),
        ":agent_id": filter.agent_id.as_ref().map(AgentId::as_str),
        ":fingerprint": filter.fingerprint,
        ":before": filter.before,
        ":limit": filter.limit,
    };
    read::all(connection, &sql, params, approval)
}

impl SqliteRows<'_> {
    fn approvals_where(&self, condition: &'static str, params: &[(&str, &dyn ToSql)]) -> Result<Vec<Approval>> {
        self.select(
            &format!("select {APPROVAL} from approvals where project = :project and {condition}"),
            params,
            approval,
        )
    }
}

impl ApprovalRows for SqliteRows<'_> {
    fn approval(&mut self, approval_id: Uuid) -> Result<Option<Approval>> {
        let params = named_params! { ":project": self.project.as_str(), ":id": approval_id.as_bytes() };
        Ok(self.approvals_where("approval_id = :id", params)?.into_iter().next())
    }

    fn open_approval(
        &mut self,
        agent: &AgentId,
        session: Option<&SessionId>,
        subject: &Subject,
    ) -> Result<Option<Approval>> {
        let params = named_params! {
            ":project": self.project.as_str(), ":agent": agent.as_str(), ":session": session.map(SessionId::as_str),
            ":operation": subject.operation, ":fingerprint": subject.fingerprint,
        };
        let found = self.approvals_where(
            "agent_id = :agent and fingerprint = :fingerprint and operation = :operation and session_id is :session
             and status in ('pending', 'approved')
             order by seq desc limit 1",
            params,
        )?;
        Ok(found.into_iter().next())
    }

    fn approvals_ended(&mut self, now: Timestamp) -> Result<Vec<Approval>> {
        self.approvals_where(
            "status in ('pending', 'approved') and expires_at <= :now order by +seq",
            named_params! { ":project": self.project.as_str(), ":now": micros(now) },
        )
    }

    fn put_approval(&mut self, approval: &Approval) -> Result<()> {
        self.execute(
            "insert or replace into approvals (project, seq, approval_id, agent_id, agent_type, session_id, operation,
                 resource, fingerprint, reason, status, scope, requested_at, expires_at, decided_by, decided_at, note,
                 used_at)
             values (:project, :seq, :approval_id, :agent_id, :agent_type, :session_id, :operation, :resource,
                 :fingerprint, :reason, :status, :scope, :requested_at, :expires_at, :decided_by, :decided_at, :note,
                 :used_at)",
            named_params! {
                ":project": self.project.as_str(),
                ":seq": approval.seq,
                ":approval_id": approval.approval_id.as_bytes(),
                ":agent_id": approval.agent_id.as_str(),
                ":agent_type": approval.agent_type,
                ":session_id": approval.session_id.as_ref().map(SessionId::as_str),
                ":operation": approval.subject.operation,
                ":resource": approval.subject.resource,
                ":fingerprint": approval.subject.fingerprint,
                ":reason": approval.subject.reason,
                ":status": approval.status.as_str(),
                ":scope": approval.scope.map(ApprovalScope::as_str),
                ":requested_at": micros(approval.requested_at),
                ":expires_at": micros(approval.expires_at),
                ":decided_by": approval.decided_by.as_ref().map(AgentId::as_str),
                ":decided_at": approval.decided_at.map(micros),
                ":note": approval.note,
                ":used_at": approval.used_at.map(micros),
            },
        )
    }
}
