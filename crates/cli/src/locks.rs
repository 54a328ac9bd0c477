//! `coordinator lock`, `unlock` and `locks`: who may edit what.

use std::time::Duration;

use serde_json::{Value, json};

use crate::desk::Desk;
use crate::exit::{Exit, Trouble};
use crate::fields::{distance, items, some, text, when};
use crate::output::{self, Stream, Table};

/// How long an answer may take before we say that we wait.
const PATIENCE: Duration = Duration::from_millis(500);

/// What to lock.
#[derive(Debug, clap::Args)]
pub struct Lock {
    /// Files, directories, globs, or keys such as db:users: all of them or none
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
    /// Why, for whoever is kept waiting
    #[arg(long)]
    reason: Option<String>,
    /// Minutes until it ends unless locked again (default: LOCK_TTL_MINUTES, or 120)
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u32).range(1..=480))]
    ttl: Option<u32>,
    /// Let others lock it too, if they also say --shared
    #[arg(long)]
    shared: bool,
    /// Queue this long if it is taken
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=300))]
    wait: Option<u32>,
    /// The feature the work is for: not granted while that feature is paused
    #[arg(long, value_name = "ID")]
    feature: Option<String>,
}

/// What to give back.
#[derive(Debug, clap::Args)]
pub struct Unlock {
    /// As they were locked
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
}

/// Which locks to list.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Only locks that overlap these
    #[arg(value_name = "PATH")]
    paths: Vec<String>,
}

/// Takes or refreshes locks.
pub async fn lock(desk: &Desk, lock: Lock) -> anyhow::Result<Exit> {
    let request = json!({
        "file_paths": desk.keys(&lock.paths)?,
        "reason": lock.reason,
        "ttl_minutes": lock.ttl,
        "mode": lock.shared.then_some("shared"),
        "wait_seconds": lock.wait,
        "feature_id": lock.feature,
    });
    let asked = desk.ask("acquire_lock", request);
    tokio::pin!(asked);
    let early = tokio::time::timeout(PATIENCE, &mut asked).await;
    let answer = match early {
        Ok(answer) => answer?,
        Err(_) => {
            if let Some(seconds) = lock.wait.filter(|_| !desk.json) {
                output::tell(format_args!("It is taken; waiting for up to {seconds} s."));
            }
            asked.await?
        }
    };
    desk.answer(&answer, |answer| if answer["success"] == true { granted(answer) } else { blocked(answer) })
}

fn granted(answer: &Value) -> anyhow::Result<()> {
    let several = items(answer, "locks");
    for grant in if several.is_empty() { std::slice::from_ref(answer) } else { several } {
        let verb = if text(grant, "action") == "refreshed" { "refreshed" } else { "locked" };
        let line = format!("{verb} {} for {}", text(grant, "file_path"), distance(grant, "expires_at"));
        output::print(output::printable(&line))?;
    }
    Ok(())
}

fn blocked(answer: &Value) -> anyhow::Result<()> {
    let path = text(answer, "file_path");
    let hint = "Nothing was locked. Work on something else, or queue for it with --wait SECONDS.";
    match (text(answer, "reason"), items(answer, "conflicts_with")) {
        ("locked_by_other", [only]) => {
            output::complain(in_words(path, only));
            output::tell(hint);
        }
        ("locked_by_other", conflicts) => {
            output::complain(format_args!("{} locks of others are in the way:", conflicts.len()));
            let mut table = Table::new(Stream::Err, &["PATH", "AGENT", "MODE", "ENDS", "REASON"]);
            for conflict in conflicts {
                let ends =
                    if conflict["waiting"] == true { "waits for it".into() } else { when(conflict, "expires_at") };
                let word = |field| text(conflict, field).to_owned();
                table.row([word("file_path"), word("locked_by"), word("mode"), ends, word("reason")]);
            }
            table.write()?;
            output::tell(hint);
        }
        _ => output::complain(text(answer, "message")),
    }
    Ok(())
}

/// Who is in the way of `asked`, and for how long.
fn in_words(asked: &str, conflict: &Value) -> String {
    let (agent, path) = (text(conflict, "locked_by"), text(conflict, "file_path"));
    let why = some(conflict, "reason").map(|why| format!(" ({why})")).unwrap_or_default();
    if conflict["waiting"] == true {
        return format!("{agent} came earlier and waits for {path}{why}");
    }
    let shared = if text(conflict, "mode") == "shared" { " shared" } else { "" };
    let overlap = if path == asked { String::new() } else { format!(", which overlaps {asked},") };
    format!("{agent} holds {path}{shared}{overlap} for another {}{why}", distance(conflict, "expires_at"))
}

/// Gives locks back.
pub async fn unlock(desk: &Desk, unlock: Unlock) -> anyhow::Result<Exit> {
    let answer = desk.ask("release_lock", json!({"file_paths": desk.keys(&unlock.paths)?})).await?;
    desk.answer(&answer, |answer| {
        let several = items(answer, "released_paths");
        if several.is_empty() && answer["released"] == true {
            output::print(format_args!("released {}", text(answer, "file_path")))?;
        }
        for path in several.iter().filter_map(Value::as_str) {
            output::print(format_args!("released {path}"))?;
        }
        if let Some(message) = some(answer, "message") {
            output::complain(message);
        }
        Ok(())
    })
}

/// Lists locks.
pub async fn list(desk: &Desk, list: List) -> anyhow::Result<Exit> {
    let answer = locks(desk, &list.paths).await?;
    desk.answer(&answer, |answer| {
        let locks = answer.as_array().map(Vec::as_slice).unwrap_or_default();
        if locks.is_empty() {
            output::print(if list.paths.is_empty() { "Nothing is locked." } else { "Nothing of this is locked." })?;
            return Ok(());
        }
        Ok(table(locks).write()?)
    })
}

/// The locks that overlap any of the paths, or all.
pub async fn locks(desk: &Desk, paths: &[String]) -> Result<Value, Trouble> {
    let request = if paths.is_empty() { json!({}) } else { json!({"file_paths": desk.keys(paths)?}) };
    desk.ask("check_locks", request).await
}

/// Locks as a table.
pub fn table(locks: &[Value]) -> Table {
    let mut table = Table::new(Stream::Out, &["PATH", "AGENT", "MODE", "ENDS", "REASON"]);
    for lock in locks {
        let word = |field| text(lock, field).to_owned();
        table.row([word("file_path"), word("locked_by"), word("mode"), when(lock, "expires_at"), word("reason")]);
    }
    table
}
