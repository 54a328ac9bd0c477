//! `coordinator work`: the queue of tasks.

use clap::{Subcommand, ValueEnum};
use jiff::Timestamp;
use model::work::{CANCELLED, TaskFilter, TaskStatus};
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::exit::{Exit, Trouble};
use crate::fields::{items, shown, some, text, when};
use crate::output::{self, Stream, Table};
use crate::time;

/// What to do with the queue.
#[derive(Debug, Subcommand)]
pub enum Work {
    /// Add a task
    Submit(Submit),
    /// List tasks, newest first
    List(List),
    /// Show everything about a task
    Show {
        /// Its id
        #[arg(value_name = "ID")]
        task_id: String,
    },
    /// Claim the next task that is ready
    Claim {
        /// Only of this type; several may be given
        #[arg(long = "type", value_name = "TYPE")]
        types: Vec<String>,
    },
    /// End a task that you claimed
    Complete(Complete),
    /// End any task, and what depends on it
    Cancel {
        /// Its id
        #[arg(value_name = "ID")]
        task_id: String,
        /// Why
        reason: String,
    },
}

/// The task to add.
#[derive(Debug, clap::Args)]
pub struct Submit {
    /// Kind of work, such as implement
    #[arg(value_name = "TYPE")]
    task_type: String,
    /// What to do
    description: String,
    /// 1 comes first, 10 last (default: 5)
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=10))]
    priority: Option<u8>,
    /// A task to be completed first; several may be given
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    depends_on: Vec<String>,
    /// Anything the worker should have
    #[arg(long, value_name = "JSON", value_parser = parse_json)]
    input: Option<Value>,
    /// When it is too late to begin: a time, or a length from now such as 2h
    #[arg(long, value_name = "WHEN", value_parser = time::future)]
    deadline: Option<Timestamp>,
    /// How often it may be tried (default: 3)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    max_attempts: Option<u32>,
    /// Submitting again under the same key changes nothing
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// A capability its worker must have
    #[arg(long, value_name = "NAME")]
    capability: Option<String>,
    /// The only agent that may claim it
    #[arg(long, value_name = "AGENT")]
    assignee: Option<String>,
    /// The feature it belongs to
    #[arg(long, value_name = "ID")]
    feature: Option<String>,
}

/// Which tasks to list.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Only with this status
    #[arg(long, value_enum)]
    status: Option<Status>,
    /// Only of this type
    #[arg(long = "type", value_name = "TYPE")]
    task_type: Option<String>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Status {
    Pending,
    Claimed,
    Running,
    Completed,
    Failed,
    Cancelled,
}

/// How a task ended.
#[derive(Debug, clap::Args)]
pub struct Complete {
    /// Its id
    #[arg(value_name = "ID")]
    task_id: String,
    /// It did not work out; it will be tried again if it may
    #[arg(long)]
    failed: bool,
    /// What came of it
    #[arg(long, value_name = "JSON", value_parser = parse_json)]
    result: Option<Value>,
    /// Why it failed
    #[arg(long, value_name = "TEXT", requires = "failed")]
    message: Option<String>,
}

fn parse_json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))
}

/// Does it.
pub async fn run(desk: &Desk, work: Work) -> anyhow::Result<Exit> {
    match work {
        Work::Submit(submit) => self::submit(desk, submit).await,
        Work::List(list) => self::list(desk, list).await,
        Work::Show { task_id } => show(desk, &task_id).await,
        Work::Claim { types } => claim(desk, types).await,
        Work::Complete(complete) => {
            let request = json!({
                "task_id": complete.task_id,
                "success": !complete.failed,
                "result": complete.result,
                "error_message": complete.message,
            });
            end(desk, "complete_work", request).await
        }
        Work::Cancel { task_id, reason } => {
            end(desk, "cancel_task", json!({"task_id": task_id, "reason": reason})).await
        }
    }
}

async fn submit(desk: &Desk, submit: Submit) -> anyhow::Result<Exit> {
    let request = json!({
        "task_type": submit.task_type,
        "task_description": submit.description,
        "input_data": submit.input,
        "priority": submit.priority,
        "depends_on": if submit.depends_on.is_empty() { Value::Null } else { json!(submit.depends_on) },
        "deadline": submit.deadline,
        "max_attempts": submit.max_attempts,
        "idempotency_key": submit.idempotency_key,
        "required_capability": submit.capability,
        "assignee": submit.assignee,
        "feature_id": submit.feature,
    });
    let answer = desk.ask("submit_work", request).await?;
    desk.answer(&answer, |answer| {
        let verb = if answer["repeated"] == true { "was submitted before:" } else { "submitted" };
        Ok(output::print(format_args!("{verb} {}", text(answer, "task_id")))?)
    })
}

async fn list(desk: &Desk, list: List) -> anyhow::Result<Exit> {
    let status = list.status.and_then(|status| Some(status.to_possible_value()?.get_name().to_owned()));
    let request = json!({"status": status, "task_type": list.task_type, "limit": list.limit});
    let answer = desk.ask("list_tasks", request).await?;
    desk.answer(&answer, |answer| {
        let tasks = items(answer, "tasks");
        if tasks.is_empty() {
            output::print("No tasks.")?;
            return Ok(());
        }
        let mut table = Table::new(Stream::Out, &["ID", "STATUS", "TYPE", "P", "AGENT", "SUBMITTED", "DESCRIPTION"]);
        for task in tasks {
            let word = |field| shown(task, field);
            let age = when(task, "created_at");
            let row = [word("task_id"), status_of(task), word("task_type"), word("priority"), word("claimed_by"), age];
            table.row(row.into_iter().chain([word("description")]));
        }
        table.write()?;
        if some(answer, "next_cursor").is_some() {
            output::tell(format_args!("There are more than {}: see --limit (up to 200).", list.limit));
        }
        Ok(())
    })
}

/// A cancelled task is a failed one with a code of its own.
fn status_of(task: &Value) -> String {
    match text(task, "error_code") {
        CANCELLED => "cancelled".into(),
        _ => text(task, "status").to_owned(),
    }
}

async fn show(desk: &Desk, task_id: &str) -> anyhow::Result<Exit> {
    let answer = desk.ask("get_task", json!({"task_id": task_id})).await?;
    desk.answer(&answer, |answer| {
        let task = &answer["task"];
        if task.is_null() {
            output::complain(format_args!("there is no task {task_id} in project {}", desk.project()));
            return Ok(());
        }
        let attempts = format!("{} of {}", shown(task, "attempt"), shown(task, "max_attempts"));
        let depends_on: Vec<&str> = items(task, "depends_on").iter().filter_map(Value::as_str).collect();
        let word = |field| shown(task, field);
        let facts = [
            ("task", word("task_id")),
            ("status", status_of(task)),
            ("type", word("task_type")),
            ("description", word("description")),
            ("priority", word("priority")),
            ("attempts", attempts),
            ("submitted", joined(&[&when(task, "created_at"), "by", &word("created_by")])),
            (
                "claimed",
                some(task, "claimed_by").map_or_else(String::new, |by| joined(&[&when(task, "claimed_at"), "by", by])),
            ),
            ("claim lapses", when(task, "lease_expires_at")),
            ("ended", when(task, "completed_at")),
            ("not before", when(task, "not_before")),
            ("deadline", when(task, "deadline")),
            ("depends on", depends_on.join(" ")),
            ("for", word("assignee")),
            ("needs", word("required_capability")),
            ("feature", word("feature_id")),
            ("input", word("input_data")),
            ("result", word("result")),
            ("error", joined(&[&word("error_code"), &word("error_message")])),
        ];
        facts_table(facts).write()?;
        Ok(())
    })
}

fn joined(words: &[&str]) -> String {
    words.iter().copied().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Names and values, without those that say nothing.
fn facts_table<const N: usize>(facts: [(&str, String); N]) -> Table {
    let mut table = Table::headless(Stream::Out);
    for (name, value) in facts.into_iter().filter(|(_, value)| !value.is_empty()) {
        table.row([name.to_owned(), value]);
    }
    table
}

async fn claim(desk: &Desk, types: Vec<String>) -> anyhow::Result<Exit> {
    let types = if types.is_empty() { Value::Null } else { json!(types) };
    let answer = desk.ask("get_work", json!({"task_types": types})).await?;
    desk.answer(&answer, |answer| {
        if answer["success"] != true {
            output::complain(
                "no task is ready to be claimed; `coordinator work list --status pending` shows what waits",
            );
            return Ok(());
        }
        let word = |field| shown(answer, field);
        let attempt = format!("{} of {}", word("attempt"), word("max_attempts"));
        let facts = [
            ("claimed", word("task_id")),
            ("type", word("task_type")),
            ("description", word("description")),
            ("input", word("input_data")),
            ("attempt", attempt),
            ("last error", word("last_error")),
            ("feature", word("feature_id")),
            ("deadline", when(answer, "deadline")),
            (
                "claim lapses",
                format!("{} unless `coordinator call heartbeat` renews it", when(answer, "lease_expires_at")),
            ),
        ];
        facts_table(facts).write()?;
        Ok(())
    })
}

async fn end(desk: &Desk, operation: &str, request: Value) -> anyhow::Result<Exit> {
    let answer = desk.ask(operation, request).await?;
    desk.answer(&answer, |answer| {
        if answer["success"] != true {
            output::complain(text(answer, "message"));
            return Ok(());
        }
        let task = text(answer, "task_id");
        match text(answer, "status") {
            "pending" => output::print(format_args!("{task} will be tried again {}", when(answer, "retry_at")))?,
            "failed" if operation == "cancel_task" => output::print(format_args!("{task} is cancelled"))?,
            status => output::print(format_args!("{task} is {status}"))?,
        }
        for dependent in items(answer, "failed_dependents").iter().filter_map(Value::as_str) {
            output::print(format_args!("{dependent} failed with it, because it depends on it"))?;
        }
        Ok(())
    })
}

/// Counting stops here: nobody acts differently on more.
pub const ENOUGH: usize = 1000;

/// How many tasks have each status, counted to one more than [`ENOUGH`].
pub async fn counts(desk: &Desk) -> Result<Vec<(TaskStatus, usize)>, Trouble> {
    let mut counts = vec![];
    for status in
        [TaskStatus::Pending, TaskStatus::Claimed, TaskStatus::Running, TaskStatus::Completed, TaskStatus::Failed]
    {
        let filter = TaskFilter { status: Some(status), limit: ENOUGH as u32 + 1, ..TaskFilter::default() };
        let tasks = desk.coordinator.store().tasks(desk.project(), &filter).await?;
        counts.push((status, tasks.len()));
    }
    Ok(counts)
}
