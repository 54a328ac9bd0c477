//! `coordinator audit`: the record of what was done and refused.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::arguments::Globals;
use crate::audit_proofs::{self, Proofs};
use crate::desk::{Desk, at_desk};
use crate::exit::{Exit, Trouble};
use crate::fields::{instant, items, some, text, when};
use crate::output::{self, Stream, Table};
use crate::time;

/// Which rows, or what to do with all of them.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Audit {
    #[command(subcommand)]
    proofs: Option<Proofs>,
    #[command(flatten)]
    rows: Rows,
}

/// Which rows.
#[derive(Debug, clap::Args)]
struct Rows {
    /// Only what this agent did
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    /// Only this operation, such as acquire_lock
    #[arg(long, value_name = "NAME")]
    operation: Option<String>,
    /// At or after: a time, or how long ago, such as 2h
    #[arg(long, value_name = "WHEN", value_parser = time::past)]
    since: Option<Timestamp>,
    /// Before: a time, or how long ago
    #[arg(long, value_name = "WHEN", value_parser = time::past)]
    until: Option<Timestamp>,
    /// Only what was refused
    #[arg(long)]
    refused: bool,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

/// Shows them, or does it.
pub fn run(globals: &Globals, audit: Audit) -> anyhow::Result<Exit> {
    match audit.proofs {
        Some(proofs) => audit_proofs::run(globals, proofs),
        None => at_desk(globals, async |desk| show(desk, audit.rows).await),
    }
}

async fn show(desk: &Desk, audit: Rows) -> anyhow::Result<Exit> {
    let request = json!({
        "agent_id": audit.agent,
        "operation": audit.operation,
        "since": audit.since,
        "until": audit.until,
        "success": audit.refused.then_some(false),
        "limit": audit.limit,
    });
    let answer = desk.ask("query_audit", request).await?;
    desk.answer(&answer, |answer| {
        let entries = items(answer, "entries");
        if entries.is_empty() {
            output::print("Nothing is recorded.")?;
            return Ok(());
        }
        table(entries).write()?;
        if some(answer, "next_cursor").is_some() {
            output::tell(format_args!("There are more than {}: see --limit (up to 1000).", audit.limit));
        }
        Ok(())
    })
}

/// The last few refusals.
pub async fn refusals(desk: &Desk, limit: u32) -> Result<Value, Trouble> {
    desk.ask("query_audit", json!({"success": false, "limit": limit})).await
}

/// Rows of the trail as a table.
pub fn table(entries: &[Value]) -> Table {
    let mut table = Table::new(Stream::Out, &["WHEN", "AGENT", "OPERATION", "OUTCOME", "ASKED"]);
    for entry in entries {
        let word = |field| text(entry, field).to_owned();
        let outcome = some(entry, "error_message").unwrap_or("done").to_owned();
        let asked = in_short(&entry["parameters"]);
        table.row([when(entry, "created_at"), word("agent_id"), word("operation"), outcome, asked]);
    }
    table
}

/// A row of the trail as a line: at what time of the day (UTC), who, what, what came of it, and what was asked.
pub fn in_a_line(entry: &Value) -> String {
    let at = instant(entry, "created_at").map(|at| at.strftime("%H:%M:%SZ").to_string()).unwrap_or_default();
    let (agent, operation) = (text(entry, "agent_id"), text(entry, "operation"));
    let outcome = some(entry, "error_message").unwrap_or("done");
    output::printable(&format!("{at} {agent} {operation} {outcome} {}", in_short(&entry["parameters"])))
}

/// What was asked, as `field=value`, each cut to what can be taken in at a glance.
fn in_short(parameters: &Value) -> String {
    const GLANCE: usize = 60;
    let Some(fields) = parameters.as_object() else { return String::new() };
    let each = fields.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Array(items) if items.iter().all(Value::is_string) => {
                items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
            }
            other => other.to_string(),
        };
        match text.char_indices().nth(GLANCE) {
            Some((end, _)) => format!("{name}={}...", &text[..end]),
            None => format!("{name}={text}"),
        }
    });
    each.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_told_at_a_glance() {
        let parameters = json!({"file_paths": ["a", "b"], "reason": null, "ttl_minutes": 5, "x": "y".repeat(70)});
        assert_eq!(in_short(&parameters), format!("file_paths=a,b ttl_minutes=5 x={}...", "y".repeat(60)));
    }
}
