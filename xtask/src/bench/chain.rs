//! What the audit trail's chain of hashes costs, and how fast it is verified.

use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use model::chain::{CanonicalRow, Digest256, link};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

/// PostgreSQL's link of the chain, which can be taken out of a running database.
pub struct Link {
    runtime: Runtime,
    client: Client,
    function: String,
}

impl Link {
    /// Of a database that the product has set up.
    pub fn of(dsn: &str) -> anyhow::Result<Self> {
        // The connection has to be driven while the runtime waits for something else.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (client, connection) = runtime.block_on(tokio_postgres::connect(dsn, NoTls))?;
        runtime.spawn(connection);
        let sql = "select pg_get_functiondef('coordinator.link'::regproc)";
        let function = runtime.block_on(client.query_one(sql, &[]))?.get(0);
        Ok(Self { runtime, client, function })
    }

    /// Rows are hashed from now on.
    pub fn on(&self) -> anyhow::Result<()> {
        Ok(self.runtime.block_on(self.client.batch_execute(&self.function))?)
    }

    /// Rows are no longer hashed.
    pub fn off(&self) -> anyhow::Result<()> {
        let nothing = "create or replace function coordinator.link(p_previous bytea, p_entry coordinator.audit)
            returns bytea language plpgsql stable as $$ begin return p_previous; end $$";
        Ok(self.runtime.block_on(self.client.batch_execute(nothing))?)
    }
}

/// How long it takes to write down and hash the row of a lock, as the store does it for SQLite.
pub fn hashing() -> Duration {
    const TIMES: u32 = 20_000;
    let parameters =
        br#"{"agent_id":"agent-17","agent_type":"claude_code_cli","file_path":"src/module_17/file_1234.rs"}"#;
    let result = br#"{"grants":[{"expires_at":"2026-01-01T00:30:00.000000Z","fencing_token":1234,"key":{"pattern":"src/module_17/file_1234.rs","space":"path","text":"src/module_17/file_1234.rs","wild":false},"refreshed":false}],"kind":"acquired"}"#;
    let mut head = Digest256::START;
    let start = Instant::now();
    for number in 0..TIMES {
        let mut row = CanonicalRow::with_capacity(512);
        row.push(Some(b"default"));
        row.push_number(number.into());
        row.push_id(uuid::Uuid::from_u128(number.into()));
        for text in [&b"agent-17"[..], b"claude_code_cli", b"", b"acquire_lock", parameters, result] {
            row.push(Some(text));
        }
        row.push_number(0);
        row.push_number(1);
        row.push(None);
        row.push_number(1_767_225_600_000_000);
        head = link(&head, &row);
    }
    black_box(head);
    start.elapsed() / TIMES
}

/// How many rows `audit verify` reads in a second, its start and end included, and how many there were.
pub fn verified_per_second(command: &mut Command) -> anyhow::Result<(f64, u64)> {
    let start = Instant::now();
    let output = command.args(["--json", "audit", "verify"]).output()?;
    let seconds = start.elapsed().as_secs_f64();
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout)?;
    let rows = said["rows"].as_u64().with_context(|| said.to_string())?;
    Ok((rows as f64 / seconds, rows))
}
