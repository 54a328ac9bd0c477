//! An agent's connection to the coordinator: MCP over the pipes of a `coordinator mcp` child, as any coding agent's CLI
//! makes it.

use std::io::Write;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use rmcp::RoleClient;
use rmcp::model::{CallToolRequestParams, ClientCapabilities, ClientConfig, Implementation};
use rmcp::service::{RunningService, ServiceExt};
use rmcp::transport::TokioChildProcess;
use serde_json::{Map, Value, json};

use super::report::{Answer, Line, Report};

/// How long an agent queues for a lock, in seconds: longer than any demo.
const PATIENCE_SECONDS: u32 = 120;

/// The connection, and the reports of what goes through it.
pub struct Client {
    service: RunningService<RoleClient, ClientConfig>,
}

/// The coordinator took this agent for dead. Whatever it held may be another's.
#[derive(Debug)]
pub struct SessionLost;

impl std::fmt::Display for SessionLost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the session expired")
    }
}

impl std::error::Error for SessionLost {}

impl Client {
    /// Starts `coordinator mcp` in the current directory and shakes hands with it.
    ///
    /// # Errors
    /// When it cannot be started or does not answer.
    pub async fn connect(agent: &str) -> Result<Self> {
        let mut command = tokio::process::Command::new(std::env::current_exe()?);
        command.arg("mcp").env("AGENT_ID", agent);
        let child = TokioChildProcess::new(command).context("cannot start `coordinator mcp`")?;
        let me = Implementation::new("demo-agent", coordinator::VERSION);
        let service = ClientConfig::new(ClientCapabilities::default(), me)
            .serve(child)
            .await
            .context("`coordinator mcp` does not answer")?;
        Ok(Self { service })
    }

    /// Ends the connection, and the child with it.
    ///
    /// # Errors
    /// When the connection was lost before.
    pub async fn close(mut self) -> Result<()> {
        self.service.close().await?;
        Ok(())
    }

    /// Calls a tool that changes something.
    ///
    /// # Errors
    /// [`SessionLost`]; what the coordinator refuses in other ways; a broken connection.
    pub async fn call(&self, operation: &'static str, arguments: Value) -> Result<Value> {
        let arguments: Map<String, Value> = serde_json::from_value(arguments)?;
        let request = CallToolRequestParams::new(operation).with_arguments(arguments);
        let result = self.service.call_tool(request).await.context(operation)?;
        // An agent reads the text or the data, as its makers saw fit.
        let text =
            result.content.iter().filter_map(|block| block.as_text()).map(|block| block.text.chars().count()).sum();
        let answer = result.structured_content.unwrap_or_default();
        let characters = answer.to_string().chars().count().max(text);
        let success = answer["success"] == true;
        let token = answer["fencing_token"].as_i64().filter(|_| success);
        tell(Report::Answered { answer: Answer { operation: operation.into(), success, token }, characters })?;
        if answer["error"] == "session_expired" {
            return Err(SessionLost.into());
        }
        if result.is_error == Some(true) {
            bail!("{operation}: {answer}");
        }
        Ok(answer)
    }

    /// Locks all the keys at once; when one is taken, tells by whom and queues.
    ///
    /// # Errors
    /// As [`Self::call`]; a wait that was refused or is over.
    pub async fn lock(&self, keys: &[&str], reason: &str) -> Result<()> {
        let mut request = json!({"file_paths": keys, "reason": reason});
        let answer = self.call("acquire_lock", request.clone()).await?;
        if answer["success"] == true {
            return Ok(());
        }
        let obstacle = &answer["conflicts_with"][0];
        let key = text(&obstacle["file_path"]);
        tell(Report::Waits { key: key.clone(), held_by: text(&obstacle["locked_by"]) })?;
        request["wait_seconds"] = PATIENCE_SECONDS.into();
        let answer = self.call("acquire_lock", request).await?;
        if answer["success"] != true {
            bail!("no lock on {}: {}", keys.join(", "), text(&answer["message"]));
        }
        tell(Report::Granted { key })
    }
}

/// Tells the demo.
///
/// # Errors
/// When nobody listens any more.
pub fn tell(report: Report) -> Result<()> {
    let line = serde_json::to_string(&Line { at: Timestamp::now(), report })?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("the demo is gone")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
