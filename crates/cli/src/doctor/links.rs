//! Whether the agents are really linked with us: their configuration is used as they would use it.

use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use coordinator::VERSION;
use serde_json::{Value, json};
use setup::vendor::sample::Answer;
use setup::vendor::{Agent, Configured, Server};
use setup::{Disk, Place, Scope};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::{Finding, PATIENCE, ms};
use crate::exit::Exit;
use crate::init::ground::Ground;

/// An agent that is set up in a place.
pub struct Link {
    agent: Agent,
    place: Place,
    configured: Result<Configured, String>,
}

impl Link {
    /// Those of this project, and those of the user.
    pub fn all() -> Vec<Self> {
        let places = [Scope::Project, Scope::User].into_iter().filter_map(|scope| Ground::find(scope).ok());
        let links = places.flat_map(|ground| {
            Agent::ALL.map(|agent| {
                let configured = agent.configured(&ground.place, &Disk);
                Self { agent, place: ground.place.clone(), configured }
            })
        });
        links.filter(Self::is_made).collect()
    }

    fn is_made(&self) -> bool {
        self.configured.as_ref().map_or(true, |it| it.server.is_some() || !it.hooks.is_empty())
    }

    /// The agent.
    pub fn agent(&self) -> Agent {
        self.agent
    }

    /// For whom it is set up.
    pub fn scope(&self) -> Scope {
        self.place.scope
    }

    /// Uses it.
    pub async fn check(&self) -> Vec<Finding> {
        let configured = match &self.configured {
            Ok(configured) => configured,
            Err(why) => {
                let todo = format!("mend that file; then: {}", self.how_to_set_up());
                return vec![Finding::fail(self.name("mcp"), Exit::Usage, why, todo)];
            }
        };
        let mut findings = vec![self.server(configured.server.as_ref()).await, self.hooks(configured).await];
        let steps = self.agent.steps(&self.place, &Disk);
        if !steps.is_empty() {
            let found = format!("{} waits for your word, which it asks for once", self.agent);
            findings.push(Finding::warn(self.name("you"), found, steps.join("\n")));
        }
        findings
    }

    /// The name of a check of it.
    pub fn name(&self, of: &str) -> String {
        format!("{} {of}", self.agent.name())
    }

    fn how_to_set_up(&self) -> String {
        let scope = if self.place.scope == Scope::User { " --scope user" } else { "" };
        format!("coordinator init --agents {}{scope}", self.agent.name())
    }

    async fn server(&self, server: Option<&Server>) -> Finding {
        let check = self.name("mcp");
        let Some(server) = server else {
            let found = format!("{} has hooks of ours, and no MCP server", self.agent);
            return Finding::fail(check, Exit::Usage, found, self.how_to_set_up());
        };
        let started = Instant::now();
        let mut command = Command::new(&server.command);
        command.args(&server.args).envs(server.env.iter().cloned()).current_dir(&self.place.root);
        let said = match timeout(PATIENCE, list_tools(&mut command)).await {
            Ok(Ok(said)) => {
                return Finding::ok(check, format!("{said}, {} after {} started it", ms(started), self.agent));
            }
            Ok(Err(why)) => why,
            Err(_) => format!("no answer within {PATIENCE:?}"),
        };
        let found = format!("`{} {}` does not work: {said}", server.command, server.args.join(" "));
        Finding::fail(check, Exit::Unreachable, found, self.how_to_set_up())
    }

    async fn hooks(&self, configured: &Configured) -> Finding {
        let check = self.name("hook");
        if !configured.outdated.is_empty() {
            let events = configured.outdated.join(", ");
            let found = format!("these events do not reach this version: {events}");
            return Finding::fail(check, Exit::Usage, found, self.how_to_set_up());
        }
        let started = Instant::now();
        for (command, expected) in [("git status", Answer::GoOn), ("git push --force", Answer::Deny)] {
            let (event, told) = self.agent.before_command(&self.place, command);
            let Some((_, line)) = configured.hooks.iter().find(|(name, _)| name == event) else { continue };
            let found = match timeout(PATIENCE, fire(line, &self.place.root, &told)).await {
                Ok(Ok((exit, said))) => match self.agent.reads(exit, &said) {
                    Ok(answer) if answer == expected => continue,
                    Ok(Answer::GoOn) => format!("`{line}` lets `{command}` through"),
                    Ok(Answer::Deny) => format!("`{line}` denies `{command}`, which nobody forbade: {}", said.trim()),
                    Err(why) => format!("`{line}` is of no use to {}: {why}", self.agent),
                },
                Ok(Err(why)) => format!("`{line}` cannot be run: {why}"),
                Err(_) => format!("`{line}` gives no answer within {PATIENCE:?}"),
            };
            let todo = format!("run it by hand to see what it says, or set it up anew: {}", self.how_to_set_up());
            return Finding::fail(check, Exit::Unreachable, found, todo);
        }
        let events = configured.hooks.len();
        Finding::ok(check, format!("{events} events; a forced push is denied, a look is not ({})", ms(started)))
    }
}

/// Runs a hook as agents do: a line for the shell, the event on its standard input.
async fn fire(line: &str, directory: &Path, told: &Value) -> Result<(Option<i32>, String), String> {
    let mut child = Command::new("sh")
        .args(["-c", line])
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| error.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read it answers all the same, or does not.
        let _ = stdin.write_all(told.to_string().as_bytes()).await;
    }
    let output = child.wait_with_output().await.map_err(|error| error.to_string())?;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// Starts an MCP server, asks who it is and what tools it has, and tells.
pub async fn list_tools(command: &mut Command) -> Result<String, String> {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("it cannot be started: {error}"))?;
    let (Some(mut stdin), Some(stdout), Some(mut stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err("it has no standard streams".into());
    };
    let mut answers = BufReader::new(stdout);
    let initialize = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "coordinator-doctor", "version": VERSION},
        },
    });
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
    // Should it have ended already, its answers tell more than an error here would.
    let _ = stdin.write_all(format!("{initialize}\n").as_bytes()).await;
    let server = answer(&mut answers).await["result"]["serverInfo"].clone();
    let _ = stdin.write_all(format!("{ready}\n{list}\n").as_bytes()).await;
    let tools = answer(&mut answers).await["result"]["tools"].as_array().map(Vec::len);
    drop(stdin);
    match (server["name"].as_str(), tools) {
        (Some(name), Some(tools)) => {
            Ok(format!("{name} {} with {tools} tools", server["version"].as_str().unwrap_or_default()))
        }
        _ => {
            let mut said = String::new();
            let _ = stderr.read_to_string(&mut said).await;
            Err(format!("it does not answer; it says: {}", said.trim()))
        }
    }
}

async fn answer(answers: &mut (impl AsyncBufReadExt + Unpin)) -> Value {
    let mut line = String::new();
    let _ = answers.read_line(&mut line).await;
    serde_json::from_str(&line).unwrap_or_default()
}
