//! Changesets, their runs and how these fare, for people.

use serde_json::Value;

use crate::fields::{items, shown, some, text, when};
use crate::output::{self, Stream, Table};

/// A changeset: what it is, and tier by tier what came of it.
pub fn changeset(changeset: &Value) -> anyhow::Result<()> {
    let short = |field: &str| text(changeset, field).get(..12).unwrap_or_default().to_owned();
    let mut title = format!("{} of {}", printable(changeset, "changeset_id"), printable(changeset, "revision"));
    if some(changeset, "commit").is_some() {
        title.push_str(&format!(" ({} upon {}), {} files", short("commit"), short("base"), changeset["changed_total"]));
    }
    output::print(format!("{title}: {}", text(changeset, "state")))?;
    if let Some(note) = some(changeset, "note") {
        output::print(output::printable(note))?;
    }
    let runs = items(changeset, "runs");
    if runs.is_empty() {
        if text(changeset, "state") == "passed" {
            output::print("No policy is for what it changes.")?;
        }
        return Ok(());
    }
    let mut table = Table::new(Stream::Out, &["TIER", "POLICY", "EXECUTOR", "STATE", "WHY"]);
    for run in runs {
        let why = match text(run, "state") {
            "waiting_approval" => format!("coordinator approvals approve {}", text(run, "approval_id")),
            "passed" if some(run, "reused_from").is_some() => "passed before".into(),
            "passed" => String::new(),
            _ => some(run, "evidence").and_then(|text| text.lines().next()).unwrap_or_default().to_owned(),
        };
        table.row([
            shown(run, "tier"),
            printable(run, "policy"),
            text(run, "executor").to_owned(),
            text(run, "state").to_owned(),
            output::printable(&why),
        ]);
    }
    table.write()?;
    let has_evidence = |run: &&Value| matches!(text(run, "state"), "failed" | "errored" | "timed_out" | "cancelled");
    for run in runs.iter().filter(has_evidence) {
        if let Some(evidence) = some(run, "evidence") {
            output::print(format!("\n{}:", printable(run, "policy")))?;
            for line in evidence.lines() {
                output::print(format!("  {}", output::printable(line)))?;
            }
        }
        if let Some(url) = some(run, "log_url") {
            output::print(output::printable(url))?;
        }
    }
    Ok(())
}

/// What must pass, and who says so.
pub fn policies(answer: &Value) -> anyhow::Result<()> {
    let policies = items(answer, "policies");
    if policies.is_empty() {
        return Ok(output::print("Nothing must pass.")?);
    }
    let mut table = Table::new(Stream::Out, &["TIER", "POLICY", "FROM", "FOR", "EXECUTOR", "RUNS"]);
    let words = |policy: &Value, field: &str| {
        let words: Vec<&str> = items(policy, field).iter().filter_map(Value::as_str).collect();
        output::printable(&words.join(" "))
    };
    for policy in policies {
        let from = match (text(policy, "source"), some(policy, "author")) {
            ("file", _) => "coordinator.toml".to_owned(),
            (_, Some(author)) if policy["is_hidden"] == true => format!("{author} (the file's counts)"),
            (_, author) => author.unwrap_or_default().to_owned(),
        };
        table.row([
            shown(policy, "tier"),
            printable(policy, "name"),
            output::printable(&from),
            words(policy, "globs"),
            text(policy, "executor").to_owned(),
            some(policy, "workflow").map_or_else(|| words(policy, "command"), output::printable),
        ]);
    }
    Ok(table.write()?)
}

/// Many of them.
pub fn changesets(answer: &Value) -> anyhow::Result<()> {
    let changesets = items(answer, "changesets");
    if changesets.is_empty() {
        output::print("Nothing was verified, and nothing waits for it.")?;
        return Ok(());
    }
    let mut table = Table::new(Stream::Out, &["ID", "STATE", "REVISION", "AGENT", "BY", "SUBMITTED", "WAITS FOR"]);
    for changeset in changesets {
        let open = items(changeset, "runs")
            .iter()
            .find(|run| matches!(text(run, "state"), "running" | "waiting_approval" | "queued"));
        table.row([
            text(changeset, "changeset_id").to_owned(),
            text(changeset, "state").to_owned(),
            printable(changeset, "revision"),
            printable(changeset, "agent_id"),
            text(changeset, "trigger").to_owned(),
            when(changeset, "created_at"),
            open.map(|run| format!("{} ({})", printable(run, "policy"), text(run, "state"))).unwrap_or_default(),
        ]);
    }
    Ok(table.write()?)
}

/// How agents and tiers fare.
pub fn metrics(answer: &Value) -> anyhow::Result<()> {
    let number = |value: &Value| value.as_f64().map_or_else(|| "-".into(), |number| format!("{number:.1}"));
    let rate = |value: &Value| value.as_f64().map_or_else(|| "-".into(), |rate| format!("{:.0} %", rate * 100.0));
    let mut agents = Table::new(Stream::Out, &["AGENT", "PASSED", "FAILED", "OPEN", "FIRST TIME", "MEDIAN SECONDS"]);
    for agent in items(answer, "agents") {
        agents.row([
            printable(agent, "agent_id"),
            shown(agent, "passed"),
            shown(agent, "failed"),
            shown(agent, "open"),
            rate(&agent["first_time_pass_rate"]),
            number(&agent["median_seconds"]),
        ]);
    }
    agents.write()?;
    output::print("")?;
    let mut tiers = Table::new(Stream::Out, &["TIER", "PASSED", "REUSED", "FAILED", "ERRORED", "MEDIAN SECONDS"]);
    for tier in items(answer, "tiers") {
        tiers.row([
            shown(tier, "tier"),
            shown(tier, "passed"),
            shown(tier, "reused"),
            shown(tier, "failed"),
            shown(tier, "errored"),
            number(&tier["median_seconds"]),
        ]);
    }
    Ok(tiers.write()?)
}

fn printable(answer: &Value, field: &str) -> String {
    output::printable(text(answer, field))
}
