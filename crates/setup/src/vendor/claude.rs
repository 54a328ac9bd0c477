//! Claude Code: `.mcp.json` and `.claude/settings.json`; for a user `~/.claude.json` and `~/.claude/settings.json`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Event, SERVER, Vendor, group_of, handler_with_seconds, server_in_json, server_path};
use crate::json;
use crate::part::{Part, Piece};
use crate::place::{Place, Scope};
use crate::view::{Found, View};

pub(super) const VENDOR: Vendor = Vendor {
    title: "Claude Code",
    program: "claude",
    events: &[
        Event::new("SessionStart"),
        Event::new("UserPromptSubmit"),
        Event::of_tools("PreToolUse", "Edit|Write|MultiEdit|NotebookEdit|Bash"),
        Event::new("PostToolUse"),
        Event::new("PreCompact"),
        Event::new("Stop"),
        Event::new("SubagentStop"),
        Event::new("SessionEnd"),
    ],
    hooks_file: |place| place.claude().join("settings.json"),
    group: |event, command| group_of(event, &handler_with_seconds(command)),
    server,
    more,
    instructions: |place| match place.scope {
        Scope::Project => place.root.join("CLAUDE.md"),
        Scope::User => place.claude().join("CLAUDE.md"),
    },
    steps,
};

fn server(place: &Place) -> Piece {
    let path = match place.scope {
        Scope::Project => place.root.join(".mcp.json"),
        Scope::User => user_file(place),
    };
    let value = server_in_json(place).replacen('{', "{\"type\": \"stdio\", ", 1);
    Piece { path, part: Part::Member { path: server_path(), value }, purpose: "MCP server" }
}

/// A server that a project names is asked about first, unless it is approved here.
fn more(place: &Place) -> Vec<Piece> {
    if place.scope == Scope::User {
        return vec![];
    }
    let part = Part::Item { path: vec!["enabledMcpjsonServers".into()], value: SERVER.into() };
    vec![Piece { path: place.claude().join("settings.json"), part, purpose: "approval of the MCP server" }]
}

/// What Claude Code keeps about its user: servers, and which folders are trusted.
fn user_file(place: &Place) -> PathBuf {
    place.homes.claude.as_ref().unwrap_or(&place.homes.home).join(".claude.json")
}

fn steps(place: &Place, view: &dyn View) -> Vec<String> {
    if place.scope == Scope::User || is_trusted(place, view) {
        return vec![];
    }
    let step = "Claude Code starts a project's MCP server once you trust the folder: start `claude` here and say yes when it asks.";
    vec![step.to_owned()]
}

/// Has the user said that this folder, or one that it is in, may be trusted?
fn is_trusted(place: &Place, view: &dyn View) -> bool {
    let Found::File { bytes, .. } = view.look(&user_file(place)) else { return false };
    let known = json::value(&String::from_utf8_lossy(&bytes)).unwrap_or_default();
    let says_yes = |folder: &Path| {
        let folder = known.get("projects").and_then(|projects| projects.get(folder.to_string_lossy().as_ref()));
        folder.and_then(|folder| folder.get("hasTrustDialogAccepted")) == Some(&Value::Bool(true))
    };
    place.root.ancestors().any(says_yes)
}
