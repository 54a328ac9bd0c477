//! An event as an agent tells us of it, made up to see that our hook answers, and how.

use serde_json::{Value, json};

use super::Agent;
use crate::place::Place;

/// The session that made-up events belong to.
pub const SESSION: &str = "coordinator-doctor";

/// What a hook's answer means to its agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The agent goes on.
    GoOn,
    /// The agent is kept from it.
    Deny,
}

impl Agent {
    /// The event by which it asks before it runs something, and one in which it is about to run this command.
    pub fn before_command(self, place: &Place, command: &str) -> (&'static str, Value) {
        let (event, tool) = match self {
            Self::Claude | Self::Codex => ("PreToolUse", "Bash"),
            Self::Gemini => ("BeforeTool", "run_shell_command"),
        };
        let told = json!({
            "session_id": SESSION,
            "transcript_path": "",
            "cwd": place.root,
            "permission_mode": "default",
            "hook_event_name": event,
            "tool_name": tool,
            "tool_input": {"command": command},
            "tool_use_id": "doctor",
        });
        (event, told)
    }

    /// What it makes of a hook that ended so and said this.
    ///
    /// # Errors
    /// A sentence, when it would make nothing of it: then it goes on as if there were no hook.
    pub fn reads(self, exit: Option<i32>, said: &str) -> Result<Answer, String> {
        match exit {
            Some(2) => return Ok(Answer::Deny),
            Some(0) => {}
            Some(code) => return Err(format!("it ended with exit code {code}")),
            None => return Err("it was killed".to_owned()),
        }
        if said.trim().is_empty() {
            return Ok(Answer::GoOn);
        }
        let value: Value = serde_json::from_str(said)
            .map_err(|error| format!("what it said is no JSON ({error}): {}", said.trim()))?;
        let decision = value["hookSpecificOutput"]["permissionDecision"].as_str().or(value["decision"].as_str());
        Ok(if matches!(decision, Some("deny" | "block")) { Answer::Deny } else { Answer::GoOn })
    }
}
