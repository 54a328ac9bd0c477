//! `coordinator feature`: what is being built, what it claims, and what cannot be built beside it.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::exit::Exit;
use crate::fields::{items, shown, some, text, when};
use crate::output::{self, Stream, Table};

/// What to do with features.
#[derive(Debug, Subcommand)]
pub enum Feature {
    /// Say what you build and what it will change; again, to change that
    Register(Register),
    /// List what is being built, and in which order it fits together
    List,
    /// Show one feature
    Show {
        /// Its id
        feature: String,
    },
    /// Ask what a feature would meet, before it is begun
    Conflicts {
        /// Its id
        feature: String,
        /// Lock keys and globs that it would change; those that it has registered, if none are given
        claims: Vec<String>,
    },
    /// Compare what its branch changes with what it claims
    Drift {
        /// Its id
        feature: String,
    },
    /// It is done: free its claims
    Done {
        /// Its id
        feature: String,
    },
    /// It is given up: free its claims
    Cancel {
        /// Its id
        feature: String,
    },
}

/// What to register.
#[derive(Debug, clap::Args)]
pub struct Register {
    /// Its id
    feature: String,
    /// Lock keys and globs that it will change
    claims: Vec<String>,
    /// What it is, in a line
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Where it is built
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// When it is to be merged: 1 first, 10 last (default: 5)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=10))]
    priority: Option<u8>,
}

/// Does it.
pub async fn run(desk: &Desk, feature: Feature) -> anyhow::Result<Exit> {
    match feature {
        Feature::Register(register) => {
            let request = json!({
                "feature_id": register.feature,
                "resource_claims": desk.keys(&register.claims)?,
                "title": register.title,
                "branch_name": register.branch,
                "merge_priority": register.priority,
            });
            let answer = desk.ask("register_feature", request).await?;
            desk.answer(&answer, |answer| {
                output::print(format!("{} {}", text(answer, "action"), printable(answer, "feature_id")))?;
                analysis(answer)
            })
        }
        Feature::List => {
            let answer = desk.ask("list_active_features", json!({})).await?;
            desk.answer(&answer, list)
        }
        Feature::Show { feature } => {
            let answer = desk.ask("get_feature", json!({"feature_id": feature})).await?;
            desk.answer(&answer, |answer| match &answer["feature"] {
                Value::Null => Ok(output::print("There is no such feature.")?),
                feature => show(feature),
            })
        }
        Feature::Conflicts { feature, claims } => {
            let mut claims = desk.keys(&claims)?;
            if claims.is_empty() {
                let known = desk.ask("get_feature", json!({"feature_id": feature})).await?;
                let registered = items(&known["feature"], "resource_claims").iter();
                claims.extend(registered.filter_map(Value::as_str).map(str::to_owned));
            }
            let request = json!({"candidate_feature_id": feature, "candidate_claims": claims});
            let answer = desk.ask("analyze_feature_conflicts", request).await?;
            desk.answer(&answer, analysis)
        }
        Feature::Drift { feature } => {
            let answer = desk.ask("feature_drift", json!({"feature_id": feature})).await?;
            desk.answer(&answer, drift)
        }
        Feature::Done { feature } => end(desk, &feature, "completed").await,
        Feature::Cancel { feature } => end(desk, &feature, "cancelled").await,
    }
}

async fn end(desk: &Desk, feature: &str, status: &str) -> anyhow::Result<Exit> {
    let answer = desk.ask("deregister_feature", json!({"feature_id": feature, "status": status})).await?;
    desk.answer(&answer, |answer| {
        Ok(output::print(format!("{} {}", text(answer, "status"), printable(answer, "feature_id")))?)
    })
}

fn list(answer: &Value) -> anyhow::Result<()> {
    let features = items(answer, "features");
    if features.is_empty() {
        output::print("Nothing is being built.")?;
        return Ok(());
    }
    let mut table = Table::new(Stream::Out, &["FEATURE", "PRIORITY", "AGENT", "BRANCH", "SINCE", "CLAIMS"]);
    for feature in features {
        table.row([
            printable(feature, "feature_id"),
            shown(feature, "merge_priority"),
            printable(feature, "registered_by"),
            printable(feature, "branch_name"),
            when(feature, "registered_at"),
            joined(items(feature, "resource_claims"), ", "),
        ]);
    }
    table.write()?;
    order(answer)
}

fn show(feature: &Value) -> anyhow::Result<()> {
    output::print(printable(feature, "feature_id"))?;
    for (label, field) in
        [("status", "status"), ("title", "title"), ("branch", "branch_name"), ("registered by", "registered_by")]
    {
        if let Some(value) = some(feature, field) {
            output::print(format!("  {label:<13}  {}", output::printable(value)))?;
        }
    }
    output::print(format!("  {:<13}  {}", "priority", shown(feature, "merge_priority")))?;
    for claim in items(feature, "resource_claims").iter().filter_map(Value::as_str) {
        output::print(format!("  {:<13}  {}", "claims", output::printable(claim)))?;
    }
    Ok(())
}

fn drift(answer: &Value) -> anyhow::Result<()> {
    if let Some(message) = some(answer, "message") {
        return Ok(output::print(output::printable(message))?);
    }
    let (branch, files, target) =
        (printable(answer, "branch_name"), shown(answer, "changed_files"), printable(answer, "target"));
    output::print(format!("{branch} changes {files} files since it left {target}"))?;
    for file in items(answer, "unclaimed_files").iter().filter_map(Value::as_str) {
        let of = items(answer, "claimed_by_others").iter().find(|taken| taken["file_path"] == file);
        let of = of.map(|taken| format!(", and {} claims it", joined(items(taken, "feature_ids"), ", ")));
        output::print(format!("  unclaimed  {}{}", output::printable(file), of.unwrap_or_default()))?;
    }
    for claim in items(answer, "unused_claims").iter().filter_map(Value::as_str) {
        output::print(format!("  unused     {}", output::printable(claim)))?;
    }
    Ok(())
}

/// How claims meet those of the active features.
fn analysis(answer: &Value) -> anyhow::Result<()> {
    output::print(format!(
        "{}: {} of {} claims overlap those of others",
        text(answer, "feasibility"),
        shown(answer, "total_conflicting_claims"),
        shown(answer, "total_candidate_claims")
    ))?;
    for conflict in items(answer, "conflicts") {
        output::print(format!(
            "  {} claims {}, which {} meets",
            printable(conflict, "feature_id"),
            joined(items(conflict, "their_claims"), ", "),
            joined(items(conflict, "overlapping_keys"), ", ")
        ))?;
    }
    order(answer)
}

/// In which order to build, where there is more than one thing to do.
fn order(answer: &Value) -> anyhow::Result<()> {
    let waves = items(answer, "order");
    if waves.len() > 1 {
        let waves: Vec<String> =
            waves.iter().map(|wave| joined(wave.as_array().map(Vec::as_slice).unwrap_or_default(), " + ")).collect();
        output::print(format!("build in this order: {}", waves.join(", then ")))?;
    }
    Ok(())
}

fn printable(answer: &Value, field: &str) -> String {
    output::printable(text(answer, field))
}

fn joined(texts: &[Value], between: &str) -> String {
    let texts: Vec<&str> = texts.iter().filter_map(Value::as_str).collect();
    output::printable(&texts.join(between))
}
