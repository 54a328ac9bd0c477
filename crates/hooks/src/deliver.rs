//! What waits for an agent, told between its tool calls: messages, files that came free, tasks that are its own, and what
//! was decided about its requests.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::desk::{Desk, Trouble, items, text};
use crate::log::{Line, Notes};

/// How often tasks and decisions are looked for, in milliseconds.
const TASKS_EVERY: u64 = 5_000;
/// A decision that is older, in seconds, was told in an earlier session or can wait no longer.
const DECIDED_WITHIN: i64 = 3_600;
/// So much of a text is told.
const EXCERPT: usize = 300;

/// What to tell, and what to remember.
pub async fn news(desk: &Desk, notes: &Notes, now: u64) -> Result<(Option<String>, Vec<Line>), Trouble> {
    let (mut told, mut lines) = (vec![], vec![]);
    let read = desk.ask("read_messages", json!({})).await?;
    told.extend(items(&read["messages"]).iter().map(message));
    if !notes.wanted.is_empty() {
        freed(desk, notes, &mut told, &mut lines).await?;
    }
    if notes.is_time("tasks", TASKS_EVERY, now) {
        lines.push(Line::Did { what: "tasks".into(), at: now });
        tasks(desk, notes, &mut told, &mut lines).await?;
        decisions(desk, notes, now, &mut told, &mut lines).await?;
    }
    Ok(((!told.is_empty()).then(|| told.join("\n")), lines))
}

fn message(message: &Value) -> String {
    let about = match text(message, "thread") {
        "" => String::new(),
        thread => format!(" about {thread}"),
    };
    format!("Message from {}{about}: {}", text(message, "from"), text(message, "text"))
}

async fn freed(desk: &Desk, notes: &Notes, told: &mut Vec<String>, lines: &mut Vec<Line>) -> Result<(), Trouble> {
    for (key, by) in notes.wanted.iter().take(20) {
        let held = desk.ask("check_locks", json!({ "file_paths": [key] })).await?;
        let me = desk.caller().agent_id.as_str();
        if !items(&held).iter().any(|lock| text(lock, "locked_by") != me) {
            told.push(format!("{key} is free now ({by} held it). Read it again before you change it."));
            lines.push(Line::WantsNot { key: key.clone() });
        }
    }
    Ok(())
}

async fn tasks(desk: &Desk, notes: &Notes, told: &mut Vec<String>, lines: &mut Vec<Line>) -> Result<(), Trouble> {
    let pending = desk.ask("list_tasks", json!({"status": "pending", "limit": 50})).await?;
    let mine = |task: &&Value| text(task, "assignee") == desk.caller().agent_id.as_str();
    for task in items(&pending["tasks"]).iter().filter(mine) {
        let what = format!("task {}", text(task, "task_id"));
        if !notes.is_told(&what) {
            told.push(format!(
                "A task waits for you (get_work claims it): {}",
                excerpt(text(task, "description"), EXCERPT)
            ));
            lines.push(Line::Told { what });
        }
    }
    Ok(())
}

async fn decisions(
    desk: &Desk,
    notes: &Notes,
    now: u64,
    told: &mut Vec<String>,
    lines: &mut Vec<Line>,
) -> Result<(), Trouble> {
    let me = desk.caller().agent_id.as_str();
    let listed = desk.ask("list_approvals", json!({"agent_id": me, "limit": 20})).await?;
    let since = i64::try_from(now / 1000).unwrap_or(i64::MAX).saturating_sub(DECIDED_WITHIN);
    for approval in items(&listed["approvals"]) {
        let decided_at = text(approval, "decided_at").parse::<Timestamp>().ok();
        let is_news = decided_at.is_some_and(|at| at.as_second() >= since);
        let status = text(approval, "status");
        let what = format!("{status} {}", text(approval, "approval_id"));
        if !is_news || !matches!(status, "approved" | "denied") || notes.is_told(&what) {
            continue;
        }
        let resource = excerpt(text(approval, "resource"), EXCERPT);
        let note = match text(approval, "note") {
            "" => String::new(),
            note => format!(" They say: {}", excerpt(note, EXCERPT)),
        };
        let by = text(approval, "decided_by");
        told.push(match status {
            "approved" => format!(
                "{by} approved what you asked for ({}, until {}): {resource}.{note}",
                text(approval, "scope"),
                text(approval, "expires_at")
            ),
            _ => format!("{by} denied what you asked for: {resource}.{note} Find another way."),
        });
        lines.push(Line::Told { what });
    }
    Ok(())
}

/// The beginning of a text, in one line.
pub fn excerpt(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", line[..end].trim_end()),
        None => line,
    }
}
