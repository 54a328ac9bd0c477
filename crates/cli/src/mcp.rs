//! `coordinator mcp`: serves one agent over standard input and output, which belong to the protocol.

use std::io::{self, IsTerminal};
use std::sync::Arc;

use ::mcp::{Bridge, Target};
use coordinator::settings::Settings;

use crate::arguments::Globals;
use crate::desk::{block_on, open};
use crate::exit::{Exit, Trouble};
use crate::{logs, output};

/// What to serve the agent from.
#[derive(Debug, clap::Args)]
pub struct Mcp {
    /// Use a team's server at this address (or COORDINATION_API_URL), opened by COORDINATION_API_KEY, instead of the
    /// database
    #[arg(long, conflicts_with = "db")]
    url: Option<String>,
}

/// Serves until the agent closes standard input.
pub fn run(globals: &Globals, mcp: Mcp) -> anyhow::Result<Exit> {
    logs::start();
    let settings = globals.settings()?;
    if io::stdin().is_terminal() {
        output::tell(
            "This speaks MCP on standard input and output, for a coding agent to start. `coordinator serve` shows how to \
             connect one; Ctrl-D ends this.",
        );
    }
    let lost = |why| Trouble::new(Exit::Refused, "connection_lost", format!("the agent's connection ended: {why}"));
    block_on(async {
        match mcp.url.or_else(|| settings.api_url.clone().filter(|_| globals.db.is_none())) {
            Some(url) => bridge(settings, url)?.serve_stdio().await.map_err(lost)?,
            None => ::mcp::serve_stdio(Arc::new(open(settings).await?)).await.map_err(lost)?,
        }
        Ok(Exit::Done)
    })
}

fn bridge(settings: Settings, url: String) -> Result<Bridge, Trouble> {
    let key = settings.api_key.clone().ok_or_else(|| {
        Trouble::usage(
            "COORDINATION_API_KEY is not set: --url needs a key, which `coordinator keys create` makes there",
        )
    })?;
    let project = settings.named_project.clone();
    Bridge::new(settings, &Target { url, key, project }).map_err(Trouble::usage)
}
