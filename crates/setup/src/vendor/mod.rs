//! The agents we know. Each is a file that says which parts its configuration needs; nothing else knows about it.

mod claude;
mod codex;
mod configured;
mod gemini;
pub mod sample;

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::part::{Part, Piece};
use crate::place::Place;
use crate::view::View;

pub use configured::{Configured, Server};

/// The name under which agents know us.
pub const SERVER: &str = "coordinator";

/// An agent's command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agent {
    /// Claude Code.
    Claude,
    /// Codex.
    Codex,
    /// Gemini CLI.
    Gemini,
}

/// What is to be known of an agent.
struct Vendor {
    /// What people call it.
    title: &'static str,
    /// Its program.
    program: &'static str,
    /// The events it tells us of.
    events: &'static [Event],
    /// The file with its hooks.
    hooks_file: fn(&Place) -> PathBuf,
    /// A group of one hook that runs this command, as JSON.
    group: fn(event: &Event, command: &str) -> String,
    /// The file with its MCP servers, and our entry in it.
    server: fn(&Place) -> Piece,
    /// What it needs beyond.
    more: fn(&Place) -> Vec<Piece>,
    /// The file with instructions that it reads.
    instructions: fn(&Place) -> PathBuf,
    /// What only its user can do, and why.
    steps: fn(&Place, &dyn View) -> Vec<String>,
}

/// A moment at which an agent tells us what it is about to do or did.
struct Event {
    name: &'static str,
    /// Only for these tools.
    matcher: Option<&'static str>,
}

impl Event {
    const fn new(name: &'static str) -> Self {
        Self { name, matcher: None }
    }

    const fn of_tools(name: &'static str, matcher: &'static str) -> Self {
        Self { name, matcher: Some(matcher) }
    }
}

impl Agent {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Claude, Self::Codex, Self::Gemini];

    fn vendor(self) -> &'static Vendor {
        match self {
            Self::Claude => &claude::VENDOR,
            Self::Codex => &codex::VENDOR,
            Self::Gemini => &gemini::VENDOR,
        }
    }

    /// What it is called on our command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
        }
    }

    /// What people call it.
    pub fn title(self) -> &'static str {
        self.vendor().title
    }

    /// Its program.
    pub fn program(self) -> &'static str {
        self.vendor().program
    }

    /// Every part that it needs in this place.
    pub fn pieces(self, place: &Place) -> Vec<Piece> {
        let vendor = self.vendor();
        let mut pieces = vec![(vendor.server)(place)];
        pieces.push(Piece { path: self.hooks_file(place), part: self.hooks(&place.program), purpose: "hooks" });
        pieces.extend((vendor.more)(place));
        let part = Part::Block { text: INSTRUCTIONS.to_owned() };
        pieces.push(Piece { path: (vendor.instructions)(place), part, purpose: "instructions" });
        pieces
    }

    /// The file with its hooks.
    pub fn hooks_file(self, place: &Place) -> PathBuf {
        (self.vendor().hooks_file)(place)
    }

    /// The file with its MCP servers, and our entry in it.
    pub fn server(self, place: &Place) -> Piece {
        (self.vendor().server)(place)
    }

    /// The hooks that tell this program of its events.
    pub fn hooks(self, program: &str) -> Part {
        let program = crate::place::shell_word(program);
        let group = |event: &Event| {
            let command = format!("{program} hook {} {}", self.name(), event.name);
            (event.name.to_owned(), (self.vendor().group)(event, &command))
        };
        Part::Hooks { agent: self, groups: self.vendor().events.iter().map(group).collect() }
    }

    /// Is this command a hook of ours for this agent, of whatever version and path?
    pub fn runs_in(self, command: &str) -> bool {
        let mut words = command.split_whitespace().rev();
        let (_event, name, hook) = (words.next(), words.next(), words.next());
        let program = words.next().map(|word| word.trim_matches(['\'', '"']));
        hook == Some("hook")
            && name == Some(self.name())
            && program.is_some_and(|program| program.rsplit('/').next() == Some(SERVER))
    }

    /// What only the user can do so that it works, and why.
    pub fn steps(self, place: &Place, view: &dyn View) -> Vec<String> {
        (self.vendor().steps)(place, view)
    }
}

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

/// What an agent is told. It pays for every word in every session.
const INSTRUCTIONS: &str = "\
## Other agents work here too

Agent Coordinator decides who edits what. Its hooks lock the files you edit and give them back; if an edit or a command is
refused, do what the refusal says instead of trying again or working around it.

- Begin with the MCP tool `read_handoff`; end with `write_handoff`: what is done, begun, decided, and to do.
- Lock what is no file before you change it, with `acquire_lock`: `db:users`, `api:GET /v1/users`. Lock a directory before
  you move much in it.
- Take tasks with `get_work`, end them with `complete_work`. `help` explains every tool.";

/// How an agent that has it in JSON starts our server.
fn server_in_json(place: &Place) -> String {
    // `json!` would sort the names, and people read them in this order.
    format!("{{\"command\": {}, \"args\": [\"mcp\"]}}", json!(place.program))
}

/// The names that lead to our entry among the servers in JSON.
fn server_path() -> Vec<String> {
    ["mcpServers", SERVER].map(String::from).to_vec()
}

/// `{"matcher": ..., "hooks": [HANDLER]}`.
fn group_of(event: &Event, handler: &str) -> String {
    let matcher = event.matcher.map(|tools| format!("\"matcher\": {}, ", json!(tools))).unwrap_or_default();
    format!("{{{matcher}\"hooks\": [{handler}]}}")
}

/// A handler that is given ten seconds: none of ours takes as long, and a database may be slow.
fn handler_with_seconds(command: &str) -> String {
    format!("{{\"type\": \"command\", \"command\": {}, \"timeout\": 10}}", json!(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_hooks_are_known_by_what_they_run() {
        for ours in [
            "coordinator hook claude PreToolUse",
            "/usr/local/bin/coordinator hook claude Stop",
            "'/my programs/coordinator' hook claude Stop",
        ] {
            assert!(Agent::Claude.runs_in(ours), "{ours}");
            assert!(!Agent::Codex.runs_in(ours), "{ours}");
        }
        for theirs in ["my-coordinator hook claude Stop", "coordinator guard x", "npx hook claude x", ""] {
            assert!(!Agent::Claude.runs_in(theirs), "{theirs}");
        }
    }
}
