//! Schema migrations: forward only, all that are missing in one transaction, and after them the functions.
//!
//! The functions are no part of a migration: their files always say what they are now, and are applied again whenever
//! they have changed. `create or replace` cannot change a function's arguments or its answer's type: a migration must
//! drop the old one.

use std::fmt::Write;

use sha2::{Digest, Sha256};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, GenericClient};

use super::{Result, failure};
use crate::StoreError;

const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/postgres/0001_foundation.sql"),
    include_str!("../../migrations/postgres/0002_positions.sql"),
    include_str!("../../migrations/postgres/0003_memories.sql"),
];

/// In an order in which each finds what it is made of.
const FUNCTIONS: &[&str] = &[
    include_str!("../../migrations/postgres/functions/clock.sql"),
    include_str!("../../migrations/postgres/functions/glob.sql"),
    include_str!("../../migrations/postgres/functions/locks.sql"),
    include_str!("../../migrations/postgres/functions/sessions.sql"),
    include_str!("../../migrations/postgres/functions/reap.sql"),
    include_str!("../../migrations/postgres/functions/work.sql"),
    include_str!("../../migrations/postgres/functions/memories.sql"),
    include_str!("../../migrations/postgres/functions/apply.sql"),
    include_str!("../../migrations/postgres/functions/read.sql"),
];

/// Where a database stands.
#[derive(PartialEq, Eq)]
struct State {
    version: i64,
    /// SHA-256 of the functions.
    functions: String,
}

/// Brings the database to the latest version. Processes that start together do this one after another.
pub async fn to_latest(client: &mut Client) -> Result<()> {
    let latest = State { version: MIGRATIONS.len() as i64, functions: digest(FUNCTIONS) };
    // The usual case needs no lock, and no right to change the schema.
    if is_current(client, &latest).await? {
        return Ok(());
    }
    let transaction = client.transaction().await.map_err(|e| failure(&e))?;
    let run = async |sql: &str| transaction.batch_execute(sql).await.map_err(|e| failure(&e));
    run("select pg_advisory_xact_lock(hashtextextended('coordinator.schema_version', 0))").await?;
    if is_current(&transaction, &latest).await? {
        return Ok(());
    }
    run("create schema if not exists coordinator;
         create table if not exists coordinator.schema_version (
             single     boolean     primary key default true check (single),
             version    bigint      not null,
             functions  text        not null,
             changed_at timestamptz not null default clock_timestamp()
         );
         alter table coordinator.schema_version enable row level security")
    .await?;
    let version = state(&transaction).await?.map_or(0, |state| state.version);
    for migration in MIGRATIONS.iter().skip(version as usize).chain(FUNCTIONS) {
        run(migration).await?;
    }
    transaction
        .execute_typed(
            "insert into coordinator.schema_version (version, functions) values ($1, $2)
             on conflict (single) do update set version = $1, functions = $2, changed_at = default",
            &[(&latest.version, Type::INT8), (&latest.functions, Type::TEXT)],
        )
        .await
        .map_err(|e| failure(&e))?;
    transaction.commit().await.map_err(|e| failure(&e))?;
    tracing::info!(version = latest.version, "the database schema is up to date");
    Ok(())
}

async fn is_current(client: &impl GenericClient, latest: &State) -> Result<bool> {
    match state(client).await? {
        Some(found) if found.version > latest.version => {
            Err(StoreError::TooNew { found: found.version, known: latest.version })
        }
        found => Ok(found.as_ref() == Some(latest)),
    }
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
        assert!(matches!(error, Some(StoreError::TooNew { found: 999, .. })), "{error:?}");
    }

    #[tokio::test]
    async fn what_is_missing_is_added() {
        let database = Database::create().await;
        PostgresStore::connect(database.dsn(), PoolSize::default()).await.unwrap();
        let client = psql(&database).await;
        client
            .batch_execute(
                "drop table coordinator.memories, coordinator.memory_terms, coordinator.memory_postings,
                     coordinator.notes, coordinator.skills cascade;
                 update coordinator.schema_version set version = 2",
            )
            .await
            .unwrap();
        PostgresStore::connect(database.dsn(), PoolSize::default()).await.unwrap();
        let count = client.query_one("select count(*) from coordinator.memories", &[]).await.unwrap();
        assert_eq!(count.get::<_, i64>(0), 0);
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
