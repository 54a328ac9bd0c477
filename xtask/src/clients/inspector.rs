//! The protocol's inspector, from its command line.

use anyhow::{Context, ensure};
use serde_json::Value;

use super::ground::{Ground, KEY, node_program, success};
use super::{Outcome, Trials};
use crate::tools::{self, NO_NODE};

const PACKAGE: (&str, &str) = ("@modelcontextprotocol/inspector", "2.12.0");

/// What it is asked, and where in its answer what must be found.
const QUESTIONS: [(&[&str], &str, &str); 6] = [
    (&["tools/list"], "/tools/0/name", "read_handoff"),
    (
        &["tools/call", "--tool-name", "acquire_lock", "--tool-arg", "file_path=inspector.py"],
        "/structuredContent/action",
        "acquired",
    ),
    (&["resources/list"], "/resources/0/uri", "locks://current"),
    (&["resources/read", "--uri", "locks://current"], "/contents/0/text", "| inspector.py | inspector |"),
    (&["prompts/list"], "/prompts/1/name", "start_work_session"),
    (&["prompts/get", "--prompt-name", "start_work_session"], "/messages/0/content/text", "inspector.py"),
];

/// Asks it all.
pub async fn run(ground: &Ground, trials: &mut Trials) {
    trials.attempt("inspector", ask(ground)).await;
}

async fn ask(ground: &Ground) -> anyhow::Result<Outcome> {
    let Some(node) = tools::need_node()? else { return Ok(Outcome::Skipped(NO_NODE)) };
    let programs = tools::need_node_package(PACKAGE.0, PACKAGE.1)?;
    for (question, pointer, expected) in QUESTIONS {
        let mut command = node_program(&programs.join("mcp-inspector"), &node);
        command.args(["--cli", &format!("{}/mcp", ground.server), "--transport", "http"]);
        command.args(["--header", &format!("X-API-Key: {KEY}"), "--header", "X-Agent-Id: inspector", "--method"]);
        command.args(question).env("HOME", ground.directory("inspector")?);
        let said = success(&mut command).await?;
        let answer: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
        let found = answer.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        ensure!(found.contains(expected), "{question:?}: no {expected:?} at {pointer} of {answer:#}");
    }
    Ok(Outcome::Passed(format!("{} questions", QUESTIONS.len())))
}
