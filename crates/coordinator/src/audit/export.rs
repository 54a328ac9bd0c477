//! The trail in other forms: entries one a line, or CloudEvents 1.0.

use jiff::Timestamp;
use model::chain::{COLUMNS, ChainedRow, Digest256};
use model::id::Project;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use store::{Store, StoreError};

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Entries as in `query_audit`, with their hashes.
    Jsonl,
    /// Events for whatever takes CloudEvents.
    Cloudevents,
}

/// A page of the trail behind a position, and behind which position the next one begins.
pub async fn export_page(
    store: &dyn Store,
    project: &Project,
    format: Format,
    after: i64,
    limit: u32,
) -> Result<(Vec<Value>, Option<i64>), StoreError> {
    let mut rows = store.audit_chain(project, after, limit + 1).await?;
    let is_more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| is_more).map(|row| row.seq);
    let source = match format {
        Format::Jsonl => String::new(),
        Format::Cloudevents => source(project),
    };
    let shown = rows.iter().map(|row| match format {
        Format::Jsonl => entry(row),
        Format::Cloudevents => event(row, &source),
    });
    Ok((shown.collect(), next))
}

/// A project's name may be a path: its hash says where an event is from without telling.
fn source(project: &Project) -> String {
    let digest = Digest256::of(&[project.as_str().as_bytes()]).to_string();
    format!("/agent-coordinator/projects/{}", &digest[..32])
}

/// The columns as the entries of `query_audit` have them.
fn entry(row: &ChainedRow) -> Value {
    let columns = row.row.columns().unwrap_or_default();
    let mut entry = Map::new();
    for (name, column) in COLUMNS.iter().zip(columns) {
        let text = column.map(String::from_utf8_lossy);
        let number = || text.as_ref().and_then(|text| text.parse::<i64>().ok());
        let value = match *name {
            "project" => continue,
            "parameters" | "result" => {
                text.as_ref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
            }
            "seq" | "duration_ms" => json!(number()),
            "success" => json!(number().map(|number| number != 0)),
            "created_at" => json!(number().and_then(|micros| Timestamp::from_microsecond(micros).ok())),
            _ => json!(text),
        };
        entry.insert((*name).into(), value);
    }
    entry.insert("hash".into(), json!(row.hash));
    Value::Object(entry)
}

fn event(row: &ChainedRow, source: &str) -> Value {
    let data = entry(row);
    let operation = data["operation"].as_str().unwrap_or_default();
    json!({
        "specversion": "1.0",
        "id": data["id"],
        "source": source,
        "type": format!("agent-coordinator.{operation}"),
        "subject": data["agent_id"],
        "time": data["created_at"],
        "datacontenttype": "application/json",
        // An extension that CloudEvents itself defines: orders the events of a source.
        "sequence": format!("{:020}", row.seq),
        "data": data,
    })
}
