//! The questions that need no writing, of which the rules ask some too.

use jiff::Timestamp;
use model::api_keys::ApiKey;
use model::audit::{AuditEntry, AuditFilter};
use model::id::Project;
use model::key::LockKey;
use model::locks::{Lock, Waiter};
use model::sessions::Session;
use model::work::{Task, TaskFilter, TaskStatus};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, named_params, params};
use uuid::Uuid;

use super::records::{self, API_KEY, AUDIT, LOCK, SESSION, TASK, WAITER, micros};

/// All rows of a query.
pub fn all<T>(
    connection: &Connection,
    sql: &str,
    params: &[(&str, &dyn ToSql)],
    row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare_cached(sql)?.query_map(params, row)?.collect()
}

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

/// The locks that may overlap the key: equal to its stem or above it, below it, or globs.
pub fn locks_near(connection: &Connection, project: &Project, key: &LockKey) -> rusqlite::Result<Vec<Lock>> {
    let lineage = serde_json::to_string(&key.lineage()).unwrap_or_default();
    // '0' is the character after '/': what begins with "stem/" lies between the two. Any blob comes after every text.
    let (from, to) = match key.stem() {
        "" => (String::new(), Value::Blob(vec![])),
        stem => (format!("{stem}/"), Value::Text(format!("{stem}0"))),
    };
    let sql = format!(
        "select {LOCK} from locks where project = :project and space = :space and not wild
             and pattern in (select value from json_each(:lineage))
         union all
         select {LOCK} from locks where project = :project and space = :space and not wild
             and pattern > :from and pattern < :to
         union all
         select {LOCK} from locks indexed by locks_wild where project = :project and space = :space and wild"
    );
    let (project, space) = (project.as_str(), key.space().as_str());
    all(
        connection,
        &sql,
        named_params! { ":project": project, ":space": space, ":lineage": lineage, ":from": from, ":to": to },
        records::lock,
    )
}

pub fn all_locks(connection: &Connection, project: &Project) -> rusqlite::Result<Vec<Lock>> {
    let sql = format!("select {LOCK} from locks where project = :project order by fencing_token, key");
    all(connection, &sql, named_params! { ":project": project.as_str() }, records::lock)
}

pub fn waiters(connection: &Connection, project: &Project) -> rusqlite::Result<Vec<Waiter>> {
    let sql = format!("select {WAITER} from waiters where project = :project order by seq");
    all(connection, &sql, named_params! { ":project": project.as_str() }, records::waiter)
}

pub fn task(connection: &Connection, project: &Project, task_id: Uuid) -> rusqlite::Result<Option<Task>> {
    let sql = format!("select {TASK} from tasks where project = ? and task_id = ?");
    connection.prepare_cached(&sql)?.query_row(params![project.as_str(), task_id.as_bytes()], records::task).optional()
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
    all(connection, &sql, params, records::task)
}

pub fn sessions(connection: &Connection, project: &Project, connected: bool) -> rusqlite::Result<Vec<Session>> {
    let sql = format!(
        "select {SESSION} from sessions where project = :project and (disconnected_at is null) = :connected
         order by last_heartbeat desc, session_id desc limit :limit"
    );
    let limit = if connected { -1 } else { 1000 };
    let params = named_params! { ":project": project.as_str(), ":connected": connected, ":limit": limit };
    all(connection, &sql, params, records::session)
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
    all(connection, &sql, params, records::audit)
}

pub fn audit_after(
    connection: &Connection,
    project: &Project,
    position: i64,
    limit: u32,
) -> rusqlite::Result<Vec<AuditEntry>> {
    let sql =
        format!("select {AUDIT} from audit where project = :project and seq > :position order by seq limit :limit");
    let params = named_params! { ":project": project.as_str(), ":position": position, ":limit": limit };
    all(connection, &sql, params, records::audit)
}

pub fn api_keys(connection: &Connection) -> rusqlite::Result<Vec<ApiKey>> {
    all(connection, &format!("select {API_KEY} from api_keys order by created_at, id"), &[], records::api_key)
}
