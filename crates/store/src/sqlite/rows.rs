//! The engine's rows in SQLite, and how records become rows and back.

use jiff::Timestamp;
use model::JsonText;
use model::api_keys::ApiKey;
use model::audit::AuditEntry;
use model::id::{AgentId, Project, SessionId};
use model::key::{LockKey, Space};
use model::locks::{Lock, LockMode, Waiter};
use model::sessions::Session;
use model::work::{Task, TaskStatus};
use rusqlite::types::{Type, Value};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, named_params, params};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{Result, failure};
use crate::engine::{Counters, Rows};

/// One project's rows in an open transaction.
pub struct SqliteRows<'a> {
    pub connection: &'a Connection,
    pub project: &'a Project,
    pub counters: Counters,
}

pub fn load_counters(connection: &Connection, project: &Project) -> Result<Option<Counters>> {
    connection
        .prepare_cached("select seq, audit_seq from projects where project = ?")
        .and_then(|mut s| {
            s.query_row([project.as_str()], |r| Ok(Counters { seq: r.get(0)?, audit_seq: r.get(1)? })).optional()
        })
        .map_err(failure)
}

pub fn save_counters(connection: &Connection, project: &Project, counters: Counters) -> Result<()> {
    connection
        .prepare_cached(
            "insert into projects (project, seq, audit_seq) values (?1, ?2, ?3)
             on conflict do update set seq = ?2, audit_seq = ?3",
        )
        .and_then(|mut s| s.execute(params![project.as_str(), counters.seq, counters.audit_seq]))
        .map(drop)
        .map_err(failure)
}

/// All rows of a query.
pub fn all<T>(
    connection: &Connection,
    sql: &str,
    params: &[(&str, &dyn ToSql)],
    row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare_cached(sql)?.query_map(params, row)?.collect()
}

impl SqliteRows<'_> {
    fn execute(&self, sql: &str, params: &[(&str, &dyn ToSql)]) -> Result<()> {
        self.connection.prepare_cached(sql).and_then(|mut s| s.execute(params)).map(drop).map_err(failure)
    }

    fn select<T>(
        &self,
        sql: &str,
        params: &[(&str, &dyn ToSql)],
        row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        all(self.connection, sql, params, row).map_err(failure)
    }

    fn locks_where(&self, condition: &'static str, params: &[(&str, &dyn ToSql)]) -> Result<Vec<Lock>> {
        let sql = format!("select {LOCK} from locks where project = :project and {condition} order by fencing_token, key");
        self.select(&sql, params, lock)
    }

    fn tasks_where(&self, condition: &'static str, params: &[(&str, &dyn ToSql)]) -> Result<Vec<Task>> {
        self.select(&format!("select {TASK} from tasks where project = :project and {condition}"), params, task)
    }

    fn sessions_where(&self, condition: &'static str, params: &[(&str, &dyn ToSql)]) -> Result<Vec<Session>> {
        let sql = format!(
            "select {SESSION} from sessions where project = :project and disconnected_at is null and {condition}"
        );
        self.select(&sql, params, session)
    }
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
        "select {LOCK} from locks where project = :project and space = :space and pattern in (select value from json_each(:lineage))
         union select {LOCK} from locks where project = :project and space = :space and pattern >= :from and pattern < :to
         union select {LOCK} from locks where project = :project and space = :space and wild
         order by fencing_token, key"
    );
    let (project, space) = (project.as_str(), key.space().as_str());
    all(
        connection,
        &sql,
        named_params! { ":project": project, ":space": space, ":lineage": lineage, ":from": from, ":to": to },
        lock,
    )
}

impl Rows for SqliteRows<'_> {
    fn counters(&mut self) -> &mut Counters {
        &mut self.counters
    }

    fn locks_near(&mut self, key: &LockKey) -> Result<Vec<Lock>> {
        locks_near(self.connection, self.project, key).map_err(failure)
    }

    fn lock(&mut self, key: &LockKey, agent: &AgentId) -> Result<Option<Lock>> {
        let (space, project) = (key.space().as_str(), self.project.as_str());
        let locks = self.locks_where(
            "space = :space and pattern = :pattern and key = :key and agent_id = :agent",
            named_params! {
                ":project": project, ":space": space, ":pattern": key.pattern(), ":key": key.as_str(),
                ":agent": agent.as_str(),
            },
        )?;
        Ok(locks.into_iter().next())
    }

    fn locks_of_session(&mut self, session: &SessionId) -> Result<Vec<Lock>> {
        let project = self.project.as_str();
        self.locks_where("session_id = :session", named_params! { ":project": project, ":session": session.as_str() })
    }

    fn locks_ended(&mut self, now: Timestamp) -> Result<Vec<Lock>> {
        let project = self.project.as_str();
        self.locks_where("expires_at <= :now", named_params! { ":project": project, ":now": micros(now) })
    }

    fn put_lock(&mut self, lock: &Lock) -> Result<()> {
        self.execute(
            "insert or replace into locks (project, space, pattern, wild, agent_id, key, agent_type, session_id, mode,
                 reason, fencing_token, locked_at, expires_at)
             values (:project, :space, :pattern, :wild, :agent_id, :key, :agent_type, :session_id, :mode, :reason,
                 :fencing_token, :locked_at, :expires_at)",
            named_params! {
                ":project": self.project.as_str(),
                ":space": lock.key.space().as_str(),
                ":pattern": lock.key.pattern(),
                ":wild": lock.key.is_wild(),
                ":agent_id": lock.agent_id.as_str(),
                ":key": lock.key.as_str(),
                ":agent_type": lock.agent_type,
                ":session_id": lock.session_id.as_ref().map(SessionId::as_str),
                ":mode": lock.mode.as_str(),
                ":reason": lock.reason,
                ":fencing_token": lock.fencing_token,
                ":locked_at": micros(lock.locked_at),
                ":expires_at": micros(lock.expires_at),
            },
        )
    }

    fn drop_lock(&mut self, key: &LockKey, agent: &AgentId) -> Result<()> {
        self.execute(
            "delete from locks where project = :project and space = :space and pattern = :pattern and key = :key
                 and agent_id = :agent",
            named_params! {
                ":project": self.project.as_str(), ":space": key.space().as_str(), ":pattern": key.pattern(),
                ":key": key.as_str(), ":agent": agent.as_str(),
            },
        )
    }

    fn waiters(&mut self) -> Result<Vec<Waiter>> {
        waiters(self.connection, self.project).map_err(failure)
    }

    fn put_waiter(&mut self, waiter: &Waiter) -> Result<()> {
        self.execute(
            "insert or replace into waiters (project, ticket, seq, agent_id, agent_type, keys, mode, reason, since,
                 expires_at)
             values (:project, :ticket, :seq, :agent_id, :agent_type, :keys, :mode, :reason, :since, :expires_at)",
            named_params! {
                ":project": self.project.as_str(),
                ":ticket": waiter.ticket.as_bytes(),
                ":seq": waiter.seq,
                ":agent_id": waiter.agent_id.as_str(),
                ":agent_type": waiter.agent_type,
                ":keys": json(&waiter.keys),
                ":mode": waiter.mode.as_str(),
                ":reason": waiter.reason,
                ":since": micros(waiter.since),
                ":expires_at": micros(waiter.expires_at),
            },
        )
    }

    fn drop_waiter(&mut self, ticket: Uuid) -> Result<()> {
        self.execute(
            "delete from waiters where project = :project and ticket = :ticket",
            named_params! { ":project": self.project.as_str(), ":ticket": ticket.as_bytes() },
        )
    }

    fn drop_waiters_ended(&mut self, now: Timestamp) -> Result<()> {
        self.execute(
            "delete from waiters where project = :project and expires_at <= :now",
            named_params! { ":project": self.project.as_str(), ":now": micros(now) },
        )
    }

    fn task(&mut self, task_id: Uuid) -> Result<Option<Task>> {
        find_task(self.connection, self.project, task_id).map_err(failure)
    }

    fn task_by_idempotency_key(&mut self, key: &str) -> Result<Option<Task>> {
        let project = self.project.as_str();
        let tasks =
            self.tasks_where("idempotency_key = :key", named_params! { ":project": project, ":key": key })?;
        Ok(tasks.into_iter().next())
    }

    fn first_claimable(
        &mut self,
        now: Timestamp,
        agent: &AgentId,
        types: Option<&[String]>,
        capabilities: &[String],
    ) -> Result<Option<Task>> {
        let project = self.project.as_str();
        let tasks = self.tasks_where(
            "status = 'pending' and open_dependencies = 0
             and (not_before is null or not_before <= :now)
             and (:types is null or task_type in (select value from json_each(:types)))
             and (required_capability is null or required_capability in (select value from json_each(:capabilities)))
             and (assignee is null or assignee = :agent)
             and (feature_id is null or not exists (
                 select 1 from locks as pause
                 where pause.project = :project and pause.space = 'feature'
                     and pause.pattern = feature_id || '/pause' and pause.key = 'feature:' || feature_id || ':pause'
                     and pause.agent_id <> :agent))
             order by priority, seq limit 1",
            named_params! {
                ":project": project, ":now": micros(now), ":agent": agent.as_str(),
                ":types": types.map(json), ":capabilities": json(capabilities),
            },
        )?;
        Ok(tasks.into_iter().next())
    }

    fn dependents(&mut self, task_id: Uuid) -> Result<Vec<Task>> {
        let project = self.project.as_str();
        self.tasks_where(
            "status = 'pending' and task_id in (
                 select d.task_id from task_dependencies as d where d.project = :project and d.depends_on = :task)
             order by seq",
            named_params! { ":project": project, ":task": task_id.as_bytes() },
        )
    }

    fn tasks_held_by(&mut self, agent: &AgentId) -> Result<Vec<Task>> {
        let project = self.project.as_str();
        self.tasks_where(
            "claimed_by = :agent and lease_expires_at is not null order by seq",
            named_params! { ":project": project, ":agent": agent.as_str() },
        )
    }

    fn tasks_of_session(&mut self, session: &SessionId) -> Result<Vec<Task>> {
        let project = self.project.as_str();
        self.tasks_where(
            "session_id = :session and lease_expires_at is not null order by seq",
            named_params! { ":project": project, ":session": session.as_str() },
        )
    }

    fn leases_lapsed(&mut self, now: Timestamp) -> Result<Vec<Task>> {
        let project = self.project.as_str();
        self.tasks_where(
            "lease_expires_at is not null and lease_expires_at <= :now order by seq",
            named_params! { ":project": project, ":now": micros(now) },
        )
    }

    fn tasks_overdue(&mut self, now: Timestamp) -> Result<Vec<Task>> {
        let project = self.project.as_str();
        self.tasks_where(
            "status = 'pending' and deadline is not null and deadline <= :now order by seq",
            named_params! { ":project": project, ":now": micros(now) },
        )
    }

    fn insert_task(&mut self, task: &Task) -> Result<()> {
        self.execute(
            "insert into tasks (project, task_id, seq, task_type, description, input_data, priority, status, depends_on,
                 open_dependencies, deadline, max_attempts, attempt, idempotency_key, fingerprint, required_capability,
                 assignee, feature_id, created_by, lease_seconds, created_at)
             values (:project, :task_id, :seq, :task_type, :description, :input_data, :priority, :status, :depends_on,
                 :open_dependencies, :deadline, :max_attempts, :attempt, :idempotency_key, :fingerprint,
                 :required_capability, :assignee, :feature_id, :created_by, :lease_seconds, :created_at)",
            named_params! {
                ":project": self.project.as_str(),
                ":task_id": task.task_id.as_bytes(),
                ":seq": task.seq,
                ":task_type": task.task_type,
                ":description": task.description,
                ":input_data": task.input_data.as_ref().map(JsonText::as_str),
                ":priority": task.priority,
                ":status": task.status.as_str(),
                ":depends_on": json(&task.depends_on),
                ":open_dependencies": task.open_dependencies,
                ":deadline": task.deadline.map(micros),
                ":max_attempts": task.max_attempts,
                ":attempt": task.attempt,
                ":idempotency_key": task.idempotency_key,
                ":fingerprint": task.fingerprint,
                ":required_capability": task.required_capability,
                ":assignee": task.assignee.as_ref().map(AgentId::as_str),
                ":feature_id": task.feature_id,
                ":created_by": task.created_by.as_str(),
                ":lease_seconds": task.lease_seconds,
                ":created_at": micros(task.created_at),
            },
        )?;
        for dependency in &task.depends_on {
            self.execute(
                "insert into task_dependencies (project, depends_on, task_id) values (:project, :depends_on, :task_id)",
                named_params! {
                    ":project": self.project.as_str(), ":depends_on": dependency.as_bytes(),
                    ":task_id": task.task_id.as_bytes(),
                },
            )?;
        }
        Ok(())
    }

    fn update_task(&mut self, task: &Task) -> Result<()> {
        self.execute(
            "update tasks set status = :status, open_dependencies = :open_dependencies, attempt = :attempt,
                 not_before = :not_before, claimed_by = :claimed_by, session_id = :session_id,
                 fencing_token = :fencing_token, lease_seconds = :lease_seconds, lease_expires_at = :lease_expires_at,
                 result = :result, error_code = :error_code, error_message = :error_message, claimed_at = :claimed_at,
                 completed_at = :completed_at
             where project = :project and task_id = :task_id",
            named_params! {
                ":project": self.project.as_str(),
                ":task_id": task.task_id.as_bytes(),
                ":status": task.status.as_str(),
                ":open_dependencies": task.open_dependencies,
                ":attempt": task.attempt,
                ":not_before": task.not_before.map(micros),
                ":claimed_by": task.claimed_by.as_ref().map(AgentId::as_str),
                ":session_id": task.session_id.as_ref().map(SessionId::as_str),
                ":fencing_token": task.fencing_token,
                ":lease_seconds": task.lease_seconds,
                ":lease_expires_at": task.lease_expires_at.map(micros),
                ":result": task.result.as_ref().map(JsonText::as_str),
                ":error_code": task.error_code,
                ":error_message": task.error_message,
                ":claimed_at": task.claimed_at.map(micros),
                ":completed_at": task.completed_at.map(micros),
            },
        )
    }

    fn session(&mut self, session_id: &SessionId) -> Result<Option<Session>> {
        let sql = format!("select {SESSION} from sessions where project = :project and session_id = :session");
        let found = self.select(
            &sql,
            named_params! { ":project": self.project.as_str(), ":session": session_id.as_str() },
            session,
        )?;
        Ok(found.into_iter().next())
    }

    fn sessions_of(&mut self, agent: &AgentId) -> Result<Vec<Session>> {
        let project = self.project.as_str();
        self.sessions_where(
            "agent_id = :agent order by last_heartbeat, session_id",
            named_params! { ":project": project, ":agent": agent.as_str() },
        )
    }

    fn sessions_ended(&mut self, now: Timestamp) -> Result<Vec<Session>> {
        let project = self.project.as_str();
        self.sessions_where(
            "expires_at <= :now order by session_id",
            named_params! { ":project": project, ":now": micros(now) },
        )
    }

    fn sessions_silent_since(&mut self, then: Timestamp) -> Result<Vec<Session>> {
        let project = self.project.as_str();
        self.sessions_where(
            "last_heartbeat <= :then order by session_id",
            named_params! { ":project": project, ":then": micros(then) },
        )
    }

    fn put_session(&mut self, session: &Session) -> Result<()> {
        self.execute(
            "insert or replace into sessions (project, session_id, agent_id, agent_type, capabilities, current_task,
                 started_at, last_heartbeat, ttl_seconds, expires_at, disconnected_at)
             values (:project, :session_id, :agent_id, :agent_type, :capabilities, :current_task, :started_at,
                 :last_heartbeat, :ttl_seconds, :expires_at, :disconnected_at)",
            named_params! {
                ":project": self.project.as_str(),
                ":session_id": session.session_id.as_str(),
                ":agent_id": session.agent_id.as_str(),
                ":agent_type": session.agent_type,
                ":capabilities": json(&session.capabilities),
                ":current_task": session.current_task,
                ":started_at": micros(session.started_at),
                ":last_heartbeat": micros(session.last_heartbeat),
                ":ttl_seconds": session.ttl_seconds,
                ":expires_at": micros(session.expires_at),
                ":disconnected_at": session.disconnected_at.map(micros),
            },
        )
    }

    fn api_key(&mut self, id: Uuid) -> Result<Option<ApiKey>> {
        let sql = format!("select {API_KEY} from api_keys where project = :project and id = :id");
        let found =
            self.select(&sql, named_params! { ":project": self.project.as_str(), ":id": id.as_bytes() }, api_key)?;
        Ok(found.into_iter().next())
    }

    fn put_api_key(&mut self, key: &ApiKey) -> Result<()> {
        self.execute(
            "insert or replace into api_keys (id, project, name, hash, agent_id, agent_type, created_at, expires_at,
                 revoked_at)
             values (:id, :project, :name, :hash, :agent_id, :agent_type, :created_at, :expires_at, :revoked_at)",
            named_params! {
                ":id": key.id.as_bytes(),
                ":project": key.project.as_str(),
                ":name": key.name,
                ":hash": key.hash,
                ":agent_id": key.agent_id.as_ref().map(AgentId::as_str),
                ":agent_type": key.agent_type,
                ":created_at": micros(key.created_at),
                ":expires_at": key.expires_at.map(micros),
                ":revoked_at": key.revoked_at.map(micros),
            },
        )
    }

    fn append_audit(&mut self, entry: &AuditEntry) -> Result<()> {
        self.execute(
            "insert into audit (project, seq, id, agent_id, agent_type, session_id, operation, parameters, result,
                 duration_ms, success, error_message, created_at)
             values (:project, :seq, :id, :agent_id, :agent_type, :session_id, :operation, :parameters, :result,
                 :duration_ms, :success, :error_message, :created_at)",
            named_params! {
                ":project": self.project.as_str(),
                ":seq": entry.seq,
                ":id": entry.id.as_bytes(),
                ":agent_id": entry.agent_id,
                ":agent_type": entry.agent_type,
                ":session_id": entry.session_id,
                ":operation": entry.operation,
                ":parameters": entry.parameters.to_string(),
                ":result": entry.result.to_string(),
                ":duration_ms": entry.duration_ms,
                ":success": entry.success,
                ":error_message": entry.error_message,
                ":created_at": micros(entry.created_at),
            },
        )
    }
}

// The columns of each record, in the order in which the function of its name reads them.

const LOCK: &str = "key, space, pattern, wild, agent_id, agent_type, session_id, mode, reason, fencing_token, locked_at, \
                    expires_at";

pub fn lock(row: &Row<'_>) -> rusqlite::Result<Lock> {
    Ok(Lock {
        key: LockKey::from_trusted(row.get(0)?, word::<Space>(row, 1)?, row.get(2)?, row.get(3)?),
        agent_id: word(row, 4)?,
        agent_type: row.get(5)?,
        session_id: optional_word(row, 6)?,
        mode: word::<LockMode>(row, 7)?,
        reason: row.get(8)?,
        fencing_token: row.get(9)?,
        locked_at: instant(row, 10)?,
        expires_at: instant(row, 11)?,
    })
}

pub fn all_locks(connection: &Connection, project: &Project) -> rusqlite::Result<Vec<Lock>> {
    let sql = format!("select {LOCK} from locks where project = :project order by fencing_token, key");
    all(connection, &sql, named_params! { ":project": project.as_str() }, lock)
}

pub fn waiters(connection: &Connection, project: &Project) -> rusqlite::Result<Vec<Waiter>> {
    let sql = "select ticket, seq, agent_id, agent_type, keys, mode, reason, since, expires_at from waiters
               where project = :project order by seq";
    all(connection, sql, named_params! { ":project": project.as_str() }, |row| {
        Ok(Waiter {
            ticket: uuid(row, 0)?,
            seq: row.get(1)?,
            agent_id: word(row, 2)?,
            agent_type: row.get(3)?,
            keys: json_column(row, 4)?,
            mode: word(row, 5)?,
            reason: row.get(6)?,
            since: instant(row, 7)?,
            expires_at: instant(row, 8)?,
        })
    })
}

pub const TASK: &str = "task_id, seq, task_type, description, input_data, priority, status, depends_on, open_dependencies, \
                        deadline, max_attempts, attempt, not_before, idempotency_key, fingerprint, required_capability, \
                        assignee, feature_id, created_by, claimed_by, session_id, fencing_token, lease_seconds, \
                        lease_expires_at, result, error_code, error_message, created_at, claimed_at, completed_at";

pub fn task(row: &Row<'_>) -> rusqlite::Result<Task> {
    Ok(Task {
        task_id: uuid(row, 0)?,
        seq: row.get(1)?,
        task_type: row.get(2)?,
        description: row.get(3)?,
        input_data: row.get::<_, Option<String>>(4)?.map(JsonText::from_trusted),
        priority: row.get(5)?,
        status: word::<TaskStatus>(row, 6)?,
        depends_on: json_column(row, 7)?,
        open_dependencies: row.get(8)?,
        deadline: optional_instant(row, 9)?,
        max_attempts: row.get(10)?,
        attempt: row.get(11)?,
        not_before: optional_instant(row, 12)?,
        idempotency_key: row.get(13)?,
        fingerprint: row.get(14)?,
        required_capability: row.get(15)?,
        assignee: optional_word(row, 16)?,
        feature_id: row.get(17)?,
        created_by: word(row, 18)?,
        claimed_by: optional_word(row, 19)?,
        session_id: optional_word(row, 20)?,
        fencing_token: row.get(21)?,
        lease_seconds: row.get(22)?,
        lease_expires_at: optional_instant(row, 23)?,
        result: row.get::<_, Option<String>>(24)?.map(JsonText::from_trusted),
        error_code: row.get(25)?,
        error_message: row.get(26)?,
        created_at: instant(row, 27)?,
        claimed_at: optional_instant(row, 28)?,
        completed_at: optional_instant(row, 29)?,
    })
}

pub fn find_task(connection: &Connection, project: &Project, task_id: Uuid) -> rusqlite::Result<Option<Task>> {
    let sql = format!("select {TASK} from tasks where project = ? and task_id = ?");
    connection.prepare_cached(&sql)?.query_row(params![project.as_str(), task_id.as_bytes()], task).optional()
}

pub const SESSION: &str = "session_id, agent_id, agent_type, capabilities, current_task, started_at, last_heartbeat, \
                           ttl_seconds, expires_at, disconnected_at";

pub fn session(row: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session {
        session_id: word(row, 0)?,
        agent_id: word(row, 1)?,
        agent_type: row.get(2)?,
        capabilities: json_column(row, 3)?,
        current_task: row.get(4)?,
        started_at: instant(row, 5)?,
        last_heartbeat: instant(row, 6)?,
        ttl_seconds: row.get(7)?,
        expires_at: instant(row, 8)?,
        disconnected_at: optional_instant(row, 9)?,
    })
}

pub const API_KEY: &str = "id, project, name, hash, agent_id, agent_type, created_at, expires_at, revoked_at";

pub fn api_key(row: &Row<'_>) -> rusqlite::Result<ApiKey> {
    Ok(ApiKey {
        id: uuid(row, 0)?,
        project: word(row, 1)?,
        name: row.get(2)?,
        hash: row.get(3)?,
        agent_id: optional_word(row, 4)?,
        agent_type: row.get(5)?,
        created_at: instant(row, 6)?,
        expires_at: optional_instant(row, 7)?,
        revoked_at: optional_instant(row, 8)?,
    })
}

pub const AUDIT: &str = "seq, id, agent_id, agent_type, session_id, operation, parameters, result, duration_ms, success, \
                         error_message, created_at";

pub fn audit(row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    Ok(AuditEntry {
        seq: row.get(0)?,
        id: uuid(row, 1)?,
        agent_id: row.get(2)?,
        agent_type: row.get(3)?,
        session_id: row.get(4)?,
        operation: row.get(5)?,
        parameters: json_column(row, 6)?,
        result: json_column(row, 7)?,
        duration_ms: row.get(8)?,
        success: row.get(9)?,
        error_message: row.get(10)?,
        created_at: instant(row, 11)?,
    })
}

pub fn micros(instant: Timestamp) -> i64 {
    instant.as_microsecond()
}

fn instant(row: &Row<'_>, at: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(row.get(at)?).map_err(|e| bad(at, Type::Integer, e))
}

fn optional_instant(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Timestamp>> {
    let micros: Option<i64> = row.get(at)?;
    micros.map(Timestamp::from_microsecond).transpose().map_err(|e| bad(at, Type::Integer, e))
}

fn uuid(row: &Row<'_>, at: usize) -> rusqlite::Result<Uuid> {
    Ok(Uuid::from_bytes(row.get(at)?))
}

/// A value that serde writes as a string: a name or a variant.
fn word<T: DeserializeOwned>(row: &Row<'_>, at: usize) -> rusqlite::Result<T> {
    let text: String = row.get(at)?;
    T::deserialize(serde::de::value::StringDeserializer::<serde::de::value::Error>::new(text))
        .map_err(|e| bad(at, Type::Text, e))
}

fn optional_word<T: DeserializeOwned>(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<T>> {
    if row.get_ref(at)? == rusqlite::types::ValueRef::Null { Ok(None) } else { word(row, at).map(Some) }
}

/// Records serialise: they hold nothing but strings, numbers and lists of them.
fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn json_column<T: DeserializeOwned>(row: &Row<'_>, at: usize) -> rusqlite::Result<T> {
    let text: String = row.get(at)?;
    serde_json::from_str(&text).map_err(|e| bad(at, Type::Text, e))
}

fn bad(at: usize, kind: Type, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(at, kind, Box::new(error))
}
