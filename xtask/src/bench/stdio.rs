//! The load over MCP: one agent that talks to a `coordinator mcp` of its own through pipes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::programs::{Launch, see_off};

/// Calls that are not counted: they open the session and fill what is filled once.
const WARM_UP: u32 = 5;

const ACQUIRE: &str = r#"{"name":"acquire_lock","arguments":{"file_path":"src/module_1/file_1.rs"}}"#;
const RELEASE: &str = r#"{"name":"release_lock","arguments":{"file_path":"src/module_1/file_1.rs"}}"#;
const INITIALIZE: &str =
    r#"{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}"#;

/// A process that has answered `initialize`.
pub struct Agent {
    child: Child,
    /// Taken away to end the process.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    requests: u64,
    answer: String,
}

impl Agent {
    /// Starts a process, and tells how long it took until it had answered `initialize`.
    pub fn start(launch: &Launch) -> anyhow::Result<(Self, Duration)> {
        let mut command = launch.command();
        command.arg("mcp").env("AGENT_ID", "agent-1").env("AGENT_TYPE", "bench");
        let begin = Instant::now();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("the process's output")?);
        let mut agent = Self { child, input, output, requests: 0, answer: String::new() };
        agent.request("initialize", INITIALIZE)?;
        let took = begin.elapsed();
        ensure!(agent.answer.contains("serverInfo"), "initialize: {}", agent.answer);
        agent.say("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n")?;
        Ok((agent, took))
    }

    /// How long each call takes while a lock is taken and given back.
    pub fn call_times(&mut self, seconds: u64) -> anyhow::Result<Vec<Duration>> {
        for _ in 0..WARM_UP {
            self.call(ACQUIRE)?;
            self.call(RELEASE)?;
        }
        let start = Instant::now();
        let mut times = vec![];
        while start.elapsed() < Duration::from_secs(seconds) {
            times.push(self.call(ACQUIRE)?);
            times.push(self.call(RELEASE)?);
        }
        Ok(times)
    }

    fn call(&mut self, what: &str) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        self.request("tools/call", what)?;
        let took = begin.elapsed();
        ensure!(self.answer.contains(r#""success":true"#), "no success:\n{what}\n{}", self.answer);
        Ok(took)
    }

    /// Leaves the answer in `answer`. The server says nothing that it is not asked for.
    fn request(&mut self, method: &str, parameters: &str) -> anyhow::Result<()> {
        self.requests += 1;
        let id = self.requests;
        self.say(&format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{parameters}}}\n"))?;
        self.answer.clear();
        self.output.read_line(&mut self.answer)?;
        ensure!(!self.answer.is_empty(), "{method}: the process ended without an answer");
        Ok(())
    }

    fn say(&mut self, line: &str) -> anyhow::Result<()> {
        Ok(self.input.as_mut().context("the process's input")?.write_all(line.as_bytes())?)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // The end of its input is what ends it.
        self.input = None;
        see_off(&mut self.child);
    }
}
