//! `coordinator memory`: what agents learnt, and which ways of doing things work.

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::exit::Exit;
use crate::fields::{items, shown, some, text, when};
use crate::output::{self, Stream, Table};

/// What to do with memory.
#[derive(Debug, Subcommand)]
pub enum Memory {
    /// Store what was learnt
    Remember(Remember),
    /// Find what was learnt
    Recall(Recall),
    /// List ways of doing things, the surest to work first
    Skills {
        /// Only for this type of task
        #[arg(value_name = "TASK_TYPE")]
        task_type: Option<String>,
        /// At most this many
        #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
    },
}

/// What was learnt.
#[derive(Debug, clap::Args)]
pub struct Remember {
    /// What it is about
    #[arg(value_enum, value_name = "TYPE")]
    event_type: EventType,
    /// What was learnt, in a sentence
    summary: String,
    /// A trace, a command, a configuration
    #[arg(long, value_name = "TEXT")]
    details: Option<String>,
    /// How it ended
    #[arg(long, value_enum)]
    outcome: Option<Outcome>,
    /// What to do next time; several may be given
    #[arg(long = "lesson", value_name = "TEXT")]
    lessons: Vec<String>,
    /// A word to find it by; several may be given
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// The memory that no longer holds
    #[arg(long, value_name = "ID")]
    supersedes: Option<String>,
    /// A memory that helped; several may be given
    #[arg(long = "used", value_name = "ID")]
    used: Vec<String>,
}

/// What is to be found.
#[derive(Debug, clap::Args)]
pub struct Recall {
    /// A task, a question, a path or an error text; without it, the newest and weightiest
    #[arg(value_name = "TEXT")]
    task: Vec<String>,
    /// Only with this tag; several may be given, any of which will do
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Only about this
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    event_type: Option<EventType>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=50))]
    limit: u32,
    /// Only if at least so relevant, from 0 to 1
    #[arg(long, value_name = "RELEVANCE")]
    min: Option<f64>,
    /// Say what each relevance is made of
    #[arg(long)]
    explain: bool,
}

/// What a memory is about.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum EventType {
    Error,
    Success,
    Decision,
    Discovery,
    Optimization,
}

/// How it ended.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Outcome {
    Positive,
    Negative,
    Neutral,
}

fn name(value: impl ValueEnum) -> Option<String> {
    Some(value.to_possible_value()?.get_name().to_owned())
}

/// Does it.
pub async fn run(desk: &Desk, memory: Memory) -> anyhow::Result<Exit> {
    match memory {
        Memory::Remember(remember) => self::remember(desk, remember).await,
        Memory::Recall(recall) => self::recall(desk, recall).await,
        Memory::Skills { task_type, limit } => skills(desk, task_type, limit).await,
    }
}

async fn remember(desk: &Desk, remember: Remember) -> anyhow::Result<Exit> {
    let request = json!({
        "event_type": name(remember.event_type),
        "summary": remember.summary,
        "details": remember.details,
        "outcome": remember.outcome.and_then(name),
        "lessons": remember.lessons,
        "tags": remember.tags,
        "supersedes": remember.supersedes,
        "used": remember.used,
    });
    let answer = desk.ask("remember", request).await?;
    desk.answer(&answer, |answer| {
        let verb = if text(answer, "action") == "deduplicated" { "added to" } else { "remembered as" };
        Ok(output::print(format_args!("{verb} {}", text(answer, "memory_id")))?)
    })
}

async fn recall(desk: &Desk, recall: Recall) -> anyhow::Result<Exit> {
    let request = json!({
        "task_description": recall.task.join(" "),
        "tags": recall.tags,
        "event_type": recall.event_type.and_then(name),
        "limit": recall.limit,
        "min_relevance": recall.min,
        "explain": recall.explain,
    });
    let answer = desk.ask("recall", request).await?;
    desk.answer(&answer, |answer| {
        let memories = items(answer, "memories");
        if memories.is_empty() {
            output::print("Nothing of this is remembered.")?;
        }
        for (at, memory) in memories.iter().enumerate() {
            if at > 0 {
                output::print("")?;
            }
            show(memory)?;
        }
        Ok(())
    })
}

/// A memory: its summary, and below it what else is known.
fn show(memory: &Value) -> anyhow::Result<()> {
    output::heading(&output::printable(text(memory, "summary")))?;
    let list = |field| items(memory, field).iter().filter_map(Value::as_str).collect::<Vec<_>>();
    let who = format!("{}, {} by {}", text(memory, "event_type"), when(memory, "created_at"), text(memory, "agent_id"));
    let mut table = Table::headless(Stream::Out);
    let mut facts = vec![("", who), ("outcome", shown(memory, "outcome"))];
    facts.extend(list("lessons").into_iter().map(|lesson| ("lesson", lesson.to_owned())));
    facts.extend([
        ("details", shown(memory, "details")),
        ("tags", list("tags").join(" ")),
        ("out of date", some(memory, "superseded_by").map(|id| format!("see {id}")).unwrap_or_default()),
        ("relevance", shown(memory, "relevance")),
        ("why", why(&memory["why"])),
        ("id", shown(memory, "id")),
    ]);
    for (name, value) in facts.into_iter().filter(|(_, value)| !value.is_empty()) {
        table.row([format!("  {name}"), value]);
    }
    Ok(table.write()?)
}

/// What a relevance is made of, in a line.
fn why(why: &Value) -> String {
    let Some(matched) = why["matched"].as_object() else { return String::new() };
    let words: Vec<&str> = matched.keys().map(String::as_str).collect();
    let parts = ["text", "tags", "importance", "recency"].map(|part| format!("{part} {}", shown(why, part)));
    format!("{}; {} uses; {}", parts.join(", "), shown(why, "uses"), words.join(" "))
}

async fn skills(desk: &Desk, task_type: Option<String>, limit: u32) -> anyhow::Result<Exit> {
    let answer = desk.ask("recall_skills", json!({"task_type": task_type, "limit": limit})).await?;
    desk.answer(&answer, |answer| {
        let skills = items(answer, "skills");
        if skills.is_empty() {
            output::print("No skill is known for this.")?;
            return Ok(());
        }
        let mut table = Table::new(Stream::Out, &["SKILL", "WORKED", "SURELY", "LAST USED", "DESCRIPTION"]);
        for skill in skills {
            let worked = format!("{} of {}", shown(skill, "successes"), shown(skill, "uses"));
            let surely = format!("{:.0} %", 100.0 * skill["lower_bound"].as_f64().unwrap_or_default());
            let word = |field| shown(skill, field);
            table.row([word("skill_name"), worked, surely, when(skill, "last_used_at"), word("description")]);
        }
        Ok(table.write()?)
    })
}
