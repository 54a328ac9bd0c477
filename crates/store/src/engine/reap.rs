//! Freeing what is due: one rule for locks, claims, sessions, places in a queue, approvals and runs. What has an `expires_at` that is
//! past, by the database's clock, is over.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::approvals::ApprovalStatus;
use model::audit::{SYSTEM_AGENT, SYSTEM_TYPE};
use model::command::Freed;
use model::id::SessionId;
use model::locks::Lock;
use model::sessions::Session;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{NewEntry, Result, Rows, next_position, verification, work};

/// Frees everything that is due at `now`, and records it.
pub fn free_what_is_due(rows: &mut impl Rows, now: Timestamp) -> Result<Freed> {
    let mut freed = Freed::default();
    if !rows.is_due(now)? {
        return Ok(freed);
    }
    rows.drop_waiters_ended(now)?;
    let sessions = rows.sessions_ended(now)?;
    disconnect(rows, now, sessions, &mut freed)?;
    for lock in rows.locks_ended(now)? {
        rows.drop_lock(&lock.key, &lock.agent_id)?;
        let what = json!({"file_path": lock.key.as_str(), "agent_id": lock.agent_id});
        record(rows, now, "expire_lock", what)?;
    }
    for task in rows.leases_lapsed(now)? {
        let what = json!({"task_id": task.task_id, "agent_id": task.claimed_by});
        work::take_back(rows, now, task)?;
        record(rows, now, "lapse_claim", what)?;
    }
    fail_overdue(rows, now)?;
    for mut approval in rows.approvals_ended(now)? {
        approval.status = ApprovalStatus::Expired;
        rows.put_approval(&approval)?;
        verification::settle(rows, now, &approval)?;
        let what = json!({"approval_id": approval.approval_id, "agent_id": approval.agent_id});
        record(rows, now, "expire_approval", what)?;
    }
    for run_id in rows.runs_lapsed(now)? {
        // An earlier one in this loop may have ended it with its changeset.
        if let Some(lapsed) = verification::take_back(rows, now, run_id)? {
            let what = json!({
                "run_id": lapsed.run_id,
                "changeset_id": lapsed.changeset_id,
                "agent_id": lapsed.runner,
            });
            record(rows, now, "lapse_verification", what)?;
        }
    }
    Ok(freed)
}

/// Fails the tasks that nobody began in time.
pub fn fail_overdue(rows: &mut impl Rows, now: Timestamp) -> Result<()> {
    for task in rows.tasks_overdue(now)? {
        // An earlier one in this loop may have failed it as its dependent.
        if rows.task(task.task_id)?.is_some_and(|t| !t.status.is_final()) {
            let what = json!({"task_id": task.task_id});
            work::fail_overdue(rows, now, task)?;
            record(rows, now, "expire_task", what)?;
        }
    }
    Ok(())
}

/// Ends sessions. Their locks are looked for but once: that may mean a look at every lock.
pub fn disconnect(rows: &mut impl Rows, now: Timestamp, sessions: Vec<Session>, freed: &mut Freed) -> Result<()> {
    if sessions.is_empty() {
        return Ok(());
    }
    let ids: Vec<&SessionId> = sessions.iter().map(|session| &session.session_id).collect();
    let mut locks: BTreeMap<Option<SessionId>, Vec<Lock>> = BTreeMap::new();
    for lock in rows.locks_of_sessions(&ids)? {
        locks.entry(lock.session_id.clone()).or_default().push(lock);
    }
    for session in sessions {
        let its_locks = locks.remove(&Some(session.session_id.clone())).unwrap_or_default();
        disconnect_one(rows, now, session, its_locks, freed)?;
    }
    Ok(())
}

/// Ends a session: its locks are released, its tasks taken back. Not those of another agent that used the session's id
/// as a label before it was registered.
fn disconnect_one(
    rows: &mut impl Rows,
    now: Timestamp,
    mut session: Session,
    mut its_locks: Vec<Lock>,
    freed: &mut Freed,
) -> Result<()> {
    let (mut locks, mut tasks) = (0, 0);
    its_locks.retain(|lock| lock.agent_id == session.agent_id);
    for lock in its_locks {
        rows.drop_lock(&lock.key, &lock.agent_id)?;
        locks += 1;
    }
    let mut its_tasks = rows.tasks_of_session(&session.session_id)?;
    its_tasks.retain(|task| task.claimed_by.as_ref() == Some(&session.agent_id));
    for task in its_tasks {
        work::take_back(rows, now, task)?;
        tasks += 1;
    }
    session.disconnected_at = Some(now);
    rows.put_session(&session)?;
    freed.sessions += 1;
    freed.locks += locks;
    freed.tasks += tasks;
    let what = json!({
        "session_id": session.session_id,
        "agent_id": session.agent_id,
        "locks_released": locks,
        "tasks_requeued": tasks,
    });
    record(rows, now, "disconnect_session", what)
}

/// The coordinator's own deeds are in the trail too, under its own name.
fn record(rows: &mut impl Rows, now: Timestamp, operation: &str, what: Value) -> Result<()> {
    let entry = NewEntry {
        seq: next_position(rows),
        id: Uuid::now_v7(),
        agent_id: SYSTEM_AGENT,
        agent_type: SYSTEM_TYPE,
        session_id: None,
        operation,
        parameters: &what.to_string(),
        result: "null",
        duration_ms: 0,
        success: true,
        error_message: None,
        created_at: now,
    };
    rows.append_audit(&entry)
}
