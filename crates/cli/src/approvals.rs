//! `coordinator approvals`: what agents were refused and a person may let them do.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::exit::Exit;
use crate::output::{self, Stream, Table};
use crate::time;

/// What to do with requests for approval.
#[derive(Debug, Subcommand)]
pub enum Approvals {
    /// List requests, newest first: those that wait, unless told otherwise
    List(List),
    /// Show one request whole
    Show {
        /// Its id, or the beginning of it
        id: String,
        /// Wait up to this long for a decision
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=300))]
        wait: Option<u32>,
    },
    /// Let it be done: once, unless told otherwise
    Approve(Approve),
    /// Say no, or take an approval back
    Deny {
        /// Its id, or the beginning of it
        id: String,
        /// For the agent to read
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
}

/// Which to list.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Those that stand so
    #[arg(long, value_parser = ["pending", "approved", "denied", "expired", "used"], conflicts_with = "all")]
    status: Option<String>,
    /// Those that are decided or over, too
    #[arg(long)]
    all: bool,
    /// This agent's
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
}

/// Which to approve, and how far.
#[derive(Debug, clap::Args)]
pub struct Approve {
    /// Its id, or the beginning of it
    id: String,
    /// As often as the agent needs, within the session in which it asked
    #[arg(long)]
    session: bool,
    /// Minutes that the approval holds (default: 60, for a session 480)
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u32).range(1..=10_080))]
    minutes: Option<u32>,
    /// For the agent to read
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// Does it.
pub async fn run(desk: &Desk, approvals: Approvals) -> anyhow::Result<Exit> {
    match approvals {
        Approvals::List(list) => self::list(desk, list).await,
        Approvals::Show { id, wait } => {
            let id = whole(desk, &id).await?;
            let answer = desk.ask("get_approval", json!({"approval_id": id, "wait_seconds": wait})).await?;
            desk.answer(&answer, |answer| Ok(output::print(in_words(&answer["approval"]))?))
        }
        Approvals::Approve(Approve { id, session, minutes, note }) => {
            let id = whole(desk, &id).await?;
            let scope = if session { "session" } else { "once" };
            let decision = json!({
                "approval_id": id, "decision": "approve", "scope": scope, "valid_minutes": minutes, "note": note,
            });
            decide(desk, decision).await
        }
        Approvals::Deny { id, note } => {
            let id = whole(desk, &id).await?;
            decide(desk, json!({"approval_id": id, "decision": "deny", "note": note})).await
        }
    }
}

async fn list(desk: &Desk, list: List) -> anyhow::Result<Exit> {
    let status = list.status.or_else(|| (!list.all).then(|| "pending".to_owned()));
    let request = json!({"status": status, "agent_id": list.agent, "limit": list.limit});
    let answer = desk.ask("list_approvals", request).await?;
    desk.answer(&answer, |answer| {
        let rows = answer["approvals"].as_array().map(Vec::as_slice).unwrap_or_default();
        if rows.is_empty() {
            output::print("Nothing waits for an approval.")?;
            return Ok(());
        }
        let now = jiff::Timestamp::now();
        let mut table = Table::new(Stream::Out, &["ID", "STATUS", "AGENT", "ASKED", "ENDS", "WHAT", "WHY"]);
        for row in rows {
            let text = |field: &str| output::printable(row[field].as_str().unwrap_or_default());
            let when = |field: &str| {
                let at = row[field].as_str().and_then(|at| at.parse().ok());
                at.map_or_else(String::new, |at| time::relative(at, now))
            };
            let what = format!("{} {}", text("operation"), text("resource"));
            table.row([
                text("approval_id"),
                text("status"),
                text("agent_id"),
                when("requested_at"),
                when("expires_at"),
                what,
                text("reason"),
            ]);
        }
        Ok(table.write()?)
    })
}

async fn decide(desk: &Desk, decision: Value) -> anyhow::Result<Exit> {
    let answer = desk.ask("decide_approval", decision).await?;
    desk.answer(&answer, |answer| {
        let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
        match text("status").as_str() {
            _ if answer["success"] == false => output::print(output::printable(&text("message")))?,
            "approved" => output::print(format_args!("approved {} until {}", text("approval_id"), text("expires_at")))?,
            "used" => output::print(format_args!("approved {}: what waited for it goes on", text("approval_id")))?,
            status => output::print(format_args!("{status} {}", text("approval_id")))?,
        }
        Ok(())
    })
}

/// The id of which this is the beginning, if it is that of one request only.
async fn whole(desk: &Desk, id: &str) -> anyhow::Result<String> {
    if id.len() >= 36 {
        return Ok(id.to_owned());
    }
    let answer = desk.ask("list_approvals", json!({"limit": 200})).await?;
    let rows = answer["approvals"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut ids = rows.iter().filter_map(|row| row["approval_id"].as_str()).filter(|known| known.starts_with(id));
    match (ids.next(), ids.next()) {
        (Some(only), None) => Ok(only.to_owned()),
        (None, _) => Err(crate::exit::Trouble::new(
            Exit::Refused,
            "approval_not_found",
            format!("there is no request {id} among the latest 200: see `coordinator approvals list --all`"),
        )
        .into()),
        (Some(_), Some(_)) => {
            Err(crate::exit::Trouble::usage(format!("{id} is the beginning of more than one request's id")).into())
        }
    }
}

/// A request for people.
fn in_words(approval: &Value) -> String {
    const FIELDS: &[(&str, &str)] = &[
        ("status", "status"),
        ("asked by", "agent_id"),
        ("type", "agent_type"),
        ("session", "session_id"),
        ("operation", "operation"),
        ("what", "resource"),
        ("why", "reason"),
        ("asked", "requested_at"),
        ("ends", "expires_at"),
        ("scope", "scope"),
        ("decided by", "decided_by"),
        ("decided", "decided_at"),
        ("note", "note"),
        ("used", "used_at"),
    ];
    let mut text = output::printable(approval["approval_id"].as_str().unwrap_or_default());
    for (label, field) in FIELDS {
        if let Some(value) = approval[*field].as_str() {
            text.push_str(&format!("\n  {label:<10}  {}", output::printable(value)));
        }
    }
    text
}
