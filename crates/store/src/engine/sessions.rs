//! Sessions: who is there, and what becomes of what they hold when they are not.

use jiff::{Timestamp, ToSpan};
use model::command::{Action, Cleanup, Command, Freed, Outcome, Refusal, Register};
use model::id::Caller;
use model::limits::Limits;
use model::sessions::Session;
use model::work::TaskStatus;

use super::{Result, Rows, reap};

/// May the caller's session act? Every operation is a sign of its life.
///
/// A session that never registered is only a label. One that was disconnected must register again first: whatever it
/// held may be another's by now.
pub fn admit(rows: &mut impl Rows, now: Timestamp, command: &Command) -> Result<Option<Refusal>> {
    if matches!(command.action, Action::Register(_) | Action::Refuse(_)) {
        return Ok(None);
    }
    let Some(session_id) = &command.caller.session_id else { return Ok(None) };
    let Some(mut session) = rows.session(session_id)? else { return Ok(None) };
    if session.agent_id != command.caller.agent_id {
        return Ok(Some(Refusal::SessionNotYours { session_id: session_id.clone() }));
    }
    if let Some(disconnected_at) = session.disconnected_at {
        return Ok(Some(Refusal::SessionExpired { session_id: session_id.clone(), disconnected_at }));
    }
    if session.is_worth_renewing(now) {
        session.heard_of(now);
        rows.put_session(&session)?;
    }
    Ok(None)
}

pub fn register(rows: &mut impl Rows, now: Timestamp, caller: &Caller, request: &Register) -> Result<Outcome> {
    let Some(session_id) = caller.session_id.clone() else {
        return Ok(Outcome::Refused(Refusal::SessionNotFound));
    };
    let earlier = rows.session(&session_id)?;
    if earlier.as_ref().is_some_and(|s| s.agent_id != caller.agent_id) {
        return Ok(Outcome::Refused(Refusal::SessionNotYours { session_id }));
    }
    let mut session = Session {
        session_id,
        agent_id: caller.agent_id.clone(),
        agent_type: caller.agent_type.clone(),
        capabilities: request.capabilities.clone(),
        current_task: request.current_task.clone(),
        started_at: earlier.map_or(now, |s| s.started_at),
        last_heartbeat: now,
        ttl_seconds: request.ttl_seconds,
        expires_at: now,
        disconnected_at: None,
    };
    session.heard_of(now);
    rows.put_session(&session)?;
    Ok(Outcome::Registered { session_id: session.session_id, expires_at: session.expires_at })
}

/// Renews the caller's session, or all sessions of an agent that names none, and the claims that go with them.
pub fn heartbeat(rows: &mut impl Rows, now: Timestamp, caller: &Caller, limits: &Limits) -> Result<Outcome> {
    let mut renewed = None;
    for mut session in rows.sessions_of(&caller.agent_id)? {
        if caller.session_id.as_ref().is_none_or(|id| *id == session.session_id) {
            session.heard_of(now);
            rows.put_session(&session)?;
            renewed = Some(session.session_id);
        }
    }
    let mut tasks = 0;
    for mut task in rows.tasks_held_by(&caller.agent_id)? {
        if caller.session_id.is_none() || task.session_id.is_none() || task.session_id == caller.session_id {
            task.status = TaskStatus::Running;
            task.renew_lease(now, limits.max_minutes_per_task);
            rows.update_task(&task)?;
            tasks += 1;
        }
    }
    Ok(if renewed.is_none() && tasks == 0 {
        Outcome::Refused(Refusal::SessionNotFound)
    } else {
        Outcome::Renewed { session_id: renewed, tasks }
    })
}

/// Ends the caller's session: what it holds is free at once.
pub fn end(rows: &mut impl Rows, now: Timestamp, caller: &Caller) -> Result<Outcome> {
    let session = match &caller.session_id {
        Some(session_id) => rows.session(session_id)?,
        None => None,
    };
    let Some(session) = session else { return Ok(Outcome::Refused(Refusal::SessionNotFound)) };
    let mut freed = Freed::default();
    reap::disconnect(rows, now, vec![session], &mut freed)?;
    // What came back too late to be begun must not be handed out by the next command.
    reap::fail_overdue(rows, now)?;
    Ok(Outcome::SessionEnded { freed })
}

pub fn cleanup(
    rows: &mut impl Rows,
    now: Timestamp,
    caller: &Caller,
    request: &Cleanup,
    freed: &mut Freed,
) -> Result<Outcome> {
    let then = now - i64::from(request.silent_seconds).seconds();
    let mut silent = rows.sessions_silent_since(then)?;
    silent.retain(|session| Some(&session.session_id) != caller.session_id.as_ref());
    reap::disconnect(rows, now, silent, freed)?;
    // What came back too late to be begun must not be handed out by the next command.
    reap::fail_overdue(rows, now)?;
    Ok(Outcome::Cleaned { freed: std::mem::take(freed) })
}
