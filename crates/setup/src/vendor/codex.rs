//! Codex: `config.toml` and `hooks.json` in `.codex`, of the project or of the user.

use serde_json::json;
use toml_edit::{DocumentMut, Item};

use super::{Event, SERVER, Vendor, group_of, handler_with_seconds};
use crate::part::{Part, Piece};
use crate::place::{Place, Scope};
use crate::view::{Found, View};

pub(super) const VENDOR: Vendor = Vendor {
    title: "Codex",
    program: "codex",
    events: &[
        Event::new("SessionStart"),
        Event::new("UserPromptSubmit"),
        Event::of_tools("PreToolUse", "Bash|apply_patch|Edit|Write"),
        Event::new("PostToolUse"),
        Event::new("PreCompact"),
        Event::new("Stop"),
        Event::new("SessionEnd"),
    ],
    hooks_file: |place| place.codex().join("hooks.json"),
    group: |event, command| group_of(event, &handler_with_seconds(command)),
    server,
    more: |_| vec![],
    instructions: |place| match place.scope {
        Scope::Project => place.root.join("AGENTS.md"),
        Scope::User => place.codex().join("AGENTS.md"),
    },
    steps,
};

fn server(place: &Place) -> Piece {
    let path = ["mcp_servers", SERVER].map(String::from).to_vec();
    // A text in TOML is written as in JSON.
    let values =
        vec![("command".to_owned(), json!(place.program).to_string()), ("args".to_owned(), "[\"mcp\"]".to_owned())];
    Piece { path: place.codex().join("config.toml"), part: Part::Table { path, values }, purpose: "MCP server" }
}

fn steps(place: &Place, view: &dyn View) -> Vec<String> {
    let known = what_the_user_said(place, view);
    let mut steps = vec![];
    let root = place.root.to_string_lossy();
    let project = known.get("projects").and_then(|projects| projects.get(root.as_ref())?.get("trust_level")?.as_str());
    if place.scope == Scope::Project && project != Some("trusted") {
        let step = "Codex reads a project's configuration once you trust the project: start `codex` here and say yes when it asks.";
        steps.push(step.to_owned());
    }
    if trusted_hooks(place, &known) < VENDOR.events.len() {
        let step = "Codex runs a hook once you trust it, and leaves it out in silence until then: start `codex`, type /hooks, look \
                    at them and trust them. Do so again when they change.";
        steps.push(step.to_owned());
    }
    steps
}

/// The user's own configuration; trust is never given by a project's.
fn what_the_user_said(place: &Place, view: &dyn View) -> DocumentMut {
    let home = place.homes.codex.clone().unwrap_or_else(|| place.homes.home.join(".codex"));
    let Found::File { bytes, .. } = view.look(&home.join("config.toml")) else { return DocumentMut::default() };
    String::from_utf8_lossy(&bytes).parse().unwrap_or_default()
}

/// How many hooks in our file the user has trusted. Whether that was before they changed, only Codex can tell.
fn trusted_hooks(place: &Place, known: &DocumentMut) -> usize {
    let file = format!("{}:", (VENDOR.hooks_file)(place).display());
    let state = known.get("hooks").and_then(|hooks| hooks.get("state")?.as_table_like());
    let is_trusted = |(hook, said): &(&str, &Item)| hook.starts_with(&file) && said.get("trusted_hash").is_some();
    state.map_or(0, |state| state.iter().filter(is_trusted).count())
}
