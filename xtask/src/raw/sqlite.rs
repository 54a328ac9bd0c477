//! SQLite's floor: one connection, one commit for each step, `synchronous=FULL`; the rows that we write, and none of the
//! rules, checks and answers that come with them.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{CachedStatement, Connection, params};
use tempfile::TempDir;
use uuid::Uuid;

use super::Work;
use super::rows::{ACQUIRED, AuditRow, CLAIMED, COMPLETED, FINGERPRINT, HASH, RELEASED, SUBMITTED};

/// The product's tables, with their indexes and the triggers that keep the trail append-only: the floor writes the same
/// rows to them, and nothing else.
const SCHEMA: &[&str] = &[
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;",
    include_str!("../../../crates/store/migrations/sqlite/0001_foundation.sql"),
    include_str!("../../../crates/store/migrations/sqlite/0002_positions.sql"),
    include_str!("../../../crates/store/migrations/sqlite/0004_locks_of_sessions.sql"),
    include_str!("../../../crates/store/migrations/sqlite/0007_audit_chain.sql"),
];

/// 2026-01-01 in microseconds: the floor reads no clock.
const NOW: i64 = 1_767_225_600_000_000;
const MINUTE: i64 = 60_000_000;

/// A database of its own, with nothing of ours at work on it.
pub struct Floor {
    connection: Connection,
    /// Numbers the work, so that no two pieces of it are alike.
    done: i64,
    /// Dropped after the connection.
    _directory: TempDir,
}

impl Floor {
    /// Makes a new database in `directory`.
    pub fn new(directory: &Path) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir_in(directory)?;
        let connection = Connection::open(directory.path().join("floor.sqlite"))?;
        connection.execute_batch(&SCHEMA.concat())?;
        Ok(Self { connection, done: 0, _directory: directory })
    }

    /// How much of the work is done in a second.
    pub fn per_second(&mut self, work: Work, seconds: u64) -> anyhow::Result<f64> {
        let (start, before) = (Instant::now(), self.done);
        while start.elapsed() < Duration::from_secs(seconds) {
            self.done += 1;
            match work {
                Work::LockPair => {
                    acquire(&self.connection, self.done)?;
                    release(&self.connection, self.done)?;
                }
                Work::TaskCycle => task_cycle(&self.connection, self.done)?,
            }
        }
        Ok((self.done - before) as f64 / start.elapsed().as_secs_f64())
    }

    /// How long each commit takes while locks are taken and given back.
    pub fn commit_times(&mut self, seconds: u64) -> anyhow::Result<Vec<Duration>> {
        let start = Instant::now();
        let mut times = vec![];
        while start.elapsed() < Duration::from_secs(seconds) {
            self.done += 1;
            for step in [acquire, release] {
                let begin = Instant::now();
                step(&self.connection, self.done)?;
                times.push(begin.elapsed());
            }
        }
        Ok(times)
    }
}

fn acquire(connection: &Connection, n: i64) -> rusqlite::Result<()> {
    let path = path(n);
    commit(connection, n, &ACQUIRED, |position| {
        let sql = "INSERT INTO locks (project, space, pattern, wild, agent_id, key, agent_type, mode, fencing_token,
                locked_at, expires_at)
            VALUES ('default', 'path', ?1, 0, 'agent-1', ?1, 'bench', 'exclusive', ?2, ?3, ?4)";
        prepared(connection, sql)?.execute(params![path, position, NOW + n, NOW + n + 30 * MINUTE])
    })
}

fn release(connection: &Connection, n: i64) -> rusqlite::Result<()> {
    commit(connection, n, &RELEASED, |_| {
        let sql = "DELETE FROM locks WHERE project = 'default' AND space = 'path' AND pattern = ?1 AND key = ?1
            AND agent_id = 'agent-1'";
        prepared(connection, sql)?.execute([path(n)])
    })
}

fn path(n: i64) -> String {
    format!("src/module_{}/file_{n}.rs", n % 100)
}

fn task_cycle(connection: &Connection, n: i64) -> rusqlite::Result<()> {
    let task = task(n);
    commit(connection, n, &SUBMITTED, |position| {
        let sql = "INSERT INTO tasks (project, task_id, seq, task_type, description, priority, status, depends_on,
                open_dependencies, max_attempts, attempt, fingerprint, created_by, lease_seconds, created_at)
            VALUES ('default', ?1, ?2, 'refactor', 'Refactor a module', 5, 'pending', '[]', 0, 3, 0, ?3, 'agent-1', 0, ?4)";
        prepared(connection, sql)?.execute(params![task.as_bytes(), position, FINGERPRINT, NOW + n])
    })?;
    commit(connection, n, &CLAIMED, |position| {
        let sql = "UPDATE tasks SET status = 'claimed', attempt = 1, claimed_by = 'agent-1', fencing_token = ?2,
                lease_seconds = 900, lease_expires_at = ?3, claimed_at = ?4
            WHERE project = 'default' AND task_id = ?1";
        prepared(connection, sql)?.execute(params![task.as_bytes(), position, NOW + n + 15 * MINUTE, NOW + n])
    })?;
    commit(connection, n, &COMPLETED, |_| {
        let sql = "UPDATE tasks SET status = 'completed', lease_expires_at = NULL, completed_at = ?2
            WHERE project = 'default' AND task_id = ?1";
        prepared(connection, sql)?.execute(params![task.as_bytes(), NOW + n])
    })
}

fn task(n: i64) -> Uuid {
    Uuid::from_u128(n as u128)
}

/// One step of this piece of work with its audit row, in a transaction of its own.
fn commit(
    connection: &Connection,
    n: i64,
    row: &AuditRow,
    step: impl FnOnce(i64) -> rusqlite::Result<usize>,
) -> rusqlite::Result<()> {
    let (path, task) = (path(n), task(n).to_string());
    let text =
        |template: &str| template.replace("$PATH", &path).replace("$TASK", &task).replace("$TOKEN", &n.to_string());
    prepared(connection, "BEGIN IMMEDIATE")?.execute([])?;
    let last = "SELECT max(seq) FROM audit WHERE project = 'default'";
    let position = prepared(connection, last)?.query_row([], |row| row.get::<_, Option<i64>>(0))?.unwrap_or(0) + 1;
    step(position)?;
    let audit = "INSERT INTO audit (project, seq, id, agent_id, agent_type, operation, parameters, result, duration_ms,
            success, created_at, hash)
        VALUES ('default', ?1, ?2, 'agent-1', 'bench', ?3, ?4, ?5, 0, 1, ?6, ?7)";
    let id = Uuid::from_u128(position as u128);
    let row = params![position, id.as_bytes(), row.operation, text(row.asked), text(row.result), NOW + position, HASH];
    prepared(connection, audit)?.execute(row)?;
    prepared(connection, "COMMIT")?.execute([])?;
    Ok(())
}

fn prepared<'a>(connection: &'a Connection, sql: &str) -> rusqlite::Result<CachedStatement<'a>> {
    connection.prepare_cached(sql)
}
