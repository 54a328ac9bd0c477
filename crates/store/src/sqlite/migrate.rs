//! Schema migrations: forward only, each in the transaction that also moves the version.

use rusqlite::{Connection, TransactionBehavior};

use super::{audit, failure};
use crate::StoreError;

/// Marks a file as ours: "AgCo" in ASCII, in SQLite's `application_id`.
const APPLICATION_ID: i64 = 0x4167_436f;

/// One step: the SQL, and after it what SQL cannot do.
struct Migration {
    sql: &'static str,
    then: fn(&Connection) -> rusqlite::Result<()>,
}

/// One of SQL alone.
const fn sql(sql: &'static str) -> Migration {
    Migration { sql, then: |_| Ok(()) }
}

const MIGRATIONS: &[Migration] = &[
    sql(include_str!("../../migrations/sqlite/0001_foundation.sql")),
    sql(include_str!("../../migrations/sqlite/0002_positions.sql")),
    sql(include_str!("../../migrations/sqlite/0003_handoffs_and_ports.sql")),
    sql(include_str!("../../migrations/sqlite/0004_locks_of_sessions.sql")),
    sql(include_str!("../../migrations/sqlite/0005_memories.sql")),
    sql(include_str!("../../migrations/sqlite/0006_rulebook.sql")),
    Migration { sql: include_str!("../../migrations/sqlite/0007_audit_chain.sql"), then: audit::chain_older_rows },
    sql(include_str!("../../migrations/sqlite/0009_approvals.sql")),
    sql(include_str!("../../migrations/sqlite/0010_messages.sql")),
    sql(include_str!("../../migrations/sqlite/0011_features.sql")),
    sql(include_str!("../../migrations/sqlite/0012_github.sql")),
    sql(include_str!("../../migrations/sqlite/0013_verification.sql")),
    sql(include_str!("../../migrations/sqlite/0014_policies.sql")),
];

/// Is it at the latest version, and ours?
pub fn is_latest(connection: &Connection) -> Result<bool, StoreError> {
    Ok(version(connection)? == MIGRATIONS.len() as i64)
}

/// Brings the database to the latest version. The caller holds the writers' turn, so processes that start together do
/// this one after another.
pub fn to_latest(connection: &mut Connection) -> Result<(), StoreError> {
    let latest = MIGRATIONS.len() as i64;
    let version = version(connection)?;
    if version == latest {
        return Ok(());
    }
    if version > latest {
        return Err(StoreError::TooNew { found: version, known: latest });
    }
    if version == 0 {
        let tables: i64 =
            connection.query_row("select count(*) from sqlite_schema", [], |r| r.get(0)).map_err(failure)?;
        if tables > 0 {
            return Err(StoreError::Unreachable("the file is a SQLite database of another program".into()));
        }
        connection.pragma_update(None, "journal_mode", "wal").map_err(failure)?;
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failure)?;
    for migration in &MIGRATIONS[version as usize..] {
        transaction.execute_batch(migration.sql).and_then(|()| (migration.then)(&transaction)).map_err(failure)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failure)?;
    transaction.pragma_update(None, "user_version", latest).map_err(failure)?;
    transaction.commit().map_err(failure)
}

fn version(connection: &Connection) -> Result<i64, StoreError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(failure);
    let version = pragma("user_version")?;
    if version > 0 && pragma("application_id")? != APPLICATION_ID {
        return Err(StoreError::Unreachable("the file is a SQLite database of another program".into()));
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of when the rulebook knew no policies of verification.
    const BEFORE_POLICIES: usize = 12;

    #[test]
    fn the_rulebook_is_kept_and_stays_append_only_as_its_table_is_made_anew() {
        let mut connection = Connection::open_in_memory().unwrap();
        for migration in &MIGRATIONS[..BEFORE_POLICIES] {
            connection.execute_batch(migration.sql).unwrap();
        }
        connection.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        connection.pragma_update(None, "user_version", BEFORE_POLICIES as i64).unwrap();
        let put = "insert into rules values ('house', ?1, ?2, 'n', 'text', 'ann', 0)";
        connection.execute(put, (3, "network")).unwrap();
        assert!(connection.execute(put, (4, "verification")).is_err());
        to_latest(&mut connection).unwrap();
        connection.execute(put, (4, "verification")).unwrap();
        let kinds = |sql: &str| -> String { connection.query_row(sql, [], |row| row.get(0)).unwrap() };
        assert_eq!(kinds("select group_concat(kind order by version) from rules"), "network,verification");
        for change in ["update rules set body = 'other'", "delete from rules"] {
            assert!(connection.execute(change, []).is_err(), "{change}");
        }
        assert!(
            connection
                .execute("insert or replace into rules values ('house', 3, 'network', 'n', 'x', 'ann', 0)", [])
                .is_err()
        );
    }
}
