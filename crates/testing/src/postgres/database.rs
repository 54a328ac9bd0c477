//! A fresh database for one test.

use anyhow::Context;
use tokio_postgres::NoTls;
use uuid::Uuid;

use super::Cluster;

/// Names the server to make test databases in: the URL of a maintenance database, as a superuser. `cargo xtask test`
/// sets it, so that a whole run shares one server.
pub const SERVER_VARIABLE: &str = "COORDINATOR_TEST_POSTGRES";

/// An empty database that nobody else uses, dropped with the value.
#[derive(Debug)]
pub struct Database {
    dsn: String,
    name: String,
    server: Server,
}

#[derive(Debug)]
enum Server {
    /// Somebody else's, under the URL of its maintenance database.
    Shared(String),
    /// Ours alone, going with us.
    Own(Cluster),
}

impl Server {
    fn dsn(&self) -> String {
        match self {
            Self::Shared(dsn) => dsn.clone(),
            Self::Own(cluster) => cluster.dsn("postgres"),
        }
    }
}

impl Database {
    /// Makes a database in the server that [`SERVER_VARIABLE`] names, or in one of its own if that is not set.
    ///
    /// # Panics
    /// When it cannot: a test that needs a database has failed then, and should not look as if it had passed.
    #[expect(clippy::panic, reason = "called by tests, to which a missing database is a failure")]
    pub async fn create() -> Self {
        match Self::try_create().await {
            Ok(database) => database,
            Err(error) => panic!("no database for this test: {error:#}"),
        }
    }

    /// As [`create`](Self::create), for those who can go on without.
    pub async fn try_create() -> anyhow::Result<Self> {
        let server = match std::env::var(SERVER_VARIABLE) {
            Ok(dsn) => Server::Shared(dsn),
            Err(_) => Server::Own(tokio::task::spawn_blocking(Cluster::start).await??),
        };
        let name = format!("test_{}", Uuid::now_v7().simple());
        // template0 has no sessions, ever, so tests that start together do not get in each other's way.
        execute(&server.dsn(), &format!("CREATE DATABASE {name} TEMPLATE template0")).await?;
        Ok(Self { dsn: with_database(&server.dsn(), &name), name, server })
    }

    /// The URL of this database, as a superuser.
    pub fn dsn(&self) -> &str {
        &self.dsn
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Server::Shared(dsn) = &self.server else { return };
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // A runtime cannot be entered from within another, and a test usually runs in one: hence the thread.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(execute(dsn, &statement))
            });
        });
    }
}

async fn execute(dsn: &str, statement: &str) -> anyhow::Result<()> {
    let (client, connection) = tokio_postgres::connect(dsn, NoTls).await.context("connect to PostgreSQL")?;
    let connection = tokio::spawn(connection);
    client.batch_execute(statement).await.with_context(|| statement.to_owned())?;
    drop(client);
    Ok(connection.await??)
}

/// The same server, another database: for a URL and for `key=value` pairs, of which the last one counts.
fn with_database(dsn: &str, name: &str) -> String {
    let Some((scheme, rest)) = dsn.split_once("://") else { return format!("{dsn} dbname={name}") };
    let (address, parameters) = rest.split_once('?').map_or((rest, None), |(address, rest)| (address, Some(rest)));
    let server = address.split('/').next().unwrap_or_default();
    let parameters = parameters.map(|parameters| format!("?{parameters}")).unwrap_or_default();
    format!("{scheme}://{server}/{name}{parameters}")
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn a_dsn_is_pointed_at_another_database() {
        for (dsn, expected) in [
            ("postgres://me@127.0.0.1:5432/postgres", "postgres://me@127.0.0.1:5432/x"),
            ("postgres://me@127.0.0.1:5432", "postgres://me@127.0.0.1:5432/x"),
            ("postgresql://h/a?sslmode=disable", "postgresql://h/x?sslmode=disable"),
            ("host=h dbname=a", "host=h dbname=a dbname=x"),
        ] {
            assert_eq!(with_database(dsn, "x"), expected);
        }
    }
}
