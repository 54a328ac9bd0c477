//! `coordinator agents`: who is here.

use serde_json::{Value, json};

use crate::desk::Desk;
use crate::exit::{Exit, Trouble};
use crate::fields::{items, text, when};
use crate::output::{self, Stream, Table};

/// Whom to list.
#[derive(Debug, clap::Args)]
pub struct Agents {
    /// Also those that were disconnected, and who is absent of the team
    #[arg(long)]
    all: bool,
    /// Only those that can do this
    #[arg(long, value_name = "NAME")]
    capability: Option<String>,
}

/// Lists them.
pub async fn list(desk: &Desk, agents: Agents) -> anyhow::Result<Exit> {
    let mut answer = connected(desk, agents.capability.as_deref()).await?;
    if agents.all {
        let request = json!({"capability": agents.capability, "status": "disconnected"});
        let gone = desk.ask("discover_agents", request).await?;
        if let Some(all) = answer["agents"].as_array_mut() {
            all.extend_from_slice(items(&gone, "agents"));
        }
    }
    desk.answer(&answer, |answer| {
        let agents = items(answer, "agents");
        if agents.is_empty() {
            output::print("No agent is here.")?;
            return Ok(());
        }
        Ok(table(agents).write()?)
    })
}

/// The agents that are here.
pub async fn connected(desk: &Desk, capability: Option<&str>) -> Result<Value, Trouble> {
    let mut answer = desk.ask("discover_agents", json!({"capability": capability})).await?;
    if let Some(agents) = answer["agents"].as_array_mut() {
        agents.retain(|agent| agent["status"] != "disconnected");
    }
    Ok(answer)
}

/// Agents as a table.
pub fn table(agents: &[Value]) -> Table {
    let mut table = Table::new(Stream::Out, &["AGENT", "TYPE", "ROLE", "STATUS", "SEEN", "CAN", "WORKS ON"]);
    for agent in agents {
        let word = |field| text(agent, field).to_owned();
        let can: Vec<&str> = items(agent, "capabilities").iter().filter_map(Value::as_str).collect();
        let seen = when(agent, "last_heartbeat");
        let (kind, role, status) = (word("agent_type"), word("role"), word("status"));
        table.row([word("agent_id"), kind, role, status, seen, can.join(" "), word("current_task")]);
    }
    table
}
