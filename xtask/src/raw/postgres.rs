//! PostgreSQL's floor: what `pgbench`, its own load generator, gets out of it over TCP with prepared statements; the rows
//! that we write, and none of the rules, checks and answers that come with them.
//!
//! A step and its audit row are one commit in either form. As one statement they are a single round trip too, the least
//! that an operation costs from outside the server; as a transaction they are what one would write first.

use std::process::Command;

use anyhow::{Context, ensure};

use super::Work;
use super::rows::{ACQUIRED, AuditRow, CLAIMED, COMPLETED, FINGERPRINT, HASH, RELEASED, SUBMITTED};

/// How a step and its audit row are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `BEGIN; step; audit; COMMIT;`: four round trips.
    Transaction,
    /// `WITH step AS (...) audit`: one.
    Statement,
}

/// The product's tables with their indexes, checks and triggers; in another schema, for a database may be given that has
/// some already.
const TABLES: [&str; 3] = [
    include_str!("../../../crates/store/migrations/postgres/0001_foundation.sql"),
    include_str!("../../../crates/store/migrations/postgres/0002_positions.sql"),
    include_str!("../../../crates/store/migrations/postgres/0007_audit_chain.sql"),
];

/// Each client has a file, as each agent does.
const PATH: &str = "'src/module_' || :client_id || '/file_' || :client_id || '.rs'";
const TASK: &str = "lpad(:task, 32, '0')::uuid";
/// That a project's positions have no gap is a rule, and would be a queue: a sequence is what one would write first.
const POSITION: &str = "nextval('floor.position')";

/// A schema `floor` in a database.
pub struct Floor {
    dsn: String,
}

impl Floor {
    /// Makes the schema anew.
    pub fn new(dsn: &str) -> anyhow::Result<Self> {
        let tables = TABLES.concat().replace("coordinator.", "floor.");
        let schema = format!(
            "DROP SCHEMA IF EXISTS floor CASCADE; CREATE SCHEMA floor; CREATE SEQUENCE floor.position;\n{tables}"
        );
        pgbench(dsn, &schema, &["--transactions=1"])?;
        Ok(Self { dsn: dsn.to_owned() })
    }

    /// How much of the work so many clients do in a second.
    pub fn per_second(&self, work: Work, form: Form, clients: u32, seconds: u64) -> anyhow::Result<f64> {
        // Its clock starts before its clients are connected and warm, and may end before its last report.
        let time = format!("--time={}", seconds + 2);
        let (clients, threads) = (format!("--client={clients}"), format!("--jobs={}", clients.min(2)));
        let load = [&clients, &threads, &time, "--protocol=prepared", "--progress=1"];
        steady_rate(&pgbench(&self.dsn, &script(work, form), &load)?)
    }
}

fn script(work: Work, form: Form) -> String {
    let steps = match work {
        Work::LockPair => vec![acquire(), release()],
        Work::TaskCycle => vec![submit(), claim(), complete()],
    };
    let steps = steps.into_iter().map(|(change, row)| match form {
        Form::Transaction => format!("BEGIN;\n{change};\n{};\nCOMMIT;\n", audit(&row)),
        Form::Statement => format!("WITH step AS ({change})\n{};\n", audit(&row)),
    });
    "\\set task random(1, 1000000000000000)\n".to_owned() + &steps.collect::<String>()
}

fn acquire() -> (String, AuditRow) {
    let change = format!(
        "INSERT INTO floor.locks (project, space, stem, tail, key, pattern, wild, agent_id, agent_type, mode,
            fencing_token, locked_at, expires_at)
        SELECT 'default', 'path', path, '', path, path, false, 'agent-1', 'bench', 'exclusive', {POSITION}, now(),
            now() + interval '30 min'
        FROM (SELECT {PATH} AS path) AS file"
    );
    (change, ACQUIRED)
}

fn release() -> (String, AuditRow) {
    let change = format!(
        "DELETE FROM floor.locks
        WHERE project = 'default' AND space = 'path' AND stem = {PATH} AND agent_id = 'agent-1' AND tail = ''"
    );
    (change, RELEASED)
}

fn submit() -> (String, AuditRow) {
    let change = format!(
        "INSERT INTO floor.tasks (project, task_id, seq, task_type, description, priority, status, depends_on,
            open_dependencies, max_attempts, attempt, fingerprint, created_by, lease_seconds, created_at)
        VALUES ('default', {TASK}, {POSITION}, 'refactor', 'Refactor a module', 5, 'pending', '{{}}', 0, 3, 0,
            '{FINGERPRINT}', 'agent-1', 0, now())"
    );
    (change, SUBMITTED)
}

fn claim() -> (String, AuditRow) {
    let change = format!(
        "UPDATE floor.tasks
        SET status = 'claimed', attempt = 1, claimed_by = 'agent-1', fencing_token = {POSITION}, lease_seconds = 900,
            lease_expires_at = now() + interval '15 min', claimed_at = now()
        WHERE project = 'default' AND task_id = {TASK}"
    );
    (change, CLAIMED)
}

fn complete() -> (String, AuditRow) {
    let change = format!(
        "UPDATE floor.tasks SET status = 'completed', lease_expires_at = NULL, completed_at = now()
        WHERE project = 'default' AND task_id = {TASK}"
    );
    (change, COMPLETED)
}

fn audit(row: &AuditRow) -> String {
    let text = |template: &str| {
        // A colon is written as `\072`: with a letter behind it, it would name a variable of pgbench's, also in a string.
        let text = template
            .replace(':', r"\072")
            .replace("$PATH", &format!("' || {PATH} || E'"))
            .replace("$TASK", &format!("' || {TASK} || E'"))
            .replace("$TOKEN", "' || position || E'");
        format!("E'{text}'")
    };
    let hash: String = HASH.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "INSERT INTO floor.audit (project, seq, id, agent_id, agent_type, operation, parameters, result, duration_ms,
            success, created_at, hash)
        SELECT 'default', position, gen_random_uuid(), 'agent-1', 'bench', '{}', ({})::json, ({})::jsonb, 0, true, now(),
            '\\x{hash}'
        FROM {POSITION} AS position",
        row.operation,
        text(row.asked),
        text(row.result),
    )
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
