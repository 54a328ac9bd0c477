//! The MCP door: a `coordinator mcp` process of the client's own, spoken to in JSON-RPC lines.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use serde_json::{Value, json};

use super::door::{Connection, Door, Reply};
use super::{AGENT_TYPE, Identity, Launch};

/// A process that takes longer than this to say hello hangs.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A process that takes longer than this to end after its input did hangs.
const END_LIMIT: Duration = Duration::from_secs(15);

/// The process ended unasked, or hung.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Crash(String);

/// The process behind the door, for whoever wants to kill it.
pub type Server = Arc<Mutex<Option<Child>>>;

/// A client of its own process.
pub struct StdioDoor {
    identity: Identity,
    launch: Launch,
    server: Server,
    pipes: Option<Pipes>,
    /// How many processes there were.
    started: u32,
    requests: u64,
}

struct Pipes {
    input: ChildStdin,
    lines: Receiver<String>,
}

impl StdioDoor {
    /// Nothing is started yet.
    pub fn new(identity: Identity, launch: Launch) -> Self {
        Self { identity, launch, server: Server::default(), pipes: None, started: 0, requests: 0 }
    }

    /// The process, which is another one after each [`connect`](Door::connect) that says so.
    pub fn process(&self) -> Server {
        self.server.clone()
    }

    fn start(&mut self) -> anyhow::Result<()> {
        self.started += 1;
        let log = std::fs::File::options().append(true).create(true).open(&self.launch.log)?;
        let mut command = Command::new(&self.launch.program);
        command.args(&self.launch.arguments).current_dir(&self.launch.directory).env_clear();
        command.envs(self.launch.environment.iter().map(|(name, value)| (name, value)));
        command.envs([("AGENT_ID", self.identity.agent.as_str()), ("AGENT_TYPE", AGENT_TYPE)]);
        command.env("SESSION_ID", self.session());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let input = child.stdin.take().context("the server's input")?;
        let output = child.stdout.take().context("the server's output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // Ends with the process, or with the client's interest in it.
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        self.pipes = Some(Pipes { input, lines });
        let hello = json!({
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "faults", "version": "1"},
        });
        self.request("initialize", &hello, START_LIMIT)?;
        self.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
    }

    /// Closes the process's input, as a client that leaves, and tells how it ended, if it did in good time.
    fn end(&mut self) -> Option<ExitStatus> {
        self.pipes = None;
        let mut child = self.server.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let until = Instant::now() + END_LIMIT;
        loop {
            match child.try_wait() {
                Ok(None) if Instant::now() < until => sleep(Duration::from_millis(5)),
                Ok(Some(status)) => return Some(status),
                _ => break,
            }
        }
        // It is ours, and of no use any more.
        let _ = child.kill();
        let _ = child.wait();
        None
    }

    fn request(&mut self, method: &str, parameters: &Value, patience: Duration) -> anyhow::Result<Value> {
        self.requests += 1;
        let id = self.requests;
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": parameters}))?;
        let pipes = self.pipes.as_ref().context("not connected")?;
        let until = Instant::now() + patience;
        loop {
            let line = pipes
                .lines
                .recv_timeout(until.saturating_duration_since(Instant::now()))
                .map_err(|error| anyhow!("no answer from the process: {error}"))?;
            let message: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            if message["id"] == id {
                return Ok(message);
            }
        }
    }

    fn say(&mut self, message: &Value) -> anyhow::Result<()> {
        let input = &mut self.pipes.as_mut().context("not connected")?.input;
        let mut line = message.to_string();
        line.push('\n');
        Ok(input.write_all(line.as_bytes())?)
    }
}

impl Door for StdioDoor {
    fn connect(&mut self) -> anyhow::Result<Connection> {
        if self.pipes.is_some() {
            return Ok(Connection::Same);
        }
        match self.start() {
            Ok(()) => Ok(Connection::New),
            Err(error) => match self.end() {
                // Killed before it could say hello.
                Some(status) if status.signal() == Some(9) => Err(error),
                Some(status) => Err(error.context(Crash(format!("the process would not start: {status}")))),
                None => Err(error.context(Crash("the process hung while it started".into()))),
            },
        }
    }

    fn call(&mut self, operation: &str, arguments: &Value, patience: Duration) -> Reply {
        let message = match self.request("tools/call", &json!({"name": operation, "arguments": arguments}), patience) {
            Ok(message) => message,
            Err(error) => {
                return match self.end() {
                    Some(status) if status.signal() == Some(9) => Reply::Unknown(format!("{error:#}")),
                    Some(status) => Reply::Broken(format!("{operation}: {error:#}; the process ended: {status}")),
                    None => Reply::Broken(format!("{operation}: {error:#}; the process hung")),
                };
            }
        };
        let (result, answer) = (&message["result"], message["result"]["structuredContent"].clone());
        if !answer.is_object() {
            return Reply::Broken(format!("{operation} {arguments}: {message}"));
        }
        match (result["isError"] == true, answer["error"].as_str().unwrap_or_default()) {
            // A list comes wrapped, because structured content must be an object.
            (false, _) if operation == "check_locks" => Reply::Done(answer["result"].clone()),
            (false, _) => Reply::Done(answer),
            (true, "database_unavailable") => Reply::Unknown(answer.to_string()),
            (true, "internal_error" | "") => Reply::Broken(format!("{operation} {arguments}: {message}")),
            (true, _) => Reply::Refused(answer),
        }
    }

    fn session(&self) -> String {
        format!("{}-{}", self.identity.session, self.started)
    }

    fn takes_any_field(&self) -> bool {
        false
    }

    fn server(&self) -> Option<u32> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Child::id)
    }
}

impl Drop for StdioDoor {
    fn drop(&mut self) {
        self.end();
    }
}
