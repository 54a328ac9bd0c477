//! The engine's rows in SQLite.

use jiff::Timestamp;
use model::JsonText;
use model::api_keys::ApiKey;
use model::chain::{self, Digest256, Seal};
use model::handoffs::Handoff;
use model::id::{AgentId, Caller, Project, SessionId};
use model::key::{LockKey, PAUSE};
use model::locks::{Lock, Waiter};
use model::messages::Message;
use model::ports::PortBlock;
use model::rulebook::{Rule, RuleKind};
use model::sessions::Session;
use model::work::Task;
use rusqlite::{Connection, Row, ToSql, named_params};
use uuid::Uuid;

use super::read::{IS_PAUSE, Overview};
use super::records::{self, API_KEY, LOCK, PORT_BLOCK, SESSION, TASK, json, micros};
use super::{Result, audit, failure, read, rulebook};
use crate::engine::{LIMIT_EXCEEDED, NewEntry, Rows};

/// One project's rows in an open transaction.
pub struct SqliteRows<'a> {
    pub(super) connection: &'a Connection,
    pub(super) project: &'a Project,
    /// What there was at the beginning, so that nobody looks for what is not there, and what came since. What went since
    /// may still be in it.
    pub(super) overview: Overview,
}

impl<'a> SqliteRows<'a> {
    /// The rows as they are at `now`, when the transaction begins.
    pub fn at(connection: &'a Connection, project: &'a Project, now: Timestamp) -> Result<Self> {
        let overview = read::overview(connection, project, now).map_err(failure)?;
        Ok(Self { connection, project, overview })
    }

    /// Remembers that there is this project.
    pub fn remember_project(&self) -> Result<()> {
        if self.overview.position > 0 {
            return Ok(());
        }
        self.execute(
            "insert into projects (project) values (:project) on conflict do nothing",
            named_params! { ":project": self.project.as_str() },
        )
    }
}

impl SqliteRows<'_> {
    pub fn execute(&self, sql: &str, params: &[(&str, &dyn ToSql)]) -> Result<()> {
        self.connection.prepare_cached(sql).and_then(|mut s| s.execute(params)).map(drop).map_err(failure)
    }

    pub fn select<T>(
        &self,
        sql: &str,
        params: &[(&str, &dyn ToSql)],
        row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        read::all(self.connection, sql, params, row).map_err(failure)
    }

    fn locks_where(&self, condition: &'static str, params: &[(&str, &dyn ToSql)]) -> Result<Vec<Lock>> {
        let sql =
            format!("select {LOCK} from locks where project = :project and {condition} order by fencing_token, key");
        self.select(&sql, params, records::lock)
    }

    /// Conditions end with `order by +seq`: the plus keeps the planner from walking through all tasks in order of `seq` to
    /// spare itself the sorting of a few.
    fn tasks_where(&self, condition: &'static str, params: &[(&str, &dyn ToSql)]) -> Result<Vec<Task>> {
        self.select(
            &format!("select {TASK} from tasks where project = :project and {condition}"),
            params,
            records::task,
        )
    }

    fn sessions_where(&self, condition: &'static str, params: &[(&str, &dyn ToSql)]) -> Result<Vec<Session>> {
        let sql = format!(
            "select {SESSION} from sessions where project = :project and disconnected_at is null and {condition}"
        );
        self.select(&sql, params, records::session)
    }
}

impl Rows for SqliteRows<'_> {
    fn project(&self) -> &Project {
        self.project
    }

    fn last_position(&mut self) -> i64 {
        self.overview.position
    }

    fn is_due(&mut self, _: Timestamp) -> Result<bool> {
        Ok(self.overview.is_due)
    }

    fn locks_near(&mut self, key: &LockKey) -> Result<Vec<Lock>> {
        let mut locks = read::plain_locks_near(self.connection, self.project, key).map_err(failure)?;
        if self.overview.has_globs {
            locks.extend(read::globs_near(self.connection, self.project, key).map_err(failure)?);
        }
        Ok(locks)
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

    fn pauses(&mut self) -> Result<Vec<Lock>> {
        if !self.overview.has_pauses {
            return Ok(vec![]);
        }
        self.locks_where(IS_PAUSE, named_params! { ":project": self.project.as_str(), ":pause": PAUSE })
    }

    fn locks_of_sessions(&mut self, sessions: &[&SessionId]) -> Result<Vec<Lock>> {
        // By no index: it would be written with every lock, and sessions end seldom.
        self.locks_where(
            "session_id in (select value from json_each(:sessions))",
            named_params! { ":project": self.project.as_str(), ":sessions": json(sessions) },
        )
    }

    fn locks_ended(&mut self, now: Timestamp) -> Result<Vec<Lock>> {
        let project = self.project.as_str();
        self.locks_where("expires_at <= :now", named_params! { ":project": project, ":now": micros(now) })
    }

    fn put_lock(&mut self, lock: &Lock) -> Result<()> {
        self.overview.has_globs |= lock.key.is_wild();
        self.overview.has_pauses |= lock.key.is_pause();
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
        if !self.overview.has_waiters {
            return Ok(vec![]);
        }
        read::waiters(self.connection, self.project).map_err(failure)
    }

    fn put_waiter(&mut self, waiter: &Waiter) -> Result<()> {
        self.overview.has_waiters = true;
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
        if !self.overview.has_waiters {
            return Ok(());
        }
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
        read::task(self.connection, self.project, task_id).map_err(failure)
    }

    fn task_by_idempotency_key(&mut self, key: &str) -> Result<Option<Task>> {
        let project = self.project.as_str();
        let tasks = self.tasks_where("idempotency_key = :key", named_params! { ":project": project, ":key": key })?;
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
                     and pause.pattern = feature_id || '/pause' and pause.agent_id <> :agent))
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
             order by +seq",
            named_params! { ":project": project, ":task": task_id.as_bytes() },
        )
    }

    fn tasks_held_by(&mut self, agent: &AgentId) -> Result<Vec<Task>> {
        let project = self.project.as_str();
        self.tasks_where(
            "claimed_by = :agent and lease_expires_at is not null order by +seq",
            named_params! { ":project": project, ":agent": agent.as_str() },
        )
    }

    fn tasks_of_session(&mut self, session: &SessionId) -> Result<Vec<Task>> {
        let project = self.project.as_str();
        self.tasks_where(
            "session_id = :session and lease_expires_at is not null order by +seq",
            named_params! { ":project": project, ":session": session.as_str() },
        )
    }

    fn leases_lapsed(&mut self, now: Timestamp) -> Result<Vec<Task>> {
        let project = self.project.as_str();
        self.tasks_where(
            "lease_expires_at is not null and lease_expires_at <= :now order by +seq",
            named_params! { ":project": project, ":now": micros(now) },
        )
    }

    fn tasks_overdue(&mut self, now: Timestamp) -> Result<Vec<Task>> {
        let project = self.project.as_str();
        self.tasks_where(
            "status = 'pending' and deadline is not null and deadline <= :now order by +seq",
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
            records::session,
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
            "insert into sessions (project, session_id, agent_id, agent_type, capabilities, current_task,
                 started_at, last_heartbeat, ttl_seconds, expires_at, disconnected_at)
             values (:project, :session_id, :agent_id, :agent_type, :capabilities, :current_task, :started_at,
                 :last_heartbeat, :ttl_seconds, :expires_at, :disconnected_at)
             on conflict do update set agent_id = excluded.agent_id, agent_type = excluded.agent_type,
                 capabilities = excluded.capabilities, current_task = excluded.current_task,
                 started_at = excluded.started_at, last_heartbeat = excluded.last_heartbeat,
                 ttl_seconds = excluded.ttl_seconds, expires_at = excluded.expires_at,
                 disconnected_at = excluded.disconnected_at",
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

    fn insert_handoff(&mut self, handoff: &Handoff) -> Result<()> {
        let notes = &handoff.notes;
        self.execute(
            "insert into handoffs (project, seq, handoff_id, agent_id, agent_type, session_id, feature_id, summary,
                 completed_work, in_progress, decisions, next_steps, relevant_files, content, created_at)
             values (:project, :seq, :handoff_id, :agent_id, :agent_type, :session_id, :feature_id, :summary,
                 :completed_work, :in_progress, :decisions, :next_steps, :relevant_files, :content, :created_at)",
            named_params! {
                ":project": self.project.as_str(),
                ":seq": handoff.seq,
                ":handoff_id": handoff.handoff_id.as_bytes(),
                ":agent_id": handoff.agent_id.as_str(),
                ":agent_type": handoff.agent_type,
                ":session_id": handoff.session_id.as_ref().map(SessionId::as_str),
                ":feature_id": handoff.feature_id,
                ":summary": notes.summary,
                ":completed_work": json(&notes.completed_work),
                ":in_progress": json(&notes.in_progress),
                ":decisions": json(&notes.decisions),
                ":next_steps": json(&notes.next_steps),
                ":relevant_files": json(&notes.relevant_files),
                ":content": notes.content.as_ref().map(JsonText::as_str),
                ":created_at": micros(handoff.created_at),
            },
        )
    }

    fn insert_message(&mut self, message: &Message, recipients: &[AgentId]) -> Result<()> {
        self.execute(
            "insert into messages (project, seq, message_id, agent_id, agent_type, session_id, audience, thread, text,
                 created_at)
             values (:project, :seq, :message_id, :agent_id, :agent_type, :session_id, :audience, :thread, :text,
                 :created_at)",
            named_params! {
                ":project": self.project.as_str(),
                ":seq": message.seq,
                ":message_id": message.message_id.as_bytes(),
                ":agent_id": message.agent_id.as_str(),
                ":agent_type": message.agent_type,
                ":session_id": message.session_id.as_ref().map(SessionId::as_str),
                ":audience": json(&message.audience),
                ":thread": message.thread,
                ":text": message.text,
                ":created_at": micros(message.created_at),
            },
        )?;
        recipients.iter().try_for_each(|agent| {
            self.execute(
                "insert into unread_messages (project, agent_id, seq) values (:project, :agent, :seq)",
                named_params! { ":project": self.project.as_str(), ":agent": agent.as_str(), ":seq": message.seq },
            )
        })
    }

    fn unread_messages(&mut self, agent: &AgentId, limit: u32) -> Result<Vec<Message>> {
        read::unread_messages(self.connection, self.project, agent, limit).map_err(failure)
    }

    fn mark_messages_read(&mut self, agent: &AgentId, through: i64) -> Result<()> {
        self.execute(
            "delete from unread_messages where project = :project and agent_id = :agent and seq <= :through",
            named_params! { ":project": self.project.as_str(), ":agent": agent.as_str(), ":through": through },
        )
    }

    fn port_blocks(&mut self) -> Result<Vec<PortBlock>> {
        self.select(&format!("select {PORT_BLOCK} from port_blocks"), &[], records::port_block)
    }

    fn port_block(&mut self, session: &SessionId) -> Result<Option<PortBlock>> {
        let sql = format!("select {PORT_BLOCK} from port_blocks where project = :project and session_id = :session");
        let found = self.select(
            &sql,
            named_params! { ":project": self.project.as_str(), ":session": session.as_str() },
            records::port_block,
        )?;
        Ok(found.into_iter().next())
    }

    fn put_port_block(&mut self, block: &PortBlock) -> Result<()> {
        self.execute(
            "insert into port_blocks (first_port, project, session_id, agent_id, allocated_at, expires_at)
             values (:first_port, :project, :session_id, :agent_id, :allocated_at, :expires_at)
             on conflict (project, session_id) do update
             set agent_id = excluded.agent_id, expires_at = excluded.expires_at",
            named_params! {
                ":first_port": block.first_port,
                ":project": block.project.as_str(),
                ":session_id": block.session_id.as_str(),
                ":agent_id": block.agent_id.as_str(),
                ":allocated_at": micros(block.allocated_at),
                ":expires_at": micros(block.expires_at),
            },
        )
    }

    fn drop_port_block(&mut self, session: &SessionId) -> Result<()> {
        self.execute(
            "delete from port_blocks where project = :project and session_id = :session",
            named_params! { ":project": self.project.as_str(), ":session": session.as_str() },
        )
    }

    fn drop_port_blocks_ended(&mut self, now: Timestamp) -> Result<()> {
        self.execute("delete from port_blocks where expires_at <= :now", named_params! { ":now": micros(now) })
    }

    fn rule(&mut self, kind: RuleKind, name: &str) -> Result<Option<Rule>> {
        let latest = rulebook::history(self.connection, self.project, kind, name, 1).map_err(failure)?;
        Ok(latest.into_iter().next())
    }

    fn insert_rule(&mut self, rule: &Rule) -> Result<()> {
        self.execute(
            "insert into rules (project, version, kind, name, body, author, created_at)
             values (:project, :version, :kind, :name, :body, :author, :created_at)",
            named_params! {
                ":project": self.project.as_str(),
                ":version": rule.version,
                ":kind": rule.kind.as_str(),
                ":name": rule.name,
                ":body": rule.body,
                ":author": rule.author.as_str(),
                ":created_at": micros(rule.created_at),
            },
        )
    }

    fn api_key(&mut self, id: Uuid) -> Result<Option<ApiKey>> {
        let sql = format!("select {API_KEY} from api_keys where project = :project and id = :id");
        let found = self.select(
            &sql,
            named_params! { ":project": self.project.as_str(), ":id": id.as_bytes() },
            records::api_key,
        )?;
        Ok(found.into_iter().next())
    }

    fn put_api_key(&mut self, key: &ApiKey) -> Result<()> {
        self.execute(
            "insert into api_keys (id, project, name, hash, agent_id, agent_type, scopes, per_minute, created_at,
                 expires_at, revoked_at)
             values (:id, :project, :name, :hash, :agent_id, :agent_type, :scopes, :per_minute, :created_at,
                 :expires_at, :revoked_at)
             on conflict (id) do update set revoked_at = excluded.revoked_at",
            named_params! {
                ":id": key.id.as_bytes(),
                ":project": key.project.as_str(),
                ":name": key.name,
                ":hash": key.hash,
                ":agent_id": key.agent_id.as_ref().map(AgentId::as_str),
                ":agent_type": key.agent_type,
                ":scopes": json(&key.scopes),
                ":per_minute": key.per_minute,
                ":created_at": micros(key.created_at),
                ":expires_at": key.expires_at.map(micros),
                ":revoked_at": key.revoked_at.map(micros),
            },
        )
    }

    fn note_key_use(&mut self, id: Uuid, now: Timestamp) -> Result<()> {
        self.execute(
            "update api_keys set last_used_at = :now where project = :project and id = :id",
            named_params! { ":project": self.project.as_str(), ":id": id.as_bytes(), ":now": micros(now) },
        )
    }

    fn audit_hash(&mut self, seq: i64) -> Result<Option<Digest256>> {
        audit::hash(self.connection, self.project, seq).map_err(failure)
    }

    fn sealed_size(&mut self) -> Result<i64> {
        Ok(audit::seal(self.connection, self.project).map_err(failure)?.map_or(0, |seal| seal.size))
    }

    fn put_seal(&mut self, seal: &Seal) -> Result<()> {
        self.execute(
            "insert into audit_seals (project, size, hash, frontier, trail, checkpoint)
             values (:project, :size, :hash, :frontier, :trail, :checkpoint)",
            named_params! {
                ":project": self.project.as_str(),
                ":size": seal.size,
                ":hash": seal.hash.as_bytes(),
                ":frontier": json(&seal.frontier),
                ":trail": seal.trail.as_bytes(),
                ":checkpoint": seal.checkpoint,
            },
        )
    }

    fn files_locked(&mut self, caller: &Caller, since: Timestamp) -> Result<Vec<String>> {
        self.select(
            "select key from locked_files where project = :project and agent_id = :agent and session_id = :session
                 and locked_at >= :since",
            named_params! {
                ":project": self.project.as_str(), ":agent": caller.agent_id.as_str(),
                ":session": caller.session_id.as_ref().map_or("", SessionId::as_str), ":since": micros(since),
            },
            |row| row.get(0),
        )
    }

    fn put_file_locked(&mut self, caller: &Caller, key: &LockKey, now: Timestamp) -> Result<()> {
        self.execute(
            "insert or replace into locked_files (project, agent_id, session_id, key, locked_at)
             values (:project, :agent, :session, :key, :now)",
            named_params! {
                ":project": self.project.as_str(), ":agent": caller.agent_id.as_str(),
                ":session": caller.session_id.as_ref().map_or("", SessionId::as_str), ":key": key.as_str(),
                ":now": micros(now),
            },
        )
    }

    fn drop_sealed(&mut self, size: i64) -> Result<()> {
        self.execute(
            "delete from audit where project = :project and seq <= :size",
            named_params! { ":project": self.project.as_str(), ":size": size },
        )
    }

    fn nth_latest_call(&mut self, agent: &AgentId, n: u32, since: Timestamp) -> Result<Option<Timestamp>> {
        // By no index of agents: it would be written with every row, for the few that are counted.
        let first = read::first_position_after(self.connection, self.project, since).map_err(failure)?;
        let found = self.select(
            "select created_at from audit where project = :project and seq >= :first and agent_id = :agent
                 and error_message is not :exceeded
             order by seq desc limit 1 offset :before",
            named_params! {
                ":project": self.project.as_str(), ":first": first, ":agent": agent.as_str(),
                ":exceeded": LIMIT_EXCEEDED, ":before": n - 1,
            },
            |row| records::instant(row, 0),
        )?;
        Ok(found.into_iter().next().filter(|at| *at > since))
    }

    fn append_audit(&mut self, entry: &NewEntry<'_>) -> Result<()> {
        self.overview.position = entry.seq;
        self.overview.head = chain::link(&self.overview.head, &entry.canonical(self.project));
        self.execute(
            "insert into audit (project, seq, id, agent_id, agent_type, session_id, operation, parameters, result,
                 duration_ms, success, error_message, created_at, hash)
             values (:project, :seq, :id, :agent_id, :agent_type, :session_id, :operation, :parameters, :result,
                 :duration_ms, :success, :error_message, :created_at, :hash)",
            named_params! {
                ":project": self.project.as_str(),
                ":seq": entry.seq,
                ":id": entry.id.as_bytes(),
                ":agent_id": entry.agent_id,
                ":agent_type": entry.agent_type,
                ":session_id": entry.session_id.map(SessionId::as_str),
                ":operation": entry.operation,
                ":parameters": entry.parameters,
                ":result": entry.result,
                ":duration_ms": entry.duration_ms,
                ":success": entry.success,
                ":error_message": entry.error_message,
                ":created_at": micros(entry.created_at),
                ":hash": self.overview.head.as_bytes(),
            },
        )
    }
}
