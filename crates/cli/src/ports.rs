//! `coordinator ports`: four ports for each session, so that work trees run their services side by side.

use clap::Subcommand;
use coordinator::agent::derived_name;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::exit::Exit;
use crate::fields::{distance, items, shown, text, when};
use crate::output::{self, Stream, Table};

/// What to do with ports.
#[derive(Debug, Subcommand)]
pub enum Ports {
    /// Get four ports, or those that the session has already
    Allocate {
        /// A name for whose they are (default: SESSION_ID, or you in this work tree)
        session: Option<String>,
        /// Print lines for a shell: eval "$(coordinator ports allocate --export)"
        #[arg(long)]
        export: bool,
    },
    /// Give them back
    Release {
        /// As it was allocated
        session: Option<String>,
    },
    /// List who has which
    Status,
}

/// Does it.
pub async fn run(desk: &Desk, ports: Ports) -> anyhow::Result<Exit> {
    match ports {
        Ports::Allocate { session, export } => allocate(desk, session, export).await,
        Ports::Release { session } => release(desk, session).await,
        Ports::Status => status(desk).await,
    }
}

async fn allocate(desk: &Desk, session: Option<String>, export: bool) -> anyhow::Result<Exit> {
    let answer = desk.ask("allocate_ports", json!({"session_id": session_of(desk, session)})).await?;
    desk.answer(&answer, |answer| {
        if answer["success"] == false {
            output::complain(text(answer, "message"));
            return Ok(());
        }
        if export {
            return Ok(output::print(text(answer, "env_snippet"))?);
        }
        let allocation = &answer["allocation"];
        let mut table = Table::headless(Stream::Out);
        for (name, field) in [
            ("session", "session_id"),
            ("db", "db_port"),
            ("rest", "rest_port"),
            ("realtime", "realtime_port"),
            ("api", "api_port"),
            ("compose project", "compose_project_name"),
        ] {
            table.row([name.to_owned(), shown(allocation, field)]);
        }
        table.row(["ends".to_owned(), format!("in {} unless asked for again", distance(answer, "expires_at"))]);
        Ok(table.write()?)
    })
}

async fn release(desk: &Desk, session: Option<String>) -> anyhow::Result<Exit> {
    let answer = desk.ask("release_ports", json!({"session_id": session_of(desk, session)})).await?;
    desk.answer(&answer, |answer| {
        let had = if answer["released"] == true { "released the ports of" } else { "no ports were taken by" };
        Ok(output::print(output::printable(&format!("{had} {}", text(answer, "session_id"))))?)
    })
}

async fn status(desk: &Desk) -> anyhow::Result<Exit> {
    let answer = desk.ask("ports_status", json!({})).await?;
    desk.answer(&answer, |answer| {
        let allocations = items(answer, "allocations");
        if allocations.is_empty() {
            output::print("No session has ports.")?;
        } else {
            table(allocations).write()?;
        }
        output::tell(format_args!("{} more can be had.", shown(answer, "free")));
        Ok(())
    })
}

fn table(allocations: &[Value]) -> Table {
    let mut table = Table::new(Stream::Out, &["DB", "REST", "REALTIME", "API", "ENDS", "AGENT", "SESSION"]);
    for held in allocations {
        let ports = ["db_port", "rest_port", "realtime_port", "api_port"].map(|port| shown(held, port));
        let rest = [when(held, "expires_at"), text(held, "agent_id").to_owned(), text(held, "session_id").to_owned()];
        table.row(ports.into_iter().chain(rest));
    }
    table
}

/// The session that is named, or the one whose environment this is, or the work tree's: there it is the same each time.
fn session_of(desk: &Desk, named: Option<String>) -> String {
    let settings = desk.coordinator.settings();
    let environment = || settings.session_id.clone().map(String::from);
    let here = || derived_name(desk.caller.agent_id.as_str(), settings.worktree.as_deref());
    named.or_else(environment).unwrap_or_else(here)
}
