//! The plugin and the extension in `integrations` say what `coordinator init` writes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use serde_json::Value;
use setup::{Agent, Homes, Part, Place, Scope};

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../integrations").join(file);
    std::fs::read_to_string(path).unwrap()
}

fn json(file: &str) -> Value {
    serde_json::from_str(&read(file)).unwrap()
}

/// Where nothing is to be found: only what is written matters.
fn place() -> Place {
    let home = PathBuf::from("/home");
    let homes = Homes { home, claude: None, codex: None };
    Place { scope: Scope::Project, root: "/project".into(), homes, program: "coordinator".into() }
}

fn written(part: &Part) -> Value {
    setup::json::value(&part.put("").unwrap()).unwrap()
}

fn check(agent: Agent, manifest: &Value, servers: &Value, hooks: &Value) {
    assert_eq!(manifest["version"], env!("CARGO_PKG_VERSION"), "{agent}");
    assert_eq!(manifest["name"], "coordinator", "{agent}");
    assert_eq!(servers["mcpServers"], written(&agent.server(&place()).part)["mcpServers"], "{agent}");
    assert_eq!(hooks["hooks"], written(&agent.hooks("coordinator"))["hooks"], "{agent}");
}

#[test]
fn the_plugin_of_claude_code() {
    let manifest = json("claude-plugin/.claude-plugin/plugin.json");
    let hooks = json("claude-plugin/hooks/hooks.json");
    check(Agent::Claude, &manifest, &json("claude-plugin/.mcp.json"), &hooks);
    assert!(hooks["description"].is_string());
}

#[test]
fn the_extension_of_gemini_cli() {
    let manifest = json("gemini-extension/gemini-extension.json");
    check(Agent::Gemini, &manifest, &manifest, &json("gemini-extension/hooks/hooks.json"));
    let told = Agent::Gemini.pieces(&place()).into_iter().find_map(|piece| match piece.part {
        Part::Block { text } => Some(text),
        _ => None,
    });
    assert_eq!(
        read(&format!("gemini-extension/{}", manifest["contextFileName"].as_str().unwrap())).trim_end(),
        told.unwrap()
    );
}
