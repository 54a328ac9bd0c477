//! How records become rows and back: the columns of each, in the order in which the function of its name reads them.

use jiff::Timestamp;
use model::JsonText;
use model::api_keys::ApiKey;
use model::audit::AuditEntry;
use model::handoffs::{Handoff, Notes};
use model::key::{LockKey, Space};
use model::locks::{Lock, LockMode, Waiter};
use model::messages::Message;
use model::ports::PortBlock;
use model::sessions::Session;
use model::work::{Task, TaskStatus};
use rusqlite::Row;
use rusqlite::types::Type;
use serde::de::DeserializeOwned;
use uuid::Uuid;

pub const LOCK: &str = "key, space, pattern, wild, agent_id, agent_type, session_id, mode, reason, fencing_token, locked_at, \
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

pub const WAITER: &str = "ticket, seq, agent_id, agent_type, keys, mode, reason, since, expires_at";

pub fn waiter(row: &Row<'_>) -> rusqlite::Result<Waiter> {
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

pub const HANDOFF: &str = "handoff_id, seq, agent_id, agent_type, session_id, feature_id, summary, completed_work, in_progress, \
                           decisions, next_steps, relevant_files, content, created_at";

pub fn handoff(row: &Row<'_>) -> rusqlite::Result<Handoff> {
    Ok(Handoff {
        handoff_id: uuid(row, 0)?,
        seq: row.get(1)?,
        agent_id: word(row, 2)?,
        agent_type: row.get(3)?,
        session_id: optional_word(row, 4)?,
        feature_id: row.get(5)?,
        notes: Notes {
            summary: row.get(6)?,
            completed_work: json_column(row, 7)?,
            in_progress: json_column(row, 8)?,
            decisions: json_column(row, 9)?,
            next_steps: json_column(row, 10)?,
            relevant_files: json_column(row, 11)?,
            content: row.get::<_, Option<String>>(12)?.map(JsonText::from_trusted),
        },
        created_at: instant(row, 13)?,
    })
}

pub const MESSAGE: &str = "message_id, seq, agent_id, agent_type, session_id, audience, thread, text, created_at";

pub fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        message_id: uuid(row, 0)?,
        seq: row.get(1)?,
        agent_id: word(row, 2)?,
        agent_type: row.get(3)?,
        session_id: optional_word(row, 4)?,
        audience: json_column(row, 5)?,
        thread: row.get(6)?,
        text: row.get(7)?,
        created_at: instant(row, 8)?,
    })
}

pub const PORT_BLOCK: &str = "project, session_id, agent_id, first_port, allocated_at, expires_at";

pub fn port_block(row: &Row<'_>) -> rusqlite::Result<PortBlock> {
    Ok(PortBlock {
        project: word(row, 0)?,
        session_id: word(row, 1)?,
        agent_id: word(row, 2)?,
        first_port: row.get(3)?,
        allocated_at: instant(row, 4)?,
        expires_at: instant(row, 5)?,
    })
}

pub const API_KEY: &str = "id, project, name, hash, agent_id, agent_type, scopes, per_minute, created_at, expires_at, \
                           revoked_at, last_used_at";

pub fn api_key(row: &Row<'_>) -> rusqlite::Result<ApiKey> {
    Ok(ApiKey {
        id: uuid(row, 0)?,
        project: word(row, 1)?,
        name: row.get(2)?,
        hash: row.get(3)?,
        agent_id: optional_word(row, 4)?,
        agent_type: row.get(5)?,
        scopes: json_column(row, 6)?,
        per_minute: row.get(7)?,
        created_at: instant(row, 8)?,
        expires_at: optional_instant(row, 9)?,
        revoked_at: optional_instant(row, 10)?,
        last_used_at: optional_instant(row, 11)?,
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

pub fn instant(row: &Row<'_>, at: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(row.get(at)?).map_err(|e| bad(at, Type::Integer, e))
}

pub fn optional_instant(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Timestamp>> {
    let micros: Option<i64> = row.get(at)?;
    micros.map(Timestamp::from_microsecond).transpose().map_err(|e| bad(at, Type::Integer, e))
}

pub fn uuid(row: &Row<'_>, at: usize) -> rusqlite::Result<Uuid> {
    Ok(Uuid::from_bytes(row.get(at)?))
}

/// A value that serde writes as a string: a name or a variant.
pub fn word<T: DeserializeOwned>(row: &Row<'_>, at: usize) -> rusqlite::Result<T> {
    let text: String = row.get(at)?;
    T::deserialize(serde::de::value::StringDeserializer::<serde::de::value::Error>::new(text))
        .map_err(|e| bad(at, Type::Text, e))
}

pub fn optional_word<T: DeserializeOwned>(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<T>> {
    if row.get_ref(at)? == rusqlite::types::ValueRef::Null { Ok(None) } else { word(row, at).map(Some) }
}

/// Records serialise: they hold nothing but strings, numbers and lists of them.
pub fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

pub fn json_column<T: DeserializeOwned>(row: &Row<'_>, at: usize) -> rusqlite::Result<T> {
    let text: String = row.get(at)?;
    serde_json::from_str(&text).map_err(|e| bad(at, Type::Text, e))
}

fn bad(at: usize, kind: Type, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(at, kind, Box::new(error))
}
