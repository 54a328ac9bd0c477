//! The questions that need no writing, of which the rules ask some too.

use std::sync::LazyLock;

use jiff::Timestamp;
use model::api_keys::ApiKey;
use model::audit::{AuditEntry, AuditFilter};
use model::chain::Digest256;
use model::handoffs::{Handoff, HandoffFilter};
use model::id::{AgentId, Project, SessionId};
use model::key::{LockKey, PAUSE};
use model::locks::{Lock, Waiter};
use model::messages::{Message, MessageFilter};
use model::ports::PortBlock;
use model::sessions::Session;
use model::work::{Task, TaskFilter, TaskStatus};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, named_params, params};
use uuid::Uuid;

use super::records::{self, API_KEY, AUDIT, HANDOFF, LOCK, MESSAGE, PORT_BLOCK, SESSION, TASK, WAITER, micros};

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
const IS_DUE: &str = "exists (select 1 from locks where project = :project and expires_at <= :now)
    or exists (select 1 from waiters where project = :project and expires_at <= :now)
    or exists (select 1 from sessions where project = :project and disconnected_at is null and expires_at <= :now)
    or exists (select 1 from tasks
        where project = :project and lease_expires_at is not null and lease_expires_at <= :now)
    or exists (select 1 from tasks
        where project = :project and status = 'pending' and deadline is not null and deadline <= :now)
    or exists (select 1 from approvals
        where project = :project and status in ('pending', 'approved') and expires_at <= :now)
    or exists (select 1 from verification_runs
        where project = :project and lease_expires_at is not null and lease_expires_at <= :now)";

/// Does a lock pause a feature?
pub const IS_PAUSE: &str = "space = 'feature' and substr(pattern, -length(:pause) - 1) = '/' || :pause";

/// Is there anything of the project's to be freed?
pub fn is_due(connection: &Connection, project: &Project, now: Timestamp) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(&format!("select {IS_DUE}"))?
        .query_row(named_params! { ":project": project.as_str(), ":now": micros(now) }, |row| row.get(0))
}

/// What there is of the project's, in one look.
pub struct Overview {
    /// The last position in its trail, 0 when there is none yet.
    pub position: i64,
    /// The hash of the row there.
    pub head: Digest256,
    pub is_due: bool,
    pub has_pauses: bool,
    pub has_waiters: bool,
    pub has_globs: bool,
    pub has_claims: bool,
}

pub fn overview(connection: &Connection, project: &Project, now: Timestamp) -> rusqlite::Result<Overview> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            "select
                 (select seq from audit where project = :project order by seq desc limit 1),
                 (select hash from audit where project = :project order by seq desc limit 1),
                 {IS_DUE},
                 exists (select 1 from locks where project = :project and {IS_PAUSE}),
                 exists (select 1 from waiters where project = :project),
                 exists (select 1 from locks indexed by locks_wild where project = :project and wild),
                 exists (select 1 from feature_claims where project = :project)"
        )
    });
    let params = named_params! { ":project": project.as_str(), ":now": micros(now), ":pause": PAUSE };
    connection.prepare_cached(&SQL)?.query_row(params, |row| {
        Ok(Overview {
            position: row.get::<_, Option<i64>>(0)?.unwrap_or_default(),
            head: row.get::<_, Option<[u8; 32]>>(1)?.map_or(Digest256::START, Digest256::from),
            is_due: row.get(2)?,
            has_pauses: row.get(3)?,
            has_waiters: row.get(4)?,
            has_globs: row.get(5)?,
            has_claims: row.get(6)?,
        })
    })
}

/// The locks that may overlap the key and are no globs: equal to its stem or above it, or below it.
pub fn plain_locks_near(connection: &Connection, project: &Project, key: &LockKey) -> rusqlite::Result<Vec<Lock>> {
    // A path seldom has more components; of one that does, the lineage takes several turns.
    const TURN: usize = 8;
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            "select {LOCK} from (values (:l0), (:l1), (:l2), (:l3), (:l4), (:l5), (:l6), (:l7)) as lineage
                 cross join locks on pattern = lineage.column1
             where project = :project and space = :space and not wild
             union all
             select {LOCK} from locks where project = :project and space = :space and not wild
                 and pattern > :from and pattern < :to"
        )
    });
    // '0' is the character after '/': what begins with "stem/" lies between the two. Any blob comes after every text.
    let mut below = Some(match key.stem() {
        "" => (String::new(), Value::Blob(vec![])),
        stem => (format!("{stem}/"), Value::Text(format!("{stem}0"))),
    });
    let mut statement = connection.prepare_cached(&SQL)?;
    let mut locks = vec![];
    for lineage in key.lineage().chunks(TURN) {
        // What lies below is found in the first turn. Nothing equals null, nor is greater or less.
        let (from, to) = below.take().unzip();
        let params = named_params! {
            ":project": project.as_str(), ":space": key.space().as_str(), ":from": from, ":to": to,
            ":l0": lineage.first(), ":l1": lineage.get(1), ":l2": lineage.get(2), ":l3": lineage.get(3),
            ":l4": lineage.get(4), ":l5": lineage.get(5), ":l6": lineage.get(6), ":l7": lineage.get(7),
        };
        for lock in statement.query_map(params, records::lock)? {
            locks.push(lock?);
        }
    }
    Ok(locks)
}

/// The globs among the locks of the key's kind.
pub fn globs_near(connection: &Connection, project: &Project, key: &LockKey) -> rusqlite::Result<Vec<Lock>> {
    let sql =
        format!("select {LOCK} from locks indexed by locks_wild where project = :project and space = :space and wild");
    let params = named_params! { ":project": project.as_str(), ":space": key.space().as_str() };
    all(connection, &sql, params, records::lock)
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
        let near = plain_locks_near(connection, project, key)?.into_iter().chain(globs_near(connection, project, key)?);
        locks.extend(near.filter(|l| l.key.overlaps(key)));
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

pub fn handoffs(connection: &Connection, project: &Project, filter: &HandoffFilter) -> rusqlite::Result<Vec<Handoff>> {
    // An agent's handoffs have an index of their own.
    let of_agent = if filter.agent_id.is_some() { "agent_id = :agent_id" } else { ":agent_id is null" };
    let sql = format!(
        "select {HANDOFF} from handoffs where project = :project and {of_agent}
             and (:session_id is null or session_id = :session_id)
             and (:feature_id is null or feature_id = :feature_id)
         order by seq desc limit :limit"
    );
    let params = named_params! {
        ":project": project.as_str(),
        ":agent_id": filter.agent_id.as_ref().map(AgentId::as_str),
        ":session_id": filter.session_id.as_ref().map(SessionId::as_str),
        ":feature_id": filter.feature_id,
        ":limit": filter.limit,
    };
    all(connection, &sql, params, records::handoff)
}

pub fn messages(connection: &Connection, project: &Project, filter: &MessageFilter) -> rusqlite::Result<Vec<Message>> {
    let sql = format!(
        "select {MESSAGE} from messages where project = :project
             and (:thread is null or thread = :thread)
             and (:sender is null or agent_id = :sender)
         order by seq desc limit :limit"
    );
    let params = named_params! {
        ":project": project.as_str(),
        ":thread": filter.thread,
        ":sender": filter.sender.as_ref().map(AgentId::as_str),
        ":limit": filter.limit,
    };
    all(connection, &sql, params, records::message)
}

pub fn unread_messages(
    connection: &Connection,
    project: &Project,
    agent: &AgentId,
    limit: u32,
) -> rusqlite::Result<Vec<Message>> {
    let sql = format!(
        "select {MESSAGE} from messages where project = :project and seq in
             (select seq from unread_messages where project = :project and agent_id = :agent order by seq limit :limit)
         order by seq"
    );
    let params = named_params! { ":project": project.as_str(), ":agent": agent.as_str(), ":limit": limit };
    all(connection, &sql, params, records::message)
}

/// Those of all projects that had not ended at `now`.
pub fn port_blocks(connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<PortBlock>> {
    let sql = format!("select {PORT_BLOCK} from port_blocks where expires_at > :now order by first_port");
    all(connection, &sql, named_params! { ":now": micros(now) }, records::port_block)
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

/// The position of the first row of the trail after an instant, or where the next one will be: found by halving, as rows
/// follow each other in time.
pub fn first_position_after(connection: &Connection, project: &Project, since: Timestamp) -> rusqlite::Result<i64> {
    let mut at = connection.prepare_cached("select created_at from audit where project = ? and seq = ?")?;
    let ends = "select coalesce(min(seq), 1), coalesce(max(seq), 0) + 1 from audit where project = ?";
    let (mut low, mut high): (i64, i64) =
        connection.prepare_cached(ends)?.query_row([project.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    while low < high {
        let middle = low + (high - low) / 2;
        let created_at: i64 = at.query_row(params![project.as_str(), middle], |row| row.get(0))?;
        if created_at > micros(since) { high = middle } else { low = middle + 1 }
    }
    Ok(low)
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
