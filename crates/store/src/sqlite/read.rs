//! The questions that need no writing.

use jiff::Timestamp;
use model::api_keys::ApiKey;
use model::audit::{AuditEntry, AuditFilter};
use model::id::Project;
use model::key::LockKey;
use model::locks::Lock;
use model::sessions::Session;
use model::work::{Task, TaskFilter, TaskStatus};
use rusqlite::{Connection, named_params};

use super::rows::{API_KEY, AUDIT, SESSION, TASK, all, all_locks, api_key, audit as audit_row, locks_near, micros};
pub use super::rows::{find_task as task, waiters};
use super::rows::{session, task as task_row};

/// Is there anything of the project's to be freed?
pub fn is_due(connection: &Connection, project: &Project, now: Timestamp) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "select exists (select 1 from locks where project = :project and expires_at <= :now)
                 or exists (select 1 from waiters where project = :project and expires_at <= :now)
                 or exists (select 1 from sessions
                     where project = :project and disconnected_at is null and expires_at <= :now)
                 or exists (select 1 from tasks
                     where project = :project and lease_expires_at is not null and lease_expires_at <= :now)
                 or exists (select 1 from tasks
                     where project = :project and status = 'pending' and deadline is not null and deadline <= :now)",
        )?
        .query_row(named_params! { ":project": project.as_str(), ":now": micros(now) }, |row| row.get(0))
}

pub fn projects(connection: &Connection) -> rusqlite::Result<Vec<Project>> {
    let names: Vec<String> = all(connection, "select project from projects order by project", &[], |row| row.get(0))?;
    // Names were checked on their way in.
    Ok(names.into_iter().filter_map(|name| Project::new(name).ok()).collect())
}

pub fn locks(connection: &Connection, project: &Project, keys: Option<&[LockKey]>) -> rusqlite::Result<Vec<Lock>> {
    let Some(keys) = keys else { return all_locks(connection, project) };
    let mut locks = vec![];
    for key in keys {
        locks.extend(locks_near(connection, project, key)?.into_iter().filter(|l| l.key.overlaps(key)));
    }
    locks.sort_by(|a, b| (a.fencing_token, &a.key).cmp(&(b.fencing_token, &b.key)));
    locks.dedup();
    Ok(locks)
}

pub fn tasks(connection: &Connection, project: &Project, filter: &TaskFilter) -> rusqlite::Result<Vec<Task>> {
    let sql = format!(
        "select {TASK} from tasks where project = :project
             and (:status is null or status = :status)
             and (:error_code is null or error_code = :error_code)
             and (:task_type is null or task_type = :task_type)
             and (:before is null or seq < :before)
         order by seq desc limit :limit"
    );
    let params = named_params! {
        ":project": project.as_str(),
        ":status": filter.status.map(TaskStatus::as_str),
        ":error_code": filter.error_code,
        ":task_type": filter.task_type,
        ":before": filter.before,
        ":limit": filter.limit,
    };
    all(connection, &sql, params, task_row)
}

pub fn sessions(connection: &Connection, project: &Project, connected: bool) -> rusqlite::Result<Vec<Session>> {
    let sql = format!(
        "select {SESSION} from sessions where project = :project and (disconnected_at is null) = :connected
         order by last_heartbeat desc, session_id desc limit :limit"
    );
    let limit = if connected { -1 } else { 1000 };
    let params = named_params! { ":project": project.as_str(), ":connected": connected, ":limit": limit };
    all(connection, &sql, params, session)
}

pub fn audit(connection: &Connection, project: &Project, filter: &AuditFilter) -> rusqlite::Result<Vec<AuditEntry>> {
    let sql = format!(
        "select {AUDIT} from audit where project = :project
             and (:agent_id is null or agent_id = :agent_id)
             and (:operation is null or operation = :operation)
             and (:since is null or created_at >= :since)
             and (:until is null or created_at < :until)
             and (:success is null or success = :success)
             and (:before is null or seq < :before)
         order by seq desc limit :limit"
    );
    let params = named_params! {
        ":project": project.as_str(),
        ":agent_id": filter.agent_id,
        ":operation": filter.operation,
        ":since": filter.since.map(micros),
        ":until": filter.until.map(micros),
        ":success": filter.success,
        ":before": filter.before,
        ":limit": filter.limit,
    };
    all(connection, &sql, params, audit_row)
}

pub fn api_keys(connection: &Connection) -> rusqlite::Result<Vec<ApiKey>> {
    all(connection, &format!("select {API_KEY} from api_keys order by created_at, id"), &[], api_key)
}
