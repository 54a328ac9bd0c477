//! The audit trail and the state that a run left, read from the database itself and not through the code under test.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::{Map, Value, json};
use tokio_postgres::NoTls;
use uuid::Uuid;

/// One row of the audit trail.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its position.
    pub seq: i64,
    /// Its id.
    pub id: String,
    /// Who.
    pub agent: String,
    /// In which session.
    pub session: Option<String>,
    /// What.
    pub operation: String,
    /// With which arguments.
    pub parameters: Value,
    /// With which outcome.
    pub result: Value,
    /// Was it a success?
    pub success: bool,
    /// Why not.
    pub error: Option<String>,
    /// When, in microseconds since 1970.
    pub at: i64,
}

/// What a run left in the database: rows as JSON objects, instants in microseconds.
#[derive(Debug, Clone, Default)]
pub struct Left {
    /// The audit trail, in order.
    pub trail: Vec<Row>,
    /// All locks.
    pub locks: Vec<Value>,
    /// All tasks.
    pub tasks: Vec<Value>,
    /// All sessions.
    pub sessions: Vec<Value>,
}

/// How long a session of PostgreSQL may outlive the server that began it.
const SESSIONS_LIMIT: Duration = Duration::from_secs(30);

/// The columns that hold JSON in text.
const JSON: [&str; 6] = ["parameters", "result", "input_data", "depends_on", "capabilities", "keys"];

impl Left {
    fn of(mut table: impl FnMut(&str) -> anyhow::Result<Vec<Value>>) -> anyhow::Result<Self> {
        let trail = table("select * from audit where project = 'faults' order by seq")?;
        Ok(Self {
            trail: trail.iter().map(row).collect::<anyhow::Result<_>>()?,
            locks: table("select * from locks where project = 'faults'")?,
            tasks: table("select * from tasks where project = 'faults' order by seq")?,
            sessions: table("select * from sessions where project = 'faults'")?,
        })
    }

    /// Of a SQLite file that nobody uses any more.
    pub fn in_sqlite(path: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open(path)?;
        let sound: String = connection.query_row("pragma integrity_check", [], |row| row.get(0))?;
        ensure!(sound == "ok", "the database file is damaged: {sound}");
        Self::of(|sql| {
            let mut statement = connection.prepare(sql)?;
            let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
            let rows = statement.query_map([], |row| {
                let mut object = Map::new();
                for (at, name) in names.iter().enumerate() {
                    object.insert(name.clone(), of_sqlite(name, row.get_ref(at)?));
                }
                Ok(Value::Object(object))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Of a PostgreSQL database, once the sessions of killed servers have ended.
    pub fn in_postgres(dsn: &str) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (client, connection) = runtime.block_on(tokio_postgres::connect(dsn, NoTls))?;
        let connection = runtime.spawn(connection);
        let others = "select count(*) from pg_stat_activity
                      where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'";
        let until = Instant::now() + SESSIONS_LIMIT;
        while runtime.block_on(client.query_one(others, &[]))?.get::<_, i64>(0) > 0 {
            ensure!(Instant::now() < until, "sessions of servers that were killed do not end");
            sleep(Duration::from_millis(50));
        }
        runtime.block_on(client.batch_execute("set search_path = coordinator; set time zone 'UTC'"))?;
        let left = Self::of(|sql| {
            let sql = format!("select row_to_json(r)::text from ({sql}) as r");
            let rows = runtime.block_on(client.query(&sql, &[]))?;
            rows.iter().map(|row| Ok(of_postgres(serde_json::from_str(row.get(0))?))).collect()
        })?;
        drop(client);
        runtime.block_on(connection)??;
        Ok(left)
    }
}

fn of_sqlite(name: &str, value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) if name == "success" || name == "wild" => json!(number != 0),
        ValueRef::Integer(number) => json!(number),
        ValueRef::Real(number) => json!(number),
        ValueRef::Blob(bytes) => Uuid::from_slice(bytes).map_or(Value::Null, |id| json!(id)),
        ValueRef::Text(text) => {
            let text = String::from_utf8_lossy(text);
            let parsed = JSON.contains(&name).then(|| serde_json::from_str(&text).ok()).flatten();
            parsed.unwrap_or_else(|| json!(text))
        }
    }
}

/// Instants become numbers.
fn of_postgres(mut row: Value) -> Value {
    if let Some(columns) = row.as_object_mut() {
        for (name, value) in columns {
            let is_instant =
                name.ends_with("_at") || matches!(name.as_str(), "deadline" | "not_before" | "last_heartbeat");
            if let (true, Some(micros)) = (is_instant, micros(value)) {
                *value = json!(micros);
            }
        }
    }
    row
}

/// An instant in microseconds, as a number already or in RFC 3339.
pub fn micros(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse::<Timestamp>().ok().map(Timestamp::as_microsecond))
}

fn row(row: &Value) -> anyhow::Result<Row> {
    let text = |name: &str| row[name].as_str().map(str::to_owned);
    Ok(Row {
        seq: row["seq"].as_i64().context("seq")?,
        id: text("id").context("id")?,
        agent: text("agent_id").context("agent_id")?,
        session: text("session_id"),
        operation: text("operation").context("operation")?,
        parameters: row["parameters"].clone(),
        result: row["result"].clone(),
        success: row["success"] == true,
        error: text("error_message"),
        at: micros(&row["created_at"]).context("created_at")?,
    })
}
