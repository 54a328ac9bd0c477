//! PostgreSQL's floor: what `pgbench`, its own load generator, gets out of it over TCP with prepared statements.
//!
//! A step and its audit row are one commit in either form. As one statement they are a single round trip too, the least
//! that an operation costs from outside the server; as a transaction they are what one would write first.

use std::process::Command;

use anyhow::{Context, ensure};

use super::Work;

/// How a step and its audit row are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `BEGIN; step; audit; COMMIT;`: four round trips.
    Transaction,
    /// `WITH step AS (...) audit`: one.
    Statement,
}

const SCHEMA: &str = "
DROP SCHEMA IF EXISTS floor CASCADE;
CREATE SCHEMA floor;
CREATE TABLE floor.lock (project text, key text, holder text, token bigint, expires_at timestamptz,
    PRIMARY KEY (project, key));
CREATE TABLE floor.task (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, project text, status text,
    priority int, description text, holder text);
CREATE INDEX task_by_status ON floor.task (project, status, priority);
CREATE TABLE floor.audit (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, project text, at timestamptz,
    agent text, operation text, detail text);
";

const LOCK_PAIR_IN_STATEMENTS: &str = "
\\set n random(1, 1000000000)
WITH step AS (INSERT INTO floor.lock VALUES ('default', 'src/module_' || :client_id || '/file_' || :n || '.rs',
    'agent-1', :n, now() + interval '30 min'))
INSERT INTO floor.audit (project, at, agent, operation, detail)
    VALUES ('default', now(), 'agent-1', 'acquire_lock', 'src/module_' || :client_id || '/file_' || :n || '.rs');
WITH step AS (DELETE FROM floor.lock
    WHERE project = 'default' AND key = 'src/module_' || :client_id || '/file_' || :n || '.rs')
INSERT INTO floor.audit (project, at, agent, operation, detail)
    VALUES ('default', now(), 'agent-1', 'release_lock', 'src/module_' || :client_id || '/file_' || :n || '.rs');
";

const TASK_CYCLE_IN_STATEMENTS: &str = "
WITH task AS (INSERT INTO floor.task (project, status, priority, description)
    VALUES ('default', 'pending', 5, 'Refactor a module') RETURNING id),
audit AS (INSERT INTO floor.audit (project, at, agent, operation, detail)
    SELECT 'default', now(), 'agent-1', 'submit_work', 'Task ' || id FROM task)
SELECT id FROM task \\gset
WITH step AS (UPDATE floor.task SET status = 'claimed', holder = 'agent-1' WHERE id = :id)
INSERT INTO floor.audit (project, at, agent, operation, detail)
    VALUES ('default', now(), 'agent-1', 'get_work', 'Task ' || :id);
WITH step AS (UPDATE floor.task SET status = 'completed' WHERE id = :id)
INSERT INTO floor.audit (project, at, agent, operation, detail)
    VALUES ('default', now(), 'agent-1', 'complete_work', 'Task ' || :id);
";

const LOCK_PAIR_IN_TRANSACTIONS: &str = "
\\set n random(1, 1000000000)
BEGIN;
INSERT INTO floor.lock VALUES ('default', 'src/module_' || :client_id || '/file_' || :n || '.rs',
    'agent-1', :n, now() + interval '30 min');
INSERT INTO floor.audit (project, at, agent, operation, detail)
    VALUES ('default', now(), 'agent-1', 'acquire_lock', 'src/module_' || :client_id || '/file_' || :n || '.rs');
COMMIT;
BEGIN;
DELETE FROM floor.lock
    WHERE project = 'default' AND key = 'src/module_' || :client_id || '/file_' || :n || '.rs';
INSERT INTO floor.audit (project, at, agent, operation, detail)
    VALUES ('default', now(), 'agent-1', 'release_lock', 'src/module_' || :client_id || '/file_' || :n || '.rs');
COMMIT;
";

const TASK_CYCLE_IN_TRANSACTIONS: &str = "
BEGIN;
INSERT INTO floor.task (project, status, priority, description)
    VALUES ('default', 'pending', 5, 'Refactor a module') RETURNING id \\gset
INSERT INTO floor.audit (project, at, agent, operation, detail)
    VALUES ('default', now(), 'agent-1', 'submit_work', 'Task ' || :id);
COMMIT;
BEGIN;
UPDATE floor.task SET status = 'claimed', holder = 'agent-1' WHERE id = :id;
INSERT INTO floor.audit (project, at, agent, operation, detail)
    VALUES ('default', now(), 'agent-1', 'get_work', 'Task ' || :id);
COMMIT;
BEGIN;
UPDATE floor.task SET status = 'completed' WHERE id = :id;
INSERT INTO floor.audit (project, at, agent, operation, detail)
    VALUES ('default', now(), 'agent-1', 'complete_work', 'Task ' || :id);
COMMIT;
";

/// A schema `floor` in a database.
pub struct Floor {
    dsn: String,
}

impl Floor {
    /// Makes the schema anew.
    pub fn new(dsn: &str) -> anyhow::Result<Self> {
        pgbench(dsn, SCHEMA, &["--transactions=1"])?;
        Ok(Self { dsn: dsn.to_owned() })
    }

    /// How much of the work so many clients do in a second.
    pub fn per_second(&self, work: Work, form: Form, clients: u32, seconds: u64) -> anyhow::Result<f64> {
        let script = match (work, form) {
            (Work::LockPair, Form::Statement) => LOCK_PAIR_IN_STATEMENTS,
            (Work::LockPair, Form::Transaction) => LOCK_PAIR_IN_TRANSACTIONS,
            (Work::TaskCycle, Form::Statement) => TASK_CYCLE_IN_STATEMENTS,
            (Work::TaskCycle, Form::Transaction) => TASK_CYCLE_IN_TRANSACTIONS,
        };
        // Its clock starts before its clients are connected and warm, and may end before its last report.
        let time = format!("--time={}", seconds + 2);
        let (clients, threads) = (format!("--client={clients}"), format!("--jobs={}", clients.min(2)));
        let load = [&clients, &threads, &time, "--protocol=prepared", "--progress=1"];
        steady_rate(&pgbench(&self.dsn, script, &load)?)
    }
}

/// Runs it and gives back what it reported on the way.
fn pgbench(dsn: &str, script: &str, load: &[&str]) -> anyhow::Result<String> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("script.sql");
    std::fs::write(&file, script)?;
    let mut command = Command::new(testing::postgres::binaries()?.join("pgbench"));
    command.arg("--no-vacuum").arg("--file").arg(&file).args(load).arg(dsn);
    let output = command.output().context("run pgbench")?;
    ensure!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stderr)?)
}

/// The rate after the first second, in which each client connects, prepares its statements and fills its caches.
/// `pgbench` counts one run of its script as one transaction, however many commits are in it.
fn steady_rate(reports: &str) -> anyhow::Result<f64> {
    let mut warm_up = None;
    let (mut transactions, mut end) = (0.0, 0.0);
    for (time, rate) in reports.lines().filter_map(progress) {
        if warm_up.is_none() {
            warm_up = Some(time);
        } else {
            transactions += rate * (time - end);
        }
        end = time;
    }
    let seconds = end - warm_up.unwrap_or(end);
    ensure!(seconds > 0.0, "pgbench was too slow to report twice:\n{reports}");
    Ok(transactions / seconds)
}

/// The time and the rate in a line such as `progress: 2.0 s, 1234.5 tps, lat 0.8 ms stddev 0.1, 0 failed`.
fn progress(line: &str) -> Option<(f64, f64)> {
    let (time, rest) = line.strip_prefix("progress: ")?.split_once(" s, ")?;
    Some((time.parse().ok()?, rest.split_once(" tps")?.0.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_second_does_not_count() {
        let reports = "pgbench (15.18)\n\
            progress: 1.0 s, 10.0 tps, lat 1.9 ms stddev 2.3, 0 failed\n\
            progress: 3.0 s, 100.0 tps, lat 1.9 ms stddev 2.3, 0 failed\n\
            progress: 4.0 s, 400.0 tps, lat 1.9 ms stddev 2.3\n";
        assert!((steady_rate(reports).unwrap() - 200.0).abs() < 1e-9);
        assert!(steady_rate("progress: 1.0 s, 10.0 tps, lat 1.9 ms stddev 2.3\n").is_err());
    }
}
