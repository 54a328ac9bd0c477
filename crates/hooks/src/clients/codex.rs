//! Codex. It takes a denial with a reason and nothing else: `ask`, a bare `allow` or an empty reason would be an invalid
//! answer, and then the call proceeds.

use serde_json::{Value, json};

use super::{command, shell, texts};
use crate::event::{Answer, Likelihood, Moment, Tool, Verdict};
use crate::patch;

pub fn moment(event: &str, said: &Value) -> Moment {
    match event {
        "SessionStart" => Moment::Start,
        "UserPromptSubmit" => Moment::Prompt(said["prompt"].as_str().unwrap_or_default().to_owned()),
        "PreToolUse" => Moment::Before(tool(said)),
        "PostToolUse" => Moment::After(tool(said)),
        "PreCompact" => Moment::Compaction(Likelihood::Certain),
        "Stop" => Moment::Stop(said["last_assistant_message"].as_str().map(str::to_owned)),
        "SessionEnd" => Moment::End,
        _ => Moment::Other,
    }
}

fn tool(said: &Value) -> Tool {
    let input = &said["tool_input"];
    match said["tool_name"].as_str().unwrap_or_default() {
        "apply_patch" | "Edit" | "Write" => {
            let text = input.as_str().map(str::to_owned);
            let patch = text.unwrap_or_else(|| texts(input, &["command", "patch", "input"]).join("\n"));
            let mut paths = patch::paths(&patch);
            paths.extend(texts(input, &["file_path"]));
            Tool::Edit(paths)
        }
        "Bash" | "shell" | "local_shell" | "exec_command" | "unified_exec" => {
            let given = if input["command"].is_null() { &input["cmd"] } else { &input["command"] };
            let directory = input["workdir"].as_str().filter(|directory| !directory.is_empty());
            shell(command(given), directory.map(str::to_owned))
        }
        "view_image" => Tool::Read(texts(input, &["path"])),
        _ => Tool::Other,
    }
}

pub fn said(event: &str, moment: &Moment, answer: Answer) -> Option<Value> {
    let output = |field: &str, text: String| {
        let mut output = json!({"hookEventName": event});
        output[field] = text.into();
        output
    };
    if let (Moment::Before(_), Verdict::Deny(reason) | Verdict::Ask(reason)) = (moment, answer.verdict) {
        let reason = if reason.trim().is_empty() { "refused by the coordinator".to_owned() } else { reason };
        let mut denied = output("permissionDecisionReason", reason);
        denied["permissionDecision"] = "deny".into();
        return Some(json!({ "hookSpecificOutput": denied }));
    }
    let hears = matches!(moment, Moment::Start | Moment::Prompt(_) | Moment::After(_));
    let context = answer.context.filter(|_| hears)?;
    Some(json!({ "hookSpecificOutput": output("additionalContext", context) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool_of(name: &str, input: Value) -> Tool {
        tool(&json!({"tool_name": name, "tool_input": input}))
    }

    #[test]
    fn every_tool_is_known_by_what_it_does() {
        let patch = "*** Begin Patch\n*** Update File: a.rs\n*** Move to: b.rs\n*** End Patch";
        let edit = Tool::Edit(vec!["a.rs".into(), "b.rs".into()]);
        assert_eq!(tool_of("apply_patch", json!({"command": patch})), edit);
        assert_eq!(tool_of("apply_patch", json!(patch)), edit);
        assert_eq!(tool_of("apply_patch", json!({"command": ["apply_patch", patch]})), edit);
        assert_eq!(tool_of("Bash", json!({"command": format!("apply_patch <<'EOF'\n{patch}\nEOF")})), edit);
        let shell = |command: &str| Tool::Shell { command: command.into(), directory: None };
        assert_eq!(tool_of("Bash", json!({"command": "ls"})), shell("ls"));
        assert_eq!(tool_of("shell", json!({"command": ["bash", "-lc", "ls | wc"]})), shell("ls | wc"));
        assert_eq!(tool_of("shell", json!({"command": ["echo", "a b"]})), shell("echo 'a b'"));
        let there = Tool::Shell { command: "ls".into(), directory: Some("/r/x".into()) };
        assert_eq!(tool_of("exec_command", json!({"cmd": "ls", "workdir": "/r/x"})), there);
        assert_eq!(tool_of("mcp__coordinator__help", json!({})), Tool::Other);
    }

    #[test]
    fn a_question_is_a_denial_and_a_denial_has_a_reason() {
        let before = Moment::Before(Tool::Other);
        assert_eq!(said("PreToolUse", &before, Answer::silent()), None);
        assert_eq!(said("PreToolUse", &before, Answer::tell("not here")), None);
        for verdict in [Verdict::Ask("why".into()), Verdict::Deny("why".into())] {
            let denied = said("PreToolUse", &before, Answer { verdict, context: Some("more".into()) }).unwrap();
            let expected = json!({"hookSpecificOutput": {
                "hookEventName": "PreToolUse", "permissionDecision": "deny", "permissionDecisionReason": "why",
            }});
            assert_eq!(denied, expected);
        }
        let denied = said("PreToolUse", &before, Answer::deny(" ")).unwrap();
        assert_eq!(denied["hookSpecificOutput"]["permissionDecisionReason"], "refused by the coordinator");
        let told = said("PostToolUse", &Moment::After(Tool::Other), Answer::tell("a message")).unwrap();
        assert_eq!(told["hookSpecificOutput"]["additionalContext"], "a message");
    }
}
