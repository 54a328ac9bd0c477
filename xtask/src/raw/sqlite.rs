//! SQLite's floor: one connection, one commit for each step, `synchronous=FULL`.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{CachedStatement, Connection, params};
use tempfile::TempDir;

use super::Work;

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

/// A database of its own, with nothing of ours in it.
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
        connection.execute_batch(SCHEMA)?;
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
    let key = key(n);
    commit(connection, "acquire_lock", &key, || {
        let sql = "INSERT INTO lock VALUES ('default', ?1, 'agent-1', ?2, 1800000000)";
        prepared(connection, sql)?.execute(params![key, n])
    })
}

fn release(connection: &Connection, n: i64) -> rusqlite::Result<()> {
    let key = key(n);
    commit(connection, "release_lock", &key, || {
        prepared(connection, "DELETE FROM lock WHERE project = 'default' AND key = ?1")?.execute([&key])
    })
}

fn key(n: i64) -> String {
    format!("src/module_{}/file_{n}.rs", n % 100)
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
