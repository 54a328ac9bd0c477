//! `coordinator handoff`: what one session leaves for the next.

use std::io::Read;

use clap::Subcommand;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::exit::{Exit, Trouble};
use crate::fields::{items, some, text, when};
use crate::output;

/// What to do with handoffs.
#[derive(Debug, Subcommand)]
pub enum Handoff {
    /// Leave one for your next session, or for whoever goes on with the work
    Write(Write),
    /// Show where you left off, or else where others did
    Read(Show),
}

/// What to leave. Each option may be given several times.
#[derive(Debug, clap::Args)]
pub struct Write {
    /// Where the work stands; - reads it from standard input, as text or as JSON
    summary: String,
    /// Something that is done
    #[arg(long, value_name = "WHAT")]
    done: Vec<String>,
    /// Something that was begun
    #[arg(long, value_name = "WHAT")]
    doing: Vec<String>,
    /// Something that was decided, and why
    #[arg(long, value_name = "WHAT")]
    decided: Vec<String>,
    /// What to do next
    #[arg(long, value_name = "WHAT")]
    next: Vec<String>,
    /// A file that matters
    #[arg(long, value_name = "PATH")]
    file: Vec<String>,
    /// The feature the work is for
    #[arg(long, value_name = "ID")]
    feature: Option<String>,
}

/// Which to show.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// Only this agent's
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    /// Only those of this session
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Only those for this feature
    #[arg(long, value_name = "ID")]
    feature: Option<String>,
    /// At most this many, newest first
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
}

/// Does it.
pub async fn run(desk: &Desk, handoff: Handoff) -> anyhow::Result<Exit> {
    match handoff {
        Handoff::Write(write) => self::write(desk, write).await,
        Handoff::Read(read) => self::read(desk, read).await,
    }
}

async fn write(desk: &Desk, write: Write) -> anyhow::Result<Exit> {
    let mut request = json!({
        "completed_work": write.done,
        "in_progress": write.doing,
        "decisions": write.decided,
        "next_steps": write.next,
        "relevant_files": write.file,
        "feature_id": write.feature,
    });
    if write.summary == "-" {
        request["content"] = content()?;
    } else {
        request["summary"] = write.summary.into();
    }
    let answer = desk.ask("write_handoff", request).await?;
    desk.answer(&answer, |answer| Ok(output::print(text(answer, "handoff_id"))?))
}

/// Standard input: JSON where it is an object, or else text.
fn content() -> Result<Value, Trouble> {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input).map_err(|e| Trouble::usage(format!("standard input: {e}")))?;
    let object = serde_json::from_str(&input).ok().filter(Value::is_object);
    Ok(object.unwrap_or_else(|| input.trim().into()))
}

async fn read(desk: &Desk, read: Show) -> anyhow::Result<Exit> {
    let request = json!({
        "agent_name": read.agent,
        "session_id": read.session,
        "feature_id": read.feature,
        "limit": read.limit,
    });
    let answer = desk.ask("read_handoff", request).await?;
    let exit = desk.answer(&answer, |answer| {
        let handoffs = items(answer, "handoffs");
        if handoffs.is_empty() {
            output::complain("there is no handoff");
        }
        if let Some(message) = some(answer, "message") {
            output::tell(output::printable(message));
        }
        for (at, handoff) in handoffs.iter().enumerate() {
            if at > 0 {
                output::print("")?;
            }
            show(handoff)?;
        }
        Ok(())
    })?;
    Ok(if items(&answer, "handoffs").is_empty() { Exit::Refused } else { exit })
}

fn show(handoff: &Value) -> anyhow::Result<()> {
    let feature = some(handoff, "feature_id").map(|id| format!(", for {id}")).unwrap_or_default();
    let heading = format!("{}, {}{feature}", text(handoff, "agent_id"), when(handoff, "created_at"));
    output::heading(&output::printable(&heading))?;
    output::print(output::printable_lines(text(handoff, "summary")))?;
    for (field, title) in [
        ("completed_work", "done"),
        ("in_progress", "in progress"),
        ("decisions", "decided"),
        ("next_steps", "next"),
        ("relevant_files", "files"),
    ] {
        let items = items(handoff, field);
        if !items.is_empty() {
            output::print(format_args!("{title}:"))?;
        }
        for item in items.iter().filter_map(Value::as_str) {
            output::print(format_args!("  - {}", output::printable(item)))?;
        }
    }
    if let Some(content) = handoff.get("content") {
        output::print(format_args!("also: {}", output::printable(&content.to_string())))?;
    }
    Ok(())
}
