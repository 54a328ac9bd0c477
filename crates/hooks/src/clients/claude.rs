//! Claude Code. A denial is JSON on standard output; whatever else goes wrong lets the call proceed.

use serde_json::{Value, json};

use super::{command, shell, texts};
use crate::event::{Answer, Likelihood, Moment, Tool, Verdict};

pub fn moment(event: &str, said: &Value) -> Moment {
    match event {
        "SessionStart" => Moment::Start,
        "UserPromptSubmit" => Moment::Prompt(said["prompt"].as_str().unwrap_or_default().to_owned()),
        "PreToolUse" => Moment::Before(tool(said)),
        "PostToolUse" | "PostToolUseFailure" => Moment::After(tool(said)),
        "PreCompact" => Moment::Compaction(Likelihood::Certain),
        "Stop" => Moment::Stop(said["last_assistant_message"].as_str().map(str::to_owned)),
        "SessionEnd" => Moment::End,
        _ => Moment::Other,
    }
}

fn tool(said: &Value) -> Tool {
    let input = &said["tool_input"];
    match said["tool_name"].as_str().unwrap_or_default() {
        "Edit" | "Write" | "MultiEdit" => Tool::Edit(texts(input, &["file_path"])),
        "NotebookEdit" => Tool::Edit(texts(input, &["notebook_path", "file_path"])),
        "Read" => Tool::Read(texts(input, &["file_path"])),
        "NotebookRead" => Tool::Read(texts(input, &["notebook_path"])),
        "Bash" | "PowerShell" | "Monitor" => shell(command(&input["command"]), None),
        "WebFetch" => Tool::Fetch(input["url"].as_str().unwrap_or_default().to_owned()),
        _ => Tool::Other,
    }
}

pub fn said(event: &str, moment: &Moment, answer: Answer) -> Option<Value> {
    let mut output = json!({"hookEventName": event});
    let before = matches!(moment, Moment::Before(_));
    match answer.verdict {
        Verdict::Deny(reason) if before => {
            output["permissionDecision"] = "deny".into();
            output["permissionDecisionReason"] = reason.into();
        }
        Verdict::Ask(reason) if before => {
            output["permissionDecision"] = "ask".into();
            output["permissionDecisionReason"] = reason.into();
        }
        _ => {}
    }
    let hears = before || matches!(moment, Moment::Start | Moment::Prompt(_) | Moment::After(_));
    if let Some(context) = answer.context.filter(|_| hears) {
        output["additionalContext"] = context.into();
    }
    let says_something = output.as_object().is_some_and(|fields| fields.len() > 1);
    says_something.then(|| json!({ "hookSpecificOutput": output }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::Client;

    fn tool_of(name: &str, input: Value) -> Tool {
        tool(&json!({"tool_name": name, "tool_input": input}))
    }

    #[test]
    fn every_tool_is_known_by_what_it_does() {
        let edit = |path: &str| Tool::Edit(vec![path.to_owned()]);
        assert_eq!(tool_of("Edit", json!({"file_path": "/r/a.rs", "old_string": "x"})), edit("/r/a.rs"));
        assert_eq!(tool_of("Write", json!({"file_path": "/r/a.rs", "content": ""})), edit("/r/a.rs"));
        assert_eq!(tool_of("MultiEdit", json!({"file_path": "/r/a.rs", "edits": []})), edit("/r/a.rs"));
        assert_eq!(tool_of("NotebookEdit", json!({"notebook_path": "/r/a.ipynb"})), edit("/r/a.ipynb"));
        assert_eq!(tool_of("Read", json!({"file_path": "/r/a.rs"})), Tool::Read(vec!["/r/a.rs".into()]));
        let shell = Tool::Shell { command: "git status".into(), directory: None };
        assert_eq!(tool_of("Bash", json!({"command": "git status"})), shell);
        assert_eq!(tool_of("WebFetch", json!({"url": "https://x.example"})), Tool::Fetch("https://x.example".into()));
        assert_eq!(tool_of("Glob", json!({"pattern": "**"})), Tool::Other);
        assert_eq!(tool_of("Edit", json!({"file_path": 7})), Tool::Edit(vec![]), "what is no path is none");
    }

    #[test]
    fn events_are_told_apart() {
        let read = |event: &str, said: Value| Client::Claude.read(event, said.to_string().as_bytes()).unwrap();
        let start = read("SessionStart", json!({"session_id": "s", "cwd": "/r", "source": "startup"}));
        assert_eq!((start.session_id.as_str(), start.moment), ("s", Moment::Start));
        assert_eq!(read("UserPromptSubmit", json!({"prompt": "do it"})).moment, Moment::Prompt("do it".into()));
        assert_eq!(read("Stop", json!({"last_assistant_message": "did"})).moment, Moment::Stop(Some("did".into())));
        assert_eq!(read("SubagentStop", json!({})).moment, Moment::Other);
        for bad in ["", "[]", "7", "{"] {
            assert!(Client::Claude.read("Stop", bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_objection_is_silence_and_never_allow() {
        let before = Moment::Before(Tool::Other);
        assert_eq!(said("PreToolUse", &before, Answer::silent()), None);
        let denied = said("PreToolUse", &before, Answer::deny("held by bob")).unwrap();
        let expected = json!({"hookSpecificOutput": {
            "hookEventName": "PreToolUse", "permissionDecision": "deny", "permissionDecisionReason": "held by bob",
        }});
        assert_eq!(denied, expected);
        let asked = Answer { verdict: Verdict::Ask("sure?".into()), context: None };
        assert_eq!(said("PreToolUse", &before, asked).unwrap()["hookSpecificOutput"]["permissionDecision"], "ask");
        let told = said("SessionStart", &Moment::Start, Answer::tell("hello")).unwrap();
        let expected = json!({"hookSpecificOutput": {"hookEventName": "SessionStart", "additionalContext": "hello"}});
        assert_eq!(told, expected);
        assert_eq!(said("Stop", &Moment::Stop(None), Answer::tell("nobody would hear it")), None);
    }
}
