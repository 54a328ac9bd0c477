//! Schema migrations: forward only, all that are missing in one transaction, and after them the functions.
//!
//! The functions are no part of a migration: their files always say what they are now, and are applied again whenever
//! they have changed. `create or replace` cannot change a function's arguments or its answer's type: a migration must
//! drop the old one.

use std::fmt::Write;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio_postgres::{Client, GenericClient};

use super::{Result, failure};
use crate::StoreError;

const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/postgres/0001_foundation.sql"),
    include_str!("../../migrations/postgres/0002_positions.sql"),
    include_str!("../../migrations/postgres/0003_handoffs_and_ports.sql"),
    include_str!("../../migrations/postgres/0004_access.sql"),
    include_str!("../../migrations/postgres/0005_memories.sql"),
    include_str!("../../migrations/postgres/0006_rulebook.sql"),
    include_str!("../../migrations/postgres/0007_audit_chain.sql"),
    include_str!("../../migrations/postgres/0009_approvals.sql"),
    include_str!("../../migrations/postgres/0010_messages.sql"),
    include_str!("../../migrations/postgres/0011_features.sql"),
    include_str!("../../migrations/postgres/0012_github.sql"),
    include_str!("../../migrations/postgres/0013_verification.sql"),
    include_str!("../../migrations/postgres/0014_policies.sql"),
    include_str!("../../migrations/postgres/0015_granted_together.sql"),
];

/// In an order in which each finds what it is made of.
const FUNCTIONS: &[&str] = &[
    include_str!("../../migrations/postgres/functions/clock.sql"),
    include_str!("../../migrations/postgres/functions/audit.sql"),
    include_str!("../../migrations/postgres/functions/glob.sql"),
    include_str!("../../migrations/postgres/functions/locks.sql"),
    include_str!("../../migrations/postgres/functions/features.sql"),
    include_str!("../../migrations/postgres/functions/merge_queue.sql"),
    include_str!("../../migrations/postgres/functions/sessions.sql"),
    include_str!("../../migrations/postgres/functions/reap.sql"),
    include_str!("../../migrations/postgres/functions/limits.sql"),
    include_str!("../../migrations/postgres/functions/work.sql"),
    include_str!("../../migrations/postgres/functions/handoffs.sql"),
    include_str!("../../migrations/postgres/functions/ports.sql"),
    include_str!("../../migrations/postgres/functions/memories.sql"),
    include_str!("../../migrations/postgres/functions/approvals.sql"),
    include_str!("../../migrations/postgres/functions/verification.sql"),
    include_str!("../../migrations/postgres/functions/messages.sql"),
    include_str!("../../migrations/postgres/functions/rulebook.sql"),
    include_str!("../../migrations/postgres/functions/github.sql"),
    include_str!("../../migrations/postgres/functions/apply.sql"),
    include_str!("../../migrations/postgres/functions/read.sql"),
    include_str!("../../migrations/postgres/functions/access.sql"),
];

/// Serialises those who migrate at once, and makes the place where the version is kept.
const BEGINNING: &str = "\
select pg_advisory_xact_lock(hashtextextended('coordinator.schema_version', 0));
create schema if not exists coordinator;
create table if not exists coordinator.schema_version (
    single     boolean     primary key default true check (single),
    version    bigint      not null,
    functions  text        not null,
    changed_at timestamptz not null default clock_timestamp()
);
alter table coordinator.schema_version enable row level security;
";

/// Where a database stands.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct State {
    /// The number of migrations that it has.
    pub version: i64,
    /// SHA-256 of the functions.
    pub functions: String,
}

impl State {
    /// What this program needs.
    pub fn latest() -> Self {
        Self { version: MIGRATIONS.len() as i64, functions: digest(FUNCTIONS) }
    }

    /// Is a database that stands here as this program needs it?
    ///
    /// # Errors
    /// [`StoreError::TooNew`] for one of a later version.
    pub fn is_current(&self) -> Result<bool> {
        let latest = Self::latest();
        if self.version > latest.version {
            return Err(StoreError::TooNew { found: self.version, known: latest.version });
        }
        Ok(*self == latest)
    }
}

/// Brings the database to the latest version. Processes that start together do this one after another.
pub async fn to_latest(client: &mut Client) -> Result<()> {
    // The usual case needs no lock, and no right to change the schema.
    if is_current(client).await? {
        return Ok(());
    }
    let transaction = client.transaction().await.map_err(|e| failure(&e))?;
    transaction.batch_execute(BEGINNING).await.map_err(|e| failure(&e))?;
    if is_current(&transaction).await? {
        return transaction.commit().await.map_err(|e| failure(&e));
    }
    transaction.batch_execute(&steps()).await.map_err(|e| failure(&e))?;
    transaction.commit().await.map_err(|e| failure(&e))?;
    tracing::info!(version = State::latest().version, "the database schema is up to date");
    Ok(())
}

/// The SQL that does the same as [`to_latest`], to be run as one script where this program cannot run it. It may be run
/// again.
pub fn script() -> String {
    format!("begin;\n{BEGINNING}\n{}\ncommit;\n", steps())
}

/// Each migration if it is missing, then the functions, then the new version.
fn steps() -> String {
    let State { version, functions } = State::latest();
    let mut sql = format!(
        "do $step$ begin
if (select max(version) from coordinator.schema_version) > {version} then
raise exception 'this database was written by a newer version of the coordinator, and stays as it is';
end if;
end $step$;
"
    );
    for (number, migration) in (1..).zip(MIGRATIONS) {
        // Writing to a string cannot fail.
        let _ = write!(
            sql,
            "do $step$ begin
if coalesce((select max(version) from coordinator.schema_version), 0) < {number} then
execute $migration$
{migration}
$migration$;
end if;
end $step$;
"
        );
    }
    sql.extend(FUNCTIONS.iter().copied());
    let _ = write!(
        sql,
        "insert into coordinator.schema_version (version, functions) values ({version}, '{functions}')
on conflict (single) do update set version = excluded.version, functions = excluded.functions, changed_at = default;
"
    );
    sql
}

async fn is_current(client: &impl GenericClient) -> Result<bool> {
    state(client).await?.map_or(Ok(false), |state| state.is_current())
}

/// Nothing for a database that was never ours.
async fn state(client: &impl GenericClient) -> Result<Option<State>> {
    let is_ours = "select to_regclass('coordinator.schema_version') is not null";
    let is_ours = client.query_typed(is_ours, &[]).await.map_err(|e| failure(&e))?;
    if !is_ours.iter().any(|row| row.get(0)) {
        return Ok(None);
    }
    let rows = client.query_typed("select version, functions from coordinator.schema_version", &[]).await;
    let rows = rows.map_err(|e| failure(&e))?;
    Ok(rows.first().map(|row| State { version: row.get(0), functions: row.get(1) }))
}

fn digest(texts: &[&str]) -> String {
    let mut sha256 = Sha256::new();
    for text in texts {
        sha256.update(text);
    }
    sha256.finalize().iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use testing::postgres::Database;
    use tokio_postgres::NoTls;

    use super::*;
    use crate::Store;
    use crate::postgres::{PoolSize, PostgresStore};

    async fn psql(database: &Database) -> Client {
        let (client, connection) = tokio_postgres::connect(database.dsn(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    #[tokio::test]
    async fn ten_processes_may_start_at_once() {
        let database = Database::create().await;
        let starts = (0..10).map(|_| PostgresStore::connect(database.dsn(), PoolSize { min: 1, max: 1 }));
        for store in futures::future::join_all(starts).await {
            store.unwrap().ping().await.unwrap();
        }
        let count = psql(&database).await.query_one("select count(*) from coordinator.schema_version", &[]).await;
        assert_eq!(count.unwrap().get::<_, i64>(0), 1);
    }

    #[tokio::test]
    async fn a_newer_schema_is_refused() {
        let database = Database::create().await;
        PostgresStore::connect(database.dsn(), PoolSize::default()).await.unwrap();
        psql(&database).await.batch_execute("update coordinator.schema_version set version = 999").await.unwrap();
        let error = PostgresStore::connect(database.dsn(), PoolSize::default()).await.err();
        let known = State::latest().version;
        assert!(matches!(error, Some(StoreError::TooNew { found: 999, known: k }) if k == known), "{error:?}");
    }

    /// A database of the first version, with a project in it, takes what has come since and keeps what it has.
    #[tokio::test]
    async fn an_older_schema_is_brought_up_to_date() {
        let database = Database::create().await;
        let client = psql(&database).await;
        client
            .batch_execute(&format!(
                "create schema coordinator;
                 create table coordinator.schema_version (
                     single boolean primary key default true check (single), version bigint not null,
                     functions text not null, changed_at timestamptz not null default clock_timestamp()
                 );
                 {}
                 insert into coordinator.schema_version (version, functions) values (1, 'those of the first version');
                 insert into coordinator.projects values ('house', 7, 0)",
                MIGRATIONS[0]
            ))
            .await
            .unwrap();
        let store = PostgresStore::connect(database.dsn(), PoolSize::default()).await.unwrap();
        assert!(store.port_blocks().await.unwrap().0.is_empty());
        let row = client.query_one("select project from coordinator.projects", &[]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), "house");
    }

    #[tokio::test]
    async fn functions_that_changed_are_applied_again() {
        let database = Database::create().await;
        PostgresStore::connect(database.dsn(), PoolSize::default()).await.unwrap();
        let client = psql(&database).await;
        client
            .batch_execute(
                "update coordinator.schema_version set functions = 'those of another version';
                 create or replace function coordinator.clock() returns timestamptz
                     language sql as $$ select '2000-01-01'::timestamptz $$",
            )
            .await
            .unwrap();
        PostgresStore::connect(database.dsn(), PoolSize::default()).await.unwrap();
        let row = client.query_one("select coordinator.clock() > '2020-01-01'", &[]).await.unwrap();
        assert!(row.get::<_, bool>(0));
    }

    #[tokio::test]
    async fn the_script_brings_any_version_up_to_date_and_can_be_run_again() {
        for migrations in 0..=MIGRATIONS.len() {
            let database = Database::create().await;
            let client = psql(&database).await;
            if migrations > 0 {
                let version = format!("insert into coordinator.schema_version values (true, {migrations}, 'others')");
                for sql in [BEGINNING].iter().chain(&MIGRATIONS[..migrations]).chain([&version.as_str()]) {
                    client.batch_execute(sql).await.unwrap();
                }
            }
            for _ in 0..2 {
                client.batch_execute(&script()).await.unwrap();
                assert!(is_current(&client).await.unwrap(), "from version {migrations}");
            }
        }
    }

    #[tokio::test]
    async fn the_script_leaves_a_newer_schema_alone() {
        let database = Database::create().await;
        let client = psql(&database).await;
        client.batch_execute(&script()).await.unwrap();
        client.batch_execute("update coordinator.schema_version set version = 999").await.unwrap();
        let error = client.batch_execute(&script()).await.unwrap_err();
        assert!(error.as_db_error().unwrap().message().contains("newer version"), "{error:?}");
    }

    #[tokio::test]
    async fn the_audit_trail_can_only_grow() {
        let database = Database::create().await;
        PostgresStore::connect(database.dsn(), PoolSize::default()).await.unwrap();
        let client = psql(&database).await;
        for change in [
            "update coordinator.audit set success = true",
            "delete from coordinator.audit",
            "truncate coordinator.audit",
            "truncate coordinator.projects, coordinator.audit",
            "set session_replication_role = replica; delete from coordinator.audit",
        ] {
            let error = client.batch_execute(change).await.unwrap_err();
            let message = error.as_db_error().unwrap().message();
            assert!(message.starts_with("the audit trail is append-only"), "{change}: {message}");
        }
    }
}
