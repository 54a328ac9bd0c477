//! `coordinator mcp`: serves one agent over standard input and output, which belong to the protocol.

use std::io::{self, IsTerminal};
use std::sync::Arc;

use crate::arguments::Globals;
use crate::desk::{block_on, open};
use crate::exit::{Exit, Trouble};
use crate::{logs, output};

/// Serves until the agent closes standard input.
pub fn run(globals: &Globals) -> anyhow::Result<Exit> {
    logs::start();
    let settings = globals.settings()?;
    if io::stdin().is_terminal() {
        output::tell(
            "This speaks MCP on standard input and output, for a coding agent to start. `coordinator serve` shows how to \
             connect one; Ctrl-D ends this.",
        );
    }
    block_on(async {
        let coordinator = Arc::new(open(settings).await?);
        ::mcp::serve_stdio(coordinator).await.map_err(|why| {
            Trouble::new(Exit::Refused, "connection_lost", format!("the agent's connection ended: {why}"))
        })?;
        Ok(Exit::Done)
    })
}
