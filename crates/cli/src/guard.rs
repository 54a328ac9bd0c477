//! `coordinator guard`: what would this command destroy, send or give away? Needs no database.

use std::time::Instant;

use guardrails::{Decision, Guard, PROFILES, Packs, Request, Trust, Verdict};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::arguments::Globals;
use crate::desk::at_desk;
use crate::exit::{Exit, Trouble};
use crate::{guard_packs, lines, output};

/// What to check.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    override_usage = "coordinator guard [OPTIONS] COMMAND\n       coordinator guard [OPTIONS] --jsonl\n       coordinator guard packs"
)]
pub struct Check {
    #[command(subcommand)]
    rules: Option<Rules>,
    /// The command, as one word; SQL works too
    #[arg(required_unless_present = "jsonl", conflicts_with = "jsonl")]
    command: Option<String>,
    /// The directory it would start in
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// The home directory of whoever would run it
    #[arg(long, value_name = "DIR", env = "HOME", hide_env_values = true)]
    home: Option<String>,
    /// Judge as for an agent of this profile, or with trust 0 to 4
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// Read {"id", "command"} lines from standard input and answer each with a line
    #[arg(long)]
    jsonl: bool,
    /// Also apply the rules of this file
    #[arg(long, value_name = "FILE")]
    pack: Vec<std::path::PathBuf>,
    /// Leave a pack of rules out
    #[arg(long, value_name = "NAME")]
    without: Vec<String>,
}

/// The project's rules, instead of a check.
#[derive(Debug, clap::Subcommand)]
enum Rules {
    /// List, add, remove and switch off the packs of rules of the project
    #[command(subcommand)]
    Packs(guard_packs::Packs),
}

/// A line of input.
#[derive(Debug, Deserialize)]
struct Line {
    id: serde_json::Value,
    command: String,
    #[serde(default)]
    cwd: Option<String>,
    #[serde(default)]
    home: Option<String>,
    #[serde(default)]
    profile: Option<String>,
}

/// Checks it.
pub fn run(globals: &Globals, mut check: Check) -> anyhow::Result<Exit> {
    if let Some(Rules::Packs(packs)) = check.rules.take() {
        return at_desk(globals, async |desk| guard_packs::run(desk, packs).await);
    }
    let check = &check;
    let trust = check.profile.as_deref().map(trust).transpose()?;
    let guard = guard(check)?;
    if check.jsonl {
        return lines::answer_each(|text, number| answer(&guard, check, trust, text, number));
    }
    let command = check.command.as_deref().unwrap_or_default();
    let request =
        Request { command, cwd: check.cwd.as_deref(), home: check.home.as_deref(), trust, ..Request::default() };
    let verdict = guard.check(&request);
    if globals.json {
        output::json(&serde_json::to_value(&verdict)?)?;
    } else {
        output::print(in_words(&verdict))?;
    }
    Ok(if verdict.is_safe() { Exit::Done } else { Exit::Refused })
}

fn guard(check: &Check) -> anyhow::Result<Guard> {
    let mut packs = Packs::default();
    for name in &check.without {
        if !Packs::names().any(|known| known == name) {
            let all: Vec<&str> = Packs::names().collect();
            return Err(Trouble::usage(format!("there is no pack {name:?}; the packs are {}", all.join(", "))).into());
        }
        packs = packs.without(name);
    }
    for path in &check.pack {
        let source = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Trouble::usage(format!("the pack {source} cannot be read: {error}")))?;
        packs = packs.with(source, text);
    }
    Guard::new(&packs).map_err(|bad| Trouble::new(Exit::Usage, "bad_pack", bad.to_string()).into())
}

/// The trust that a profile's name or a number stands for.
fn trust(profile: &str) -> Result<Trust, Trouble> {
    let level = profile.parse().ok().and_then(Trust::new).or_else(|| Trust::of_profile(profile));
    level.ok_or_else(|| {
        let names: Vec<&str> = PROFILES.iter().map(|(name, _)| *name).collect();
        Trouble::usage(format!("there is no profile {profile:?}; say one of {}, or 0 to 4", names.join(", ")))
    })
}

/// The answer to a line.
fn answer(
    guard: &Guard,
    check: &Check,
    trust_of_all: Option<Trust>,
    text: &str,
    number: usize,
) -> anyhow::Result<Value> {
    let line: Line = serde_json::from_str(text).map_err(|error| {
        Trouble::usage(format!("line {number} of standard input is no {{\"id\", \"command\"}}: {error}"))
    })?;
    let trust = line.profile.as_deref().map(trust).transpose()?.or(trust_of_all);
    let request = Request {
        command: &line.command,
        cwd: line.cwd.as_deref().or(check.cwd.as_deref()),
        home: line.home.as_deref().or(check.home.as_deref()),
        trust,
        ..Request::default()
    };
    let start = Instant::now();
    let verdict = guard.check(&request);
    let us = start.elapsed().as_micros();
    let mut rules: Vec<&str> = verdict.violations.iter().map(|violation| violation.rule.as_str()).collect();
    rules.dedup();
    Ok(json!({"id": line.id, "verdict": verdict.decision, "rules": rules, "reason": verdict.reason(), "us": us as u64}))
}

/// The verdict for people.
fn in_words(verdict: &Verdict) -> String {
    let tint = match verdict.decision {
        Decision::Allow => output::Tint::Green,
        Decision::Warn | Decision::Ask => output::Tint::Yellow,
        Decision::Block => output::Tint::Red,
    };
    let mut text = output::tinted(&verdict.decision.to_string(), tint);
    if verdict.violations.is_empty() {
        text.push_str(&format!(": {}", verdict.reason()));
    }
    for violation in &verdict.violations {
        let span = &violation.span;
        text.push_str(&format!(
            "\n\n{}  {}  ({}, {})",
            violation.decision, violation.rule, violation.category, violation.severity
        ));
        text.push_str(&format!(
            "\n  what      {}  [bytes {}..{}]",
            output::printable(&violation.matched_text),
            span.start,
            span.end
        ));
        if !violation.reached.is_empty() {
            text.push_str(&format!("\n  run by    {}", output::printable(&violation.reached.join(" > "))));
        }
        text.push_str(&format!("\n  why       {}\n  instead   {}", violation.reason, violation.suggestion));
    }
    text
}
