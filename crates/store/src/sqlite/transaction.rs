//! A transaction that writes. Its statements are prepared once; rusqlite's own are parsed anew each time.

use rusqlite::Connection;

use super::{Result, failure};

/// Rolled back unless it is committed.
pub struct Transaction<'a> {
    connection: &'a Connection,
}

impl<'a> Transaction<'a> {
    /// Begins it, as the only one that writes.
    pub fn begin(connection: &'a Connection) -> Result<Self> {
        run(connection, "begin immediate")?;
        Ok(Self { connection })
    }

    /// Ends it: durable when this returns.
    pub fn commit(self) -> Result<()> {
        run(self.connection, "commit")
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // The engine itself has rolled it back after some failures.
        if !self.connection.is_autocommit()
            && let Err(error) = run(self.connection, "rollback")
        {
            tracing::error!(%error, "cannot roll back");
        }
    }
}

fn run(connection: &Connection, sql: &str) -> Result<()> {
    connection.prepare_cached(sql).and_then(|mut s| s.execute([])).map(drop).map_err(failure)
}
