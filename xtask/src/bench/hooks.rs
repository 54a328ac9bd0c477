//! How long a hook takes, from the start of its process to its end, while a crowd of agents is at work on one SQLite file.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};

/// How many agents are at work.
pub const AGENTS: usize = 30;
/// How often each of them calls a tool: more often than models do.
const EVERY: Duration = Duration::from_millis(1000);

/// An agent in a work tree of its own.
struct Agent<'a> {
    program: &'a Path,
    tree: PathBuf,
    number: usize,
}

impl Agent<'_> {
    /// The whole of a hook's process.
    fn hook(&self, event: &str, mut said: Value) -> anyhow::Result<Duration> {
        said["session_id"] = format!("bench-{}", self.number).into();
        said["cwd"] = self.tree.display().to_string().into();
        let mut hook = Command::new(self.program);
        hook.args(["hook", "claude", event])
            .current_dir(&self.tree)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|p| ("PATH", p)));
        let begun = Instant::now();
        let mut child = hook.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        child.stdin.take().map(|mut stdin| stdin.write_all(said.to_string().as_bytes())).transpose()?;
        let output = child.wait_with_output()?;
        let took = begun.elapsed();
        let answer = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        ensure!(!answer.contains("deny") && !answer.contains("cannot be reached"), "{answer}");
        Ok(took)
    }

    /// Calls a tool, with a hook before and after it: mostly edits of a few files, some of them new, and commands.
    fn call_a_tool(&self, turn: usize) -> anyhow::Result<[Duration; 2]> {
        let said = if turn % 4 == 3 {
            json!({"tool_name": "Bash", "tool_input": {"command": "cargo test 2>&1 | tail -20"}})
        } else {
            let path = self.tree.join(format!("agent_{}/file_{}.rs", self.number, turn / 8));
            json!({"tool_name": "Edit", "tool_input": {"file_path": path}})
        };
        let before = self.hook("PreToolUse", said.clone())?;
        if let Some(path) = said["tool_input"]["file_path"].as_str() {
            std::fs::create_dir_all(self.tree.join(format!("agent_{}", self.number)))?;
            std::fs::write(path, format!("// {turn}\n"))?;
        }
        Ok([before, self.hook("PostToolUse", said)?])
    }
}

/// The times of all hooks that were called within so many seconds, sorted.
pub fn times(program: &Path, directory: &Path, seconds: u64) -> anyhow::Result<Vec<Duration>> {
    let main = directory.join("repository");
    std::fs::create_dir_all(&main)?;
    let git = |arguments: &[&str]| {
        let name = ["-c", "user.name=b", "-c", "user.email=b@example.com"];
        let status = Command::new("git").current_dir(&main).args(name).args(arguments).status()?;
        ensure!(status.success(), "git {arguments:?}");
        Ok(())
    };
    git(&["init", "--quiet"])?;
    git(&["commit", "--quiet", "--allow-empty", "-m", "begin"])?;
    let mut agents = vec![];
    for number in 0..AGENTS {
        let tree = directory.join(format!("tree-{number}"));
        git(&["worktree", "add", "--quiet", "--detach", &tree.display().to_string()])?;
        let agent = Agent { program, tree, number };
        agent.hook("SessionStart", json!({"source": "startup"}))?;
        agents.push(agent);
    }
    let until = Instant::now() + Duration::from_secs(seconds);
    let all = Mutex::new(vec![]);
    std::thread::scope(|scope| {
        let work = agents.iter().map(|agent| {
            let all = &all;
            scope.spawn(move || -> anyhow::Result<()> {
                // They do not all begin in the same instant.
                std::thread::sleep(EVERY * agent.number as u32 / AGENTS as u32);
                for turn in 0.. {
                    let begun = Instant::now();
                    if begun >= until {
                        break;
                    }
                    let took = agent.call_a_tool(turn)?;
                    if let Ok(mut all) = all.lock() {
                        all.extend(took);
                    }
                    std::thread::sleep(EVERY.saturating_sub(begun.elapsed()));
                }
                Ok(())
            })
        });
        let work: Vec<_> = work.collect();
        for agent in work {
            agent.join().map_err(|_| anyhow::anyhow!("an agent panicked"))??;
        }
        anyhow::Ok(())
    })?;
    let mut all = all.into_inner().unwrap_or_default();
    all.sort();
    ensure!(!all.is_empty(), "nothing was measured");
    Ok(all)
}

/// So much of them took this long or less.
pub fn quantile(sorted: &[Duration], part: f64) -> f64 {
    let at = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}
