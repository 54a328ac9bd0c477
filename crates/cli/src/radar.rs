//! `coordinator radar`: which branches would not merge with each other.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::arguments::Globals;
use crate::desk::Desk;
use crate::exit::{Exit, Trouble};
use crate::fields::{items, some, text};
use crate::output;

/// What to look for, and how often.
#[derive(Debug, clap::Args)]
pub struct Radar {
    /// Only conflicts of this branch
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// Go on looking, and print what is new and what is over
    #[arg(long)]
    watch: bool,
    /// How often to look, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, requires = "watch", value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// Because something changed: look, unless somebody does just now, and print nothing
    #[arg(long, hide = true, conflicts_with_all = ["watch", "branch"])]
    refresh: bool,
}

/// Starts a look from this directory, and does not wait for it: whoever changed something goes on. New conflicts are told
/// as messages. Where it cannot be started, the next one finds them.
pub fn in_background(globals: &Globals, directory: &Path) {
    let Ok(program) = std::env::current_exe() else { return };
    let mut command = Command::new(program);
    command.args(globals.to_find_the_same()).args(["radar", "--refresh"]).current_dir(directory);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // A group of its own, so that it is not ended with the command of whoever started it.
    let _ = command.process_group(0).spawn();
}

/// Looks once, or until it is interrupted. Whom a new conflict concerns is told either way.
pub async fn run(desk: &Desk, radar: Radar) -> anyhow::Result<Exit> {
    if radar.refresh {
        desk.coordinator.refresh_radar().await.map_err(Trouble::from)?;
        return Ok(Exit::Done);
    }
    let ask = async || desk.ask("branch_conflicts", json!({"branch": radar.branch})).await;
    let answer = ask().await?;
    if !radar.watch || answer["success"] == false {
        return desk.answer(&answer, show);
    }
    if !desk.json {
        output::tell("Watching the branches; Ctrl-C ends it.");
    }
    let mut shown = Shown::default();
    shown.changed(&answer, desk.json)?;
    loop {
        tokio::time::sleep(Duration::from_secs(radar.every)).await;
        let answer = ask().await?;
        if answer["success"] == false {
            // The repository is gone, or git is.
            return desk.answer(&answer, show);
        }
        shown.changed(&answer, desk.json)?;
    }
}

fn show(answer: &Value) -> anyhow::Result<()> {
    if let Some(message) = some(answer, "message") {
        output::complain(output::printable(message));
        return Ok(());
    }
    let conflicts = items(answer, "conflicts");
    for conflict in conflicts {
        output::print(in_words(conflict))?;
    }
    trouble(answer);
    let (branches, pairs) = (&answer["branches"], &answer["pairs"]);
    let what = if conflicts.is_empty() { "Everything merges" } else { "The rest merges" };
    Ok(output::print(format!("{what}: {branches} branches and work trees, {pairs} pairs."))?)
}

fn trouble(answer: &Value) {
    for trouble in items(answer, "troubles").iter().filter_map(Value::as_str) {
        output::tell(output::printable(trouble));
    }
}

/// What is on the screen already.
#[derive(Default)]
struct Shown {
    conflicts: BTreeSet<String>,
    troubles: Value,
}

impl Shown {
    /// Prints what is new and what is over. With `--json` one line a change.
    fn changed(&mut self, answer: &Value, json: bool) -> anyhow::Result<()> {
        let mut current = BTreeSet::new();
        for conflict in items(answer, "conflicts") {
            // Other lines of the same files are no news.
            let mut files: Vec<&str> = items(conflict, "files").iter().map(|file| text(file, "path")).collect();
            files.dedup();
            let names = format!("{} and {}", side(&conflict["one"]), side(&conflict["other"]));
            let line = format!("{names}: {}", files.join(", "));
            if !self.conflicts.contains(&line) {
                let change = json!({"change": "new", "conflict": conflict});
                output::print(if json { change.to_string() } else { in_words(conflict) })?;
            }
            current.insert(line);
        }
        for over in self.conflicts.difference(&current) {
            let change = json!({"change": "over", "conflict": over});
            output::print(if json { change.to_string() } else { output::printable(&format!("over: {over}")) })?;
        }
        self.conflicts = current;
        if answer["troubles"] != self.troubles {
            trouble(answer);
            self.troubles = answer["troubles"].clone();
        }
        Ok(())
    }
}

/// Both sides, and file by file what is in the way.
fn in_words(conflict: &Value) -> String {
    let mut lines = vec![format!("{} does not merge with {}", side(&conflict["one"]), side(&conflict["other"]))];
    for file in items(conflict, "files") {
        let hunks = items(file, "hunks").iter().map(|hunk| format!("{} / {}", text(hunk, "one"), text(hunk, "other")));
        let hunks = hunks.collect::<Vec<_>>().join(", ");
        let places = if hunks.is_empty() { String::new() } else { format!(", lines {hunks}") };
        lines.push(format!("  {}: {}{places}", text(file, "path"), text(file, "kind")));
    }
    let told: Vec<&str> = items(conflict, "told").iter().filter_map(Value::as_str).collect();
    if !told.is_empty() {
        lines.push(format!("  told to {}", told.join(" and ")));
    }
    lines.iter().map(|line| output::printable(line)).collect::<Vec<_>>().join("\n")
}

/// `agent/ada/1 of ada, with uncommitted work`.
fn side(side: &Value) -> String {
    let name = some(side, "branch").or_else(|| some(side, "worktree")).unwrap_or_else(|| text(side, "commit"));
    let whose = some(side, "agent_id").map(|agent| format!(" of {agent}")).unwrap_or_default();
    let more = if side["uncommitted"] == true { ", with uncommitted work" } else { "" };
    format!("{name}{whose}{more}")
}
