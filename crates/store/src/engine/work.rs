//! The work queue: who gets which task, and what becomes of it.

use std::collections::VecDeque;

use jiff::Timestamp;
use model::JsonText;
use model::command::{Cancel, Claim, Complete, Finish, Outcome, Refusal, Submit};
use model::id::Caller;
use model::limits::Limits;
use model::work::{CANCELLED, DEADLINE_EXCEEDED, DEPENDENCY_FAILED, LEASE_LAPSED, Task, TaskStatus};
use uuid::Uuid;

use super::{Result, Rows, locks, next_position};

pub fn submit(rows: &mut impl Rows, now: Timestamp, caller: &Caller, request: &Submit) -> Result<Outcome> {
    if let Some(key) = &request.idempotency_key
        && let Some(earlier) = rows.task_by_idempotency_key(key)?
    {
        return Ok(if earlier.fingerprint == request.fingerprint {
            Outcome::Submitted { task_id: earlier.task_id, repeated: true }
        } else {
            Outcome::Refused(Refusal::IdempotencyKeyReused { task_id: earlier.task_id })
        });
    }
    if request.deadline.is_some_and(|deadline| deadline <= now) {
        return Ok(Outcome::Refused(Refusal::DeadlineExceeded));
    }
    let (mut unknown, mut failed, mut open) = (vec![], None, 0);
    for task_id in &request.depends_on {
        match rows.task(*task_id)?.map(|task| task.status) {
            None => unknown.push(*task_id),
            Some(TaskStatus::Failed) => failed = failed.or(Some(*task_id)),
            Some(TaskStatus::Completed) => {}
            Some(_) => open += 1,
        }
    }
    if !unknown.is_empty() {
        return Ok(Outcome::Refused(Refusal::UnknownDependency { task_ids: unknown }));
    }
    if let Some(task_id) = failed {
        return Ok(Outcome::Refused(Refusal::DependencyFailed { task_id }));
    }
    let task = Task {
        task_id: request.task_id,
        seq: next_position(rows),
        task_type: request.task_type.clone(),
        description: request.description.clone(),
        input_data: request.input_data.clone(),
        priority: request.priority,
        status: TaskStatus::Pending,
        depends_on: request.depends_on.clone(),
        open_dependencies: open,
        deadline: request.deadline,
        max_attempts: request.max_attempts,
        attempt: 0,
        not_before: None,
        idempotency_key: request.idempotency_key.clone(),
        fingerprint: request.fingerprint.clone(),
        required_capability: request.required_capability.clone(),
        assignee: request.assignee.clone(),
        feature_id: request.feature_id.clone(),
        created_by: caller.agent_id.clone(),
        claimed_by: None,
        session_id: None,
        fencing_token: None,
        lease_seconds: 0,
        lease_expires_at: None,
        result: None,
        error_code: None,
        error_message: None,
        created_at: now,
        claimed_at: None,
        completed_at: None,
    };
    rows.insert_task(&task)?;
    Ok(Outcome::Submitted { task_id: task.task_id, repeated: false })
}

pub fn claim(
    rows: &mut impl Rows,
    now: Timestamp,
    caller: &Caller,
    request: &Claim,
    limits: &Limits,
) -> Result<Outcome> {
    let sessions = rows.sessions_of(&caller.agent_id)?;
    let capabilities: Vec<String> = sessions.into_iter().flat_map(|s| s.capabilities).collect();
    let first = rows.first_claimable(now, &caller.agent_id, request.task_types.as_deref(), &capabilities)?;
    let Some(mut task) = first else {
        return Ok(if request.waits { Outcome::NoTaskYet } else { Outcome::NoTask });
    };
    task.status = TaskStatus::Claimed;
    task.attempt += 1;
    task.not_before = None;
    task.claimed_by = Some(caller.agent_id.clone());
    task.session_id = caller.session_id.clone();
    task.claimed_at = Some(now);
    task.fencing_token = Some(next_position(rows));
    task.lease_seconds = request.lease_seconds;
    task.lease_expires_at = None;
    task.renew_lease(now, limits.max_minutes_per_task);
    rows.update_task(&task)?;
    Ok(Outcome::Claimed { task: Box::new(task) })
}

pub fn complete(rows: &mut impl Rows, now: Timestamp, caller: &Caller, request: &Complete) -> Result<Outcome> {
    let task = rows.task(request.task_id)?;
    let Some(mut task) = task.filter(|t| t.status.is_held() && t.claimed_by.as_ref() == Some(&caller.agent_id)) else {
        return Ok(Outcome::Refused(Refusal::TaskNotFoundOrNotClaimedByAgent));
    };
    if let Some(given) = request.fencing_token
        && let Some(refusal) = locks::stale(&task.task_id.to_string(), given, task.fencing_token)
    {
        return Ok(Outcome::Refused(refusal));
    }
    task.result = request.result.clone();
    task.error_message = request.error_message.clone();
    task.error_code = request.error_code.clone();
    let task_id = task.task_id;
    let (mut retry_at, mut failed_dependents) = (None, vec![]);
    let status = if request.success {
        finish(rows, now, task, TaskStatus::Completed)?;
        TaskStatus::Completed
    } else if let Some(then) = next_attempt(&task, now) {
        retry_at = Some(then);
        task.not_before = retry_at;
        put_back(rows, task)?;
        TaskStatus::Pending
    } else {
        failed_dependents = finish(rows, now, task, TaskStatus::Failed)?;
        TaskStatus::Failed
    };
    Ok(Outcome::Ended { task_id, status, retry_at, failed_dependents })
}

/// When a task whose attempt failed is tried again: not when it was cancelled, was the last attempt, or would come too
/// late.
fn next_attempt(task: &Task, now: Timestamp) -> Option<Timestamp> {
    let then = now + task.backoff();
    let again = task.attempt < task.max_attempts && task.error_code.as_deref() != Some(CANCELLED);
    (again && task.deadline.is_none_or(|deadline| then < deadline)).then_some(then)
}

pub fn cancel(rows: &mut impl Rows, now: Timestamp, request: &Cancel) -> Result<Outcome> {
    end(rows, now, request.task_id, &request.result, Some(&request.reason))
}

pub fn finish_task(rows: &mut impl Rows, now: Timestamp, request: &Finish) -> Result<Outcome> {
    end(rows, now, request.task_id, &request.result, None)
}

/// Ends a task that has not ended yet, whoever holds it: cancelled for a reason, or else done.
fn end(
    rows: &mut impl Rows,
    now: Timestamp,
    task_id: Uuid,
    result: &JsonText,
    cancelled: Option<&str>,
) -> Result<Outcome> {
    let Some(mut task) = rows.task(task_id)? else {
        return Ok(Outcome::Refused(Refusal::TaskNotFound));
    };
    if task.status.is_final() {
        return Ok(Outcome::Refused(Refusal::TaskAlreadyEnded { status: task.status }));
    }
    task.result = Some(result.clone());
    task.error_code = cancelled.map(|_| CANCELLED.into());
    task.error_message = cancelled.map(Into::into);
    let status = if cancelled.is_some() { TaskStatus::Failed } else { TaskStatus::Completed };
    let failed_dependents = finish(rows, now, task, status)?;
    Ok(Outcome::Ended { task_id, status, retry_at: None, failed_dependents })
}

/// Takes a task from a holder that is gone: back into the queue, or failed after its last attempt.
pub fn take_back(rows: &mut impl Rows, now: Timestamp, mut task: Task) -> Result<()> {
    task.error_code = Some(LEASE_LAPSED.into());
    task.error_message = Some(format!(
        "{} stopped sending heartbeats during attempt {} of {}",
        task.claimed_by.as_ref().map_or("its worker", |agent| agent.as_str()),
        task.attempt,
        task.max_attempts
    ));
    if task.attempt < task.max_attempts {
        put_back(rows, task)
    } else {
        finish(rows, now, task, TaskStatus::Failed).map(drop)
    }
}

/// Fails a task that nobody began in time.
pub fn fail_overdue(rows: &mut impl Rows, now: Timestamp, mut task: Task) -> Result<()> {
    task.error_code = Some(DEADLINE_EXCEEDED.into());
    task.error_message = Some("nobody began it before its deadline".into());
    finish(rows, now, task, TaskStatus::Failed).map(drop)
}

/// Back into the queue. The token goes, so that the old holder can prove nothing any more.
fn put_back(rows: &mut impl Rows, mut task: Task) -> Result<()> {
    task.status = TaskStatus::Pending;
    task.session_id = None;
    task.fencing_token = None;
    task.lease_expires_at = None;
    rows.update_task(&task)
}

/// Gives a task its final status. Success opens the way for its dependents; failure fails them, and theirs: returned in
/// the order in which they fell.
fn finish(rows: &mut impl Rows, now: Timestamp, mut task: Task, status: TaskStatus) -> Result<Vec<Uuid>> {
    task.status = status;
    task.lease_expires_at = None;
    task.not_before = None;
    task.completed_at = Some(now);
    rows.update_task(&task)?;
    let mut fallen = vec![];
    if status == TaskStatus::Completed {
        for mut dependent in rows.dependents(task.task_id)? {
            dependent.open_dependencies -= 1;
            rows.update_task(&dependent)?;
        }
        return Ok(fallen);
    }
    let mut failed = VecDeque::from([task]);
    while let Some(cause) = failed.pop_front() {
        for mut dependent in rows.dependents(cause.task_id)? {
            dependent.status = TaskStatus::Failed;
            dependent.error_code = Some(DEPENDENCY_FAILED.into());
            dependent.error_message =
                Some(format!("it depends on task {} ({}), which failed", cause.task_id, cause.task_type));
            dependent.not_before = None;
            dependent.completed_at = Some(now);
            rows.update_task(&dependent)?;
            fallen.push(dependent.task_id);
            failed.push_back(dependent);
        }
    }
    Ok(fallen)
}
