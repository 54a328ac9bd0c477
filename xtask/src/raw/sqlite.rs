//! SQLite's floor: one connection, one commit for each step, `synchronous=FULL`.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{CachedStatement, Connection, params};

use super::OpsPerSecond;

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE lock (project TEXT, key TEXT, holder TEXT, token INTEGER, expires_at INTEGER,
        PRIMARY KEY (project, key)) WITHOUT ROWID;
    CREATE TABLE task (id INTEGER PRIMARY KEY, project TEXT, status TEXT, priority INTEGER, description TEXT,
        holder TEXT);
    CREATE INDEX task_by_status ON task (project, status, priority);
    CREATE TABLE audit (id INTEGER PRIMARY KEY, project TEXT, at INTEGER, agent TEXT, operation TEXT, detail TEXT);
";

/// Measures in a new database in `directory`, each kind of work for so many seconds.
pub fn floor(directory: &Path, seconds: u64) -> anyhow::Result<OpsPerSecond> {
    let directory = tempfile::tempdir_in(directory)?;
    let connection = Connection::open(directory.path().join("floor.sqlite"))?;
    connection.execute_batch(SCHEMA)?;
    let lock_pairs = per_second(seconds, |n| lock_pair(&connection, n))?;
    let task_cycles = per_second(seconds, |n| task_cycle(&connection, n))?;
    Ok(OpsPerSecond { lock_pairs, task_cycles })
}

fn lock_pair(connection: &Connection, n: i64) -> rusqlite::Result<()> {
    let key = format!("src/module_{}/file_{n}.rs", n % 100);
    commit(connection, "acquire_lock", &key, || {
        let sql = "INSERT INTO lock VALUES ('default', ?1, 'agent-1', ?2, 1800000000)";
        prepared(connection, sql)?.execute(params![key, n])
    })?;
    commit(connection, "release_lock", &key, || {
        prepared(connection, "DELETE FROM lock WHERE project = 'default' AND key = ?1")?.execute([&key])
    })
}

fn task_cycle(connection: &Connection, n: i64) -> rusqlite::Result<()> {
    let description = format!("Refactor module {n}");
    commit(connection, "submit_work", &description, || {
        let sql = "INSERT INTO task VALUES (?1, 'default', 'pending', 5, ?2, NULL)";
        prepared(connection, sql)?.execute(params![n, description])
    })?;
    commit(connection, "get_work", &description, || {
        prepared(connection, "UPDATE task SET status = 'claimed', holder = 'agent-1' WHERE id = ?1")?.execute([n])
    })?;
    commit(connection, "complete_work", &description, || {
        prepared(connection, "UPDATE task SET status = 'completed' WHERE id = ?1")?.execute([n])
    })
}

/// One step with its audit row, in a transaction of its own.
fn commit(
    connection: &Connection,
    operation: &str,
    detail: &str,
    step: impl FnOnce() -> rusqlite::Result<usize>,
) -> rusqlite::Result<()> {
    prepared(connection, "BEGIN IMMEDIATE")?.execute([])?;
    step()?;
    let audit = "INSERT INTO audit VALUES (NULL, 'default', unixepoch(), 'agent-1', ?1, ?2)";
    prepared(connection, audit)?.execute([operation, detail])?;
    prepared(connection, "COMMIT")?.execute([])?;
    Ok(())
}

fn prepared<'a>(connection: &'a Connection, sql: &str) -> rusqlite::Result<CachedStatement<'a>> {
    connection.prepare_cached(sql)
}

fn per_second(seconds: u64, mut work: impl FnMut(i64) -> rusqlite::Result<()>) -> anyhow::Result<f64> {
    let start = Instant::now();
    let mut done = 0;
    while start.elapsed() < Duration::from_secs(seconds) {
        done += 1;
        work(done)?;
    }
    Ok(done as f64 / start.elapsed().as_secs_f64())
}
