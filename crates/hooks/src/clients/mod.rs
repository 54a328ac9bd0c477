//! The clients: how each tells what happens, and how each is answered.

mod claude;
mod codex;
mod gemini;

use std::path::PathBuf;

use serde_json::Value;

use crate::event::{Answer, Event, Moment, Tool};
use crate::patch;

/// A coding agent's client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Claude Code.
    Claude,
    /// Codex.
    Codex,
    /// Gemini CLI.
    Gemini,
}

/// What a hook prints and how it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// For the client: nothing, or one JSON object.
    pub stdout: String,
}

impl Client {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Claude, Self::Codex, Self::Gemini];

    /// By the name that hooks are set up with.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|client| client.name() == name)
    }

    /// The name that hooks are set up with.
    pub fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
        }
    }

    /// What its agents are called after: as its MCP server's, so that both speak for one agent.
    pub fn agent(self) -> &'static str {
        match self {
            Self::Claude => "claude-code",
            Self::Codex => "codex",
            Self::Gemini => "gemini-cli",
        }
    }

    /// What happened, from the name of the event and what the client says of it.
    ///
    /// # Errors
    /// A sentence, when it is not what this client would say.
    pub fn read(self, event: &str, input: &[u8]) -> Result<Event, String> {
        let said: Value = serde_json::from_slice(input)
            .map_err(|error| format!("what {} said of {event} on standard input is not JSON: {error}", self.name()))?;
        if !said.is_object() {
            return Err(format!("what {} said of {event} on standard input is no JSON object", self.name()));
        }
        let text = |field: &str| said[field].as_str().filter(|text| !text.is_empty());
        let cwd = match text("cwd") {
            Some(cwd) => PathBuf::from(cwd),
            None => {
                std::env::current_dir().map_err(|error| format!("the current directory cannot be used: {error}"))?
            }
        };
        // A client that names no session has but one in its work tree.
        let session_id = text("session_id").unwrap_or("only").to_owned();
        let moment = match self {
            Self::Claude => claude::moment(event, &said),
            Self::Codex => codex::moment(event, &said),
            Self::Gemini => gemini::moment(event, &said),
        };
        Ok(Event { session_id, cwd, moment })
    }

    /// What the client is answered.
    pub fn reply(self, event: &str, moment: &Moment, answer: Answer) -> Reply {
        let said = match self {
            Self::Claude => claude::said(event, moment, answer),
            Self::Codex => codex::said(event, moment, answer),
            Self::Gemini => gemini::said(event, moment, answer),
        };
        Reply { stdout: said.map(|said| said.to_string()).unwrap_or_default() }
    }
}

/// The texts of the fields that are there.
fn texts(input: &Value, fields: &[&str]) -> Vec<String> {
    let mut texts = vec![];
    for field in fields {
        match &input[field] {
            Value::String(text) if !text.is_empty() => texts.push(text.clone()),
            Value::Array(items) => texts.extend(items.iter().filter_map(Value::as_str).map(str::to_owned)),
            _ => {}
        }
    }
    texts
}

/// A command as one text: some clients give its words.
fn command(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(words) => {
            let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
            match words.as_slice() {
                // `bash -lc SCRIPT` is the script.
                [shell, flag, script] if flag.starts_with('-') && flag.ends_with('c') && is_shell(shell) => {
                    (*script).to_owned()
                }
                words => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
            }
        }
        _ => String::new(),
    }
}

fn is_shell(program: &str) -> bool {
    matches!(program.rsplit('/').next(), Some("bash" | "sh" | "zsh"))
}

fn quoted(word: &str) -> String {
    let is_plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+=:@,".contains(c));
    if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// A shell command, or the edit that it is when it hands a patch to `apply_patch`.
fn shell(command: String, directory: Option<String>) -> Tool {
    let is_patch = command.trim_start().starts_with("apply_patch") && command.contains(patch::BEGINNING);
    if is_patch { Tool::Edit(patch::paths(&command)) } else { Tool::Shell { command, directory } }
}
