//! The demo's hold on its agents: each a process group of its own, so that it can be killed together with its MCP child.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

use super::agent;
use super::report::Line;

/// The silence after which a session ends, and a claim lapses, in seconds.
pub const LEASE_SECONDS: u32 = 3;

/// The kind that the agents say they are of.
const AGENT_TYPE: &str = "demo_agent";

/// What is heard from the agents.
pub enum Heard {
    /// Agent number so-and-so says something.
    Line(usize, Line),
    /// Agent number so-and-so says nothing any more.
    Silence(usize),
}

/// A running agent.
pub struct Member {
    child: Child,
    /// Open as long as the agent is to go on.
    stdin: Option<ChildStdin>,
    log: PathBuf,
}

impl Member {
    /// Starts agent number `index` in its work tree; what it says comes through `heard`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        index: usize,
        name: &str,
        worktree: &Path,
        main: &Path,
        log: PathBuf,
        heard: mpsc::UnboundedSender<Heard>,
    ) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        without_settings(&mut command);
        command
            .args([agent::SUBCOMMAND, "--name", name, "--main"])
            .arg(main)
            .envs(settings())
            .current_dir(worktree)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .process_group(0);
        let mut child = command.spawn().context("cannot start an agent")?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("an agent without standard output")?;
        tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(text)) = lines.next_line().await {
                if let Ok(line) = serde_json::from_str(&text) {
                    // Nobody listens any more when the demo is over.
                    let _ = heard.send(Heard::Line(index, line));
                }
            }
            let _ = heard.send(Heard::Silence(index));
        });
        Ok(Self { child, stdin, log })
    }

    /// Kills the agent and all that it started.
    ///
    /// # Errors
    /// When there is no `kill` program, or nothing to kill.
    pub async fn kill(&mut self) -> Result<ExitStatus> {
        kill_group(self.child.id()).context("cannot kill an agent")?;
        Ok(self.child.wait().await?)
    }

    /// Tells it to end when it has nothing to do.
    pub fn dismiss(&mut self) {
        self.stdin = None;
    }

    /// How it ended; `None` when it would not within the time.
    pub async fn ended(&mut self, within: std::time::Duration) -> Option<ExitStatus> {
        tokio::time::timeout(within, self.child.wait()).await.ok()?.ok()
    }

    /// What it and its MCP child wrote to standard error.
    pub fn complaints(&self) -> String {
        match std::fs::read_to_string(&self.log) {
            Ok(text) if text.trim().is_empty() => "it did not say why".into(),
            Ok(text) => text.trim().to_owned(),
            Err(error) => format!("why cannot be read: {error}"),
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It has no id once it was waited for.
        let _ = kill_group(self.child.id());
    }
}

/// Kills the process group of this leader, who has not been waited for: its id cannot be another's yet.
fn kill_group(leader: Option<u32>) -> Result<()> {
    let leader = leader.context("it has ended already")?;
    let status = std::process::Command::new("kill")
        .args(["-KILL", "--", &format!("-{leader}")])
        .stderr(Stdio::null())
        .status()
        .context("the demo needs the kill program")?;
    anyhow::ensure!(status.success(), "kill says {status}");
    Ok(())
}

/// How it ended, in words.
pub fn ending(status: Option<ExitStatus>) -> String {
    match status.map(|status| (status.code(), status.signal())) {
        Some((Some(code), _)) => format!("exit code {code}"),
        Some((_, Some(signal))) => format!("signal {signal}"),
        Some(_) | None => "no end".into(),
    }
}

/// The coordinator's settings in the demo.
pub fn settings() -> [(&'static str, String); 4] {
    [
        ("AGENT_TYPE", AGENT_TYPE.into()),
        ("LOCK_TTL_MINUTES", "10".into()),
        ("SESSION_TTL_SECONDS", LEASE_SECONDS.to_string()),
        ("TASK_LEASE_SECONDS", LEASE_SECONDS.to_string()),
    ]
}

/// Takes the user's own settings away: the demo has its own database.
fn without_settings(command: &mut Command) {
    const PREFIXES: &[&str] = &[
        "AGENT_",
        "API_",
        "COORDINATION_",
        "COORDINATOR_",
        "DB_",
        "GIT_",
        "POLICY_",
        "POSTGRES_",
        "SESSION_",
        "SUPABASE_",
    ];
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
}
