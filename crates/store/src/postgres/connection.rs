//! Connections: how they are made, kept and given up, and what their errors mean.

use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, QueueMode, RecyclingMethod, Runtime};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config, NoTls};

use super::{Function, Result, tls, unreadable};
use crate::StoreError;

/// How long a server may take to accept a connection, unless the connection string says (`connect_timeout`).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to wait for a connection to become free when all are busy.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a call may take: it waits for the project's turn, and for a disk to become well again.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// After how much silence the kernel asks the other end whether it is there, and how long it waits for an answer.
const SILENCE: Duration = Duration::from_secs(10);

/// How many connections to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSize {
    /// Made at the start, so that the first callers need not wait. The others are made when they are needed.
    pub min: usize,
    /// Never more than this.
    pub max: usize,
}

impl Default for PoolSize {
    fn default() -> Self {
        Self { min: 1, max: 10 }
    }
}

/// A pool of connections to one database.
pub struct Connections {
    pool: Pool,
    size: PoolSize,
}

impl Connections {
    /// A pool that connects when it is first asked.
    pub fn new(dsn: &str, size: PoolSize) -> Result<Self> {
        let (dsn, trust) = tls::trust(dsn);
        let mut config: Config = dsn.parse().map_err(|e| {
            StoreError::Failed(format!("the PostgreSQL connection string cannot be used: {}", words(&e)))
        })?;
        if config.get_application_name().is_none() {
            config.application_name("agent-coordinator");
        }
        let connect_timeout = *config.get_connect_timeout().unwrap_or(&CONNECT_TIMEOUT);
        config.connect_timeout(connect_timeout);
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(SILENCE);
        }
        config.keepalives_idle(SILENCE).keepalives_interval(SILENCE / 2).keepalives_retries(2);

        // Recycling asks nothing of the server: a connection that was lost is known to be.
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match trust {
            _ if config.get_ssl_mode() == SslMode::Disable => Manager::from_config(config, NoTls, recycling),
            trust => Manager::from_config(config, tls::connector(&trust)?, recycling),
        };
        let pool = Pool::builder(manager)
            .max_size(size.max.max(1))
            // The one used last has its plans and pages at hand.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(TURN_TIMEOUT))
            .create_timeout(Some(connect_timeout * 2))
            .build()
            .map_err(|e| StoreError::Failed(e.to_string()))?;
        Ok(Self { pool, size })
    }

    /// A connection, made now if none is free.
    pub async fn get(&self) -> Result<Object> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => StoreError::Unreachable(words(&error)),
            PoolError::Timeout(deadpool_postgres::TimeoutType::Wait) => {
                StoreError::Unreachable("all connections are busy".into())
            }
            PoolError::Timeout(_) => StoreError::Unreachable("the server does not answer".into()),
            error => StoreError::Unreachable(error.to_string()),
        })
    }

    /// Makes the connections that are to be there from the start.
    pub async fn warm_up(&self) -> Result<()> {
        let wanted = self.size.min.min(self.size.max);
        futures::future::try_join_all((0..wanted).map(|_| self.get())).await.map(drop)
    }

    /// Calls the function.
    pub async fn call(&self, function: Function, project: Option<&str>, question: &str) -> Result<String> {
        let statement = match function {
            Function::Apply => "select coordinator.apply($1, $2::jsonb)::text",
            Function::Read => "select coordinator.read($1, $2::jsonb)::text",
        };
        // A statement without a name lives for one round trip: poolers lose track of the others.
        let row = self
            .answer(async |client| {
                client.query_typed_one(statement, &[(&project, Type::TEXT), (&question, Type::TEXT)]).await
            })
            .await?;
        row.try_get(0).map_err(unreadable)
    }

    /// Runs `ask` on a connection. One whose answer does not come is given up, not handed to the next caller.
    pub async fn answer<T>(&self, ask: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>) -> Result<T> {
        let connection = self.get().await?;
        match tokio::time::timeout(ANSWER_TIMEOUT, ask(&connection)).await {
            Ok(answer) => answer.map_err(|error| failure(&error)),
            Err(_) => {
                drop(Object::take(connection));
                Err(StoreError::Unreachable("the server does not answer".into()))
            }
        }
    }
}

/// What an error says of the database.
pub fn failure(error: &tokio_postgres::Error) -> StoreError {
    match error.code() {
        Some(code) => told(code, words(error)),
        None => StoreError::Unreachable(words(error)),
    }
}

/// What an error that the server told says of it: that it cannot serve now, that we may not do what we do, or that it
/// holds or was told something wrong.
pub fn told(code: &SqlState, words: String) -> StoreError {
    if is_passing(code) {
        StoreError::Unreachable(words)
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        StoreError::NotReady(format!(
            "{words}: connect as a member of the role service_role, or as the owner of the schema coordinator, and let \
             the owner run `coordinator migrate` for each new version"
        ))
    } else {
        StoreError::Failed(words)
    }
}

/// Is it a state of the server (shutting down, standing by, out of disk or connections, interrupted) and not of what it
/// was asked?
fn is_passing(code: &SqlState) -> bool {
    const CONNECTION: &str = "08";
    const ROLLED_BACK: &str = "40";
    const OUT_OF_RESOURCES: &str = "53";
    const INTERVENTION: &str = "57";
    const SYSTEM: &str = "58";
    let class = code.code().get(..2).unwrap_or_default();
    [CONNECTION, ROLLED_BACK, OUT_OF_RESOURCES, INTERVENTION, SYSTEM].contains(&class)
        || [SqlState::LOCK_NOT_AVAILABLE, SqlState::READ_ONLY_SQL_TRANSACTION].contains(code)
}

/// The error with its causes: by itself it says no more than "db error".
fn words(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return format!("{} ({})", error.message(), error.code().code());
    }
    with_causes(error)
}

/// The error and what caused it.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
