//! `coordinator merge`: what is to be merged, in which order, and what stands in its way.

mod landing;
mod verifying;

use clap::Subcommand;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::exit::Exit;
use crate::fields::{items, shown, some, text, when};
use crate::output::{self, Stream, Table};

pub use landing::KEEPER;

/// What to do with the merge queue.
#[derive(Debug, Subcommand)]
pub enum Merge {
    /// List the queue in the order in which it is merged
    List {
        /// Those that were merged, latest first
        #[arg(long)]
        merged: bool,
    },
    /// Put a finished feature into the queue
    Enqueue {
        /// Its id
        feature: String,
        /// Its pull request
        #[arg(long, value_name = "URL")]
        pr: Option<String>,
    },
    /// Check whether a queued feature can be merged
    Check {
        /// Its id
        feature: String,
    },
    /// Land what is in the queue: test each merge in a work tree of its own, and move the target to what passed
    Run(landing::Run),
    /// Say that a feature is merged: it is completed
    Merged {
        /// Its id
        feature: String,
        /// The commit that is on the target
        #[arg(long, value_name = "ID")]
        commit: Option<String>,
    },
    /// Take a feature out of the queue
    Remove {
        /// Its id
        feature: String,
    },
}

/// Does it.
pub async fn run(desk: &Desk, merge: Merge) -> anyhow::Result<Exit> {
    match merge {
        Merge::List { merged } => {
            let request = if merged { json!({"scope": "merged"}) } else { json!({}) };
            let answer = desk.ask("get_merge_queue", request).await?;
            desk.answer(&answer, list)
        }
        Merge::Enqueue { feature, pr } => {
            let answer = desk.ask("enqueue_merge", json!({"feature_id": feature, "pr_url": pr})).await?;
            desk.answer(&answer, stands)
        }
        Merge::Run(run) => landing::run(desk, run).await,
        Merge::Check { feature } => check(desk, &feature).await,
        Merge::Merged { feature, commit } => {
            let answer = desk.ask("mark_merged", json!({"feature_id": feature, "commit": commit})).await?;
            desk.answer(&answer, stands)
        }
        Merge::Remove { feature } => {
            let answer = desk.ask("remove_from_merge_queue", json!({"feature_id": feature})).await?;
            desk.answer(&answer, |answer| {
                Ok(output::print(format!("{} is out of the queue", printable(answer, "feature_id")))?)
            })
        }
    }
}

/// Exits as refused where it cannot be merged, so that a script can tell.
async fn check(desk: &Desk, feature: &str) -> anyhow::Result<Exit> {
    let answer = desk.ask("run_pre_merge_checks", json!({"feature_id": feature})).await?;
    let exit = desk.answer(&answer, |answer| {
        for check in items(answer, "checks") {
            let mark = if check["passed"] == true { "ok  " } else { "FAIL" };
            output::print(format!("{mark}  {}: {}", text(check, "name"), printable(check, "reason")))?;
        }
        stands(answer)
    })?;
    Ok(if answer["passed"] == false { Exit::Refused } else { exit })
}

fn stands(answer: &Value) -> anyhow::Result<()> {
    Ok(output::print(format!("{} is {}", printable(answer, "feature_id"), text(answer, "state")))?)
}

fn list(answer: &Value) -> anyhow::Result<()> {
    let entries = items(answer, "entries");
    if entries.is_empty() {
        output::print("The merge queue is empty.")?;
        return Ok(());
    }
    let mut table = Table::new(Stream::Out, &["FEATURE", "STATE", "PRIORITY", "BRANCH", "QUEUED", "WHY"]);
    for entry in entries {
        table.row([
            printable(entry, "feature_id"),
            text(entry, "state").to_owned(),
            shown(entry, "merge_priority"),
            printable(entry, "branch_name"),
            when(entry, "queued_at"),
            output::printable(some(entry, "note").unwrap_or_default()),
        ]);
    }
    Ok(table.write()?)
}

fn printable(answer: &Value, field: &str) -> String {
    output::printable(text(answer, field))
}
