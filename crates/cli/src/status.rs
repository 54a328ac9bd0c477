//! `coordinator status`: on one screen who is here, what is locked and awaited, what is queued and what was refused.

use std::collections::BTreeSet;

use coordinator::rules::Problem;
use model::locks::Waiter;
use model::work::TaskStatus;
use serde_json::{Map, Value, json};

use crate::desk::Desk;
use crate::exit::{Exit, Trouble};
use crate::fields::{items, text, when};
use crate::output::{self, Stream, Table};
use crate::{agents, audit, locks, work};

/// The most refusals worth a look.
const REFUSALS: u32 = 5;

/// Shows it.
pub async fn show(desk: &Desk) -> anyhow::Result<Exit> {
    let database = desk.coordinator.settings().database.describe();
    let agents = agents::connected(desk, None).await?;
    let locks = locks::locks(desk, &[]).await?;
    let waiters = desk.coordinator.store().waiters(desk.project()).await.map_err(Trouble::from)?;
    let waiters: Vec<Value> = waiters.iter().map(waiter).collect();
    let tasks = work::counts(desk).await?;
    let refusals = audit::refusals(desk, REFUSALS).await?;
    let rules = desk.coordinator.rules(desk.project()).await.map_err(Trouble::from)?;
    let broken: Vec<String> = rules.problems.iter().map(Problem::in_words).collect();

    let answer = json!({
        "database": database,
        "project": desk.project(),
        "agents": agents["agents"],
        "locks": locks,
        "waiters": waiters,
        "tasks": tasks.iter().map(|(status, count)| (status.as_str().to_owned(), json!(count))).collect::<Map<_, _>>(),
        "refusals": refusals["entries"],
        "broken_rules": broken,
    });
    desk.answer(&answer, |answer| {
        output::print(format_args!("database  {database}"))?;
        output::print(format_args!("project   {}", desk.project()))?;
        if !broken.is_empty() {
            output::print("")?;
            output::heading("broken rules (coordinator doctor says what to do)")?;
            broken.iter().try_for_each(|rule| output::print(output::printable(rule)))?;
        }
        let others = without_a_session(answer);
        let none = if others.is_empty() { "none here" } else { "none with a session" };
        section("agents", none, items(answer, "agents"), agents::table)?;
        if !others.is_empty() {
            output::print(format_args!("without a session, but with locks: {}", others.join(", ")))?;
        }
        section("locks", "nothing is locked", items(answer, "locks"), locks::table)?;
        if !waiters.is_empty() {
            section("waiting", "", &waiters, waiters_table)?;
        }
        output::print(format_args!("\ntasks: {}", counted(&tasks)))?;
        section("last refusals", "none", items(answer, "refusals"), audit::table)
    })
}

/// Who holds something and is no connected agent: a person at the command line, say.
fn without_a_session(answer: &Value) -> Vec<String> {
    let is_listed = |name: &str| items(answer, "agents").iter().any(|agent| text(agent, "agent_id") == name);
    let holders: BTreeSet<&str> = items(answer, "locks").iter().map(|lock| text(lock, "locked_by")).collect();
    holders.into_iter().filter(|name| !is_listed(name)).map(output::printable).collect()
}

fn section(name: &str, none: &str, rows: &[Value], table: impl FnOnce(&[Value]) -> Table) -> anyhow::Result<()> {
    output::print("")?;
    if rows.is_empty() {
        output::print(format_args!("{name}: {none}"))?;
    } else {
        output::heading(name)?;
        table(rows).write()?;
    }
    Ok(())
}

fn counted(tasks: &[(TaskStatus, usize)]) -> String {
    let each = tasks.iter().filter(|(_, count)| *count > 0).map(|(status, count)| match count {
        count if *count > work::ENOUGH => format!("over {} {}", work::ENOUGH, status.as_str()),
        count => format!("{count} {}", status.as_str()),
    });
    let each: Vec<String> = each.collect();
    if each.is_empty() { "none".to_owned() } else { each.join(", ") }
}

fn waiter(waiter: &Waiter) -> Value {
    json!({
        "agent_id": waiter.agent_id,
        "agent_type": waiter.agent_type,
        "file_paths": waiter.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "mode": waiter.mode,
        "reason": waiter.reason,
        "since": waiter.since,
    })
}

fn waiters_table(waiters: &[Value]) -> Table {
    let mut table = Table::new(Stream::Out, &["FOR", "AGENT", "MODE", "SINCE", "REASON"]);
    for waiter in waiters {
        let word = |field| text(waiter, field).to_owned();
        let paths: Vec<&str> = items(waiter, "file_paths").iter().filter_map(Value::as_str).collect();
        table.row([paths.join(" "), word("agent_id"), word("mode"), when(waiter, "since"), word("reason")]);
    }
    table
}
