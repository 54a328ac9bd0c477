//! Gemini CLI. Standard output is one JSON object and nothing else; there is no `ask`.

use serde_json::{Value, json};

use super::{command, shell, texts};
use crate::event::{Answer, Likelihood, Moment, Tool, Verdict};

pub fn moment(event: &str, said: &Value) -> Moment {
    match event {
        "SessionStart" => Moment::Start,
        "BeforeAgent" => Moment::Prompt(said["prompt"].as_str().unwrap_or_default().to_owned()),
        "BeforeTool" => Moment::Before(tool(said)),
        "AfterTool" => Moment::After(tool(said)),
        // It is told of every attempt, and most find that there is nothing to compress; `/compress` compresses in any case.
        "PreCompress" if said["trigger"] == "manual" => Moment::Compaction(Likelihood::Certain),
        "PreCompress" => Moment::Compaction(Likelihood::Possible),
        "AfterAgent" => Moment::Stop(said["prompt_response"].as_str().map(str::to_owned)),
        "SessionEnd" => Moment::End,
        _ => Moment::Other,
    }
}

fn tool(said: &Value) -> Tool {
    let input = &said["tool_input"];
    match said["tool_name"].as_str().unwrap_or_default() {
        "write_file" | "replace" | "edit" => Tool::Edit(texts(input, &["file_path", "absolute_path"])),
        "read_file" => Tool::Read(texts(input, &["file_path", "absolute_path", "path"])),
        "read_many_files" => Tool::Read(texts(input, &["paths", "include"])),
        "run_shell_command" => {
            let directory = texts(input, &["dir_path", "directory"]).into_iter().next();
            shell(command(&input["command"]), directory)
        }
        "web_fetch" => Tool::Fetch(texts(input, &["url", "prompt"]).into_iter().next().unwrap_or_default()),
        _ => Tool::Other,
    }
}

pub fn said(event: &str, moment: &Moment, answer: Answer) -> Option<Value> {
    let mut output = json!({});
    if let (Moment::Before(_), Verdict::Deny(reason) | Verdict::Ask(reason)) = (moment, answer.verdict) {
        output["decision"] = "deny".into();
        output["reason"] = reason.into();
    }
    let hears = matches!(moment, Moment::Start | Moment::Prompt(_) | Moment::After(_));
    if let Some(context) = answer.context.filter(|_| hears) {
        output["hookSpecificOutput"] = json!({"hookEventName": event, "additionalContext": context});
    }
    Some(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_is_known_by_what_it_does() {
        let tool_of = |name: &str, input: Value| tool(&json!({"tool_name": name, "tool_input": input}));
        assert_eq!(tool_of("write_file", json!({"file_path": "a.rs"})), Tool::Edit(vec!["a.rs".into()]));
        assert_eq!(tool_of("replace", json!({"file_path": "a.rs"})), Tool::Edit(vec!["a.rs".into()]));
        assert_eq!(tool_of("read_file", json!({"absolute_path": "/r/a.rs"})), Tool::Read(vec!["/r/a.rs".into()]));
        let many = Tool::Read(vec!["a.rs".into(), "b.rs".into()]);
        assert_eq!(tool_of("read_many_files", json!({"paths": ["a.rs", "b.rs"]})), many);
        let shell = Tool::Shell { command: "ls".into(), directory: Some("src".into()) };
        assert_eq!(tool_of("run_shell_command", json!({"command": "ls", "directory": "src"})), shell);
        assert_eq!(tool_of("glob", json!({})), Tool::Other);
    }

    #[test]
    fn a_compression_that_nobody_asked_for_may_come_to_nothing() {
        let moment = |trigger: &str| moment("PreCompress", &json!({"trigger": trigger}));
        assert_eq!(moment("manual"), Moment::Compaction(Likelihood::Certain));
        assert_eq!(moment("auto"), Moment::Compaction(Likelihood::Possible));
    }

    #[test]
    fn whatever_is_said_is_one_object() {
        let before = Moment::Before(Tool::Other);
        assert_eq!(said("BeforeTool", &before, Answer::silent()), Some(json!({})));
        let denied = json!({"decision": "deny", "reason": "why"});
        assert_eq!(said("BeforeTool", &before, Answer::deny("why")), Some(denied.clone()));
        let asked = Answer { verdict: Verdict::Ask("why".into()), context: None };
        assert_eq!(said("BeforeTool", &before, asked), Some(denied));
        let told = said("AfterTool", &Moment::After(Tool::Other), Answer::tell("news")).unwrap();
        let expected = json!({"hookSpecificOutput": {"hookEventName": "AfterTool", "additionalContext": "news"}});
        assert_eq!(told, expected);
    }
}
