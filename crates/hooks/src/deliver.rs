//! What waits for an agent, told between its tool calls: messages, files that came free, tasks that are its own.

use serde_json::{Value, json};

use crate::desk::{Desk, Trouble, items, text};
use crate::log::{Line, Notes};

/// How often tasks are looked for, in milliseconds.
const TASKS_EVERY: u64 = 5_000;
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

/// The beginning of a text, in one line.
pub fn excerpt(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", line[..end].trim_end()),
        None => line,
    }
}
