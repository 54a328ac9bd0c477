//! Gemini CLI: `.gemini/settings.json`, of the project or of the user.

use std::path::Path;

use serde_json::json as quoted;

use super::{Event, SERVER, Vendor, group_of, server_in_json, server_path};
use crate::json;
use crate::part::{Part, Piece};
use crate::place::{Place, Scope};
use crate::view::{Found, View};

pub(super) const VENDOR: Vendor = Vendor {
    title: "Gemini CLI",
    program: "gemini",
    events: &[
        Event::new("SessionStart"),
        Event::new("BeforeAgent"),
        Event::of_tools("BeforeTool", "write_file|replace|run_shell_command"),
        Event::new("AfterTool"),
        Event::new("PreCompress"),
        Event::new("AfterAgent"),
        Event::new("SessionEnd"),
    ],
    hooks_file: |place| place.gemini().join("settings.json"),
    group: |event, command| {
        // Milliseconds.
        let (name, command) = (quoted!(SERVER), quoted!(command));
        group_of(
            event,
            &format!("{{\"name\": {name}, \"type\": \"command\", \"command\": {command}, \"timeout\": 10000}}"),
        )
    },
    server: |place| Piece {
        path: place.gemini().join("settings.json"),
        part: Part::Member { path: server_path(), value: server_in_json(place) },
        purpose: "MCP server",
    },
    more: |_| vec![],
    instructions: |place| match place.scope {
        Scope::Project => place.root.join("GEMINI.md"),
        Scope::User => place.gemini().join("GEMINI.md"),
    },
    steps,
};

fn steps(place: &Place, view: &dyn View) -> Vec<String> {
    if place.scope == Scope::User || is_trusted(place, view) {
        return vec![];
    }
    let step = "Gemini CLI reads a project's configuration once you trust the folder: start `gemini` here and say yes when it asks.";
    vec![step.to_owned()]
}

/// Has the user said that this folder, or one that it is in, may be trusted?
fn is_trusted(place: &Place, view: &dyn View) -> bool {
    let file = place.homes.home.join(".gemini/trustedFolders.json");
    let Found::File { bytes, .. } = view.look(&file) else { return false };
    let known = json::value(&String::from_utf8_lossy(&bytes)).unwrap_or_default();
    let says = |folder: &Path, word: &str| known.get(folder.to_string_lossy().as_ref()) == Some(&word.into());
    let is_named = place.root.ancestors().any(|folder| says(folder, "TRUST_FOLDER"));
    // Said of one folder, this trusts the one that it is in.
    let siblings = known.as_object().into_iter().flatten().filter(|(_, word)| *word == "TRUST_PARENT");
    is_named || siblings.filter_map(|(folder, _)| Path::new(folder).parent()).any(|above| place.root.starts_with(above))
}
