//! `coordinator hook`: answers an event of a coding agent's client.
//!
//! Its exit code is never 2, which clients take for a denial: a set-up that is wrong must not stop an agent.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use hooks::clients::Client;
use hooks::hook::{Surroundings, answer};

use crate::arguments::Globals;
use crate::exit::{Exit, Trouble};
use crate::radar;

/// The most that is read, in bytes: an event holds the whole of a file that is written.
const INPUT_LIMIT: u64 = 64 * 1024 * 1024;

/// Which event.
#[derive(Debug, clap::Args)]
pub struct Hook {
    /// Whose: claude, codex or gemini
    client: String,
    /// Its name, as the client has it, such as PreToolUse; what the client says of it is read from standard input
    event: String,
}

/// Answers it.
pub fn run(globals: &Globals, hook: &Hook) -> anyhow::Result<Exit> {
    let wrong = |message: String| Trouble::new(Exit::Refused, "bad_hook", message);
    let Some(client) = Client::by_name(&hook.client) else {
        let names: Vec<&str> = Client::ALL.into_iter().map(Client::name).collect();
        return Err(wrong(format!("there is no client {:?}; there are {}", hook.client, names.join(", "))).into());
    };
    let mut input = vec![];
    io::stdin().take(INPUT_LIMIT).read_to_end(&mut input)?;
    let named = ["CLAUDE_PROJECT_DIR", "GEMINI_PROJECT_DIR"].into_iter().find_map(std::env::var_os);
    let project = named.map(PathBuf::from).or_else(|| std::env::current_dir().ok());
    let settings = |directory: &std::path::Path| globals.settings_at(directory, &[]);
    let look_at_branches = |directory: &std::path::Path| radar::in_background(globals, directory);
    let home = std::env::var("HOME").ok();
    let around = Surroundings { settings: &settings, home, project, look_at_branches: &look_at_branches };
    let reply = answer(client, &hook.event, &input, &around).map_err(wrong)?;
    if !reply.stdout.is_empty() {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", reply.stdout)?;
        out.flush()?;
    }
    Ok(Exit::Done)
}
