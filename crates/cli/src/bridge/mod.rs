//! `coordinator bridge`: a coordinator over HTTP, for agents and scripts without MCP.
//!
//! It says what `scripts/coordination_bridge.py` says, in the same words: skills use whichever is there. A change here is a
//! change there; a test compares them. Whatever happens is an answer with a `status`, because a workflow never stops for
//! the coordinator: `ok` with its `response`, `error` when it refused the request, `skipped` when it is away.

mod address;
mod answer;
mod commands;
mod detect;
mod question;
mod server;

use serde_json::Value;

use crate::arguments::Globals;
use crate::desk::block_on;
use crate::exit::{Exit, Trouble};
use crate::{logs, output};

use commands::Command;
use server::Target;

/// Which coordinator, and what to ask of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints one JSON object; its status is ok, error (the coordinator refused the request) or skipped (nothing was done: it is
away, wants a key or does not offer this). Exit codes: 0 done, or skipped; 1 refused; 2 the command line is wrong.

The server is the one that is named first: by --http-url, by COORDINATION_API_URL, else
http://localhost:${AGENT_COORDINATOR_REST_PORT:-3000}. Only this machine and the hosts in COORDINATION_ALLOWED_HOSTS
(separated by commas) are contacted, and redirects are not followed. coordinator.toml may say the last two.")]
pub struct Bridge {
    /// The coordinator's address, in place of COORDINATION_API_URL
    #[arg(long, global = true, value_name = "URL")]
    http_url: Option<String>,
    /// The key; better in COORDINATION_API_KEY, which no list of processes shows
    #[arg(long, global = true, value_name = "KEY")]
    api_key: Option<String>,
    #[command(subcommand)]
    command: Command,
}

/// Asks, and prints the answer.
pub fn run(globals: &Globals, bridge: Bridge) -> anyhow::Result<Exit> {
    logs::start();
    if globals.db.is_some() {
        return Err(Trouble::usage("the bridge asks a server, which knows its database: leave --db out").into());
    }
    // Whom to ask and what to show is said in the environment: a repository must not send its agents' keys elsewhere. Which
    // of the hosts that the environment names are fine, it may say. What is wrong with its file is no reason to stop.
    let file = globals.settings().ok();
    let in_file = |name: &str| {
        let settings = file.as_ref()?;
        match name {
            "COORDINATION_ALLOWED_HOSTS" => Some(settings.allowed_hosts.join(",")),
            "AGENT_COORDINATOR_REST_PORT" => Some(settings.rest_port.to_string()),
            _ => None,
        }
    };
    let env = |name: &str| {
        let set = std::env::var_os(name).map(|value| value.to_string_lossy().trim().to_owned());
        set.filter(|value| !value.is_empty()).or_else(|| in_file(name))
    };
    let target = Target {
        http_url: bridge.http_url,
        api_key: bridge.api_key,
        project: globals.project.clone(),
        env: &|name| env(name).filter(|value| !value.is_empty()),
    };
    let answer = block_on(async {
        Ok(match bridge.command.question(target.env) {
            None => detect::detect(&target).await,
            Some(question) => answer::ask(&target, &question).await,
        })
    })?;
    output::json(&answer)?;
    Ok(exit(&answer))
}

/// Skipped is no failure: a script that goes on has understood it.
fn exit(answer: &Value) -> Exit {
    let refused = answer["status"] == "error" || answer["response"]["success"] == false;
    if refused { Exit::Refused } else { Exit::Done }
}

/// The environment: a variable that is empty is not set.
type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Why nothing was done: a stable code, a sentence, and a library's own words where there are any.
#[derive(Debug)]
struct Skip {
    reason: String,
    message: String,
    detail: Option<String>,
}

impl Skip {
    fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), message: message.into(), detail: None }
    }

    fn because(self, error: &(dyn std::error::Error + 'static)) -> Self {
        let causes = std::iter::successors(Some(error), |error| error.source());
        let detail = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        Self { detail: Some(detail), ..self }
    }
}

/// Who acts when nobody is named.
const UNNAMED_ID: &str = "cloud-agent";
/// Its type.
const UNNAMED_TYPE: &str = "cloud_agent";

/// What an agent without a name should know.
fn unnamed_warning() -> String {
    format!("AGENT_ID is not set: you act as {UNNAMED_ID}, like every other agent without a name")
}
