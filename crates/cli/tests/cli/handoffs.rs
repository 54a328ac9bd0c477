//! Handoffs from the command line.

use std::io::Write;
use std::process::Stdio;

use serde_json::json;

use crate::project::{Project, Ran};

#[test]
fn a_handoff_is_left_and_found() {
    let project = Project::new();
    let nothing = project.run(&["handoff", "read"]).ended_with(1);
    assert!(nothing.stdout.is_empty() && nothing.stderr.contains("there is no handoff"), "{nothing:?}");

    let write =
        ["handoff", "write", "half done", "--done", "lexer", "--next", "parser", "--next", "docs", "--feature", "f"];
    let id = project.run(&write).ended_with(0).stdout;
    let read = project.run(&["handoff", "read"]).ended_with(0);
    assert!(read.stdout.starts_with("ann, ") && read.stdout.contains(", for f\nhalf done\n"), "{read:?}");
    assert!(read.stdout.ends_with("done:\n  - lexer\nnext:\n  - parser\n  - docs\n"), "{read:?}");
    assert_eq!(read.stderr, "");
    let answer = project.run(&["handoff", "read", "--json"]).ended_with(0).json();
    assert_eq!(answer["handoffs"][0]["handoff_id"], id.trim());
    assert_eq!(answer["handoffs"][0]["next_steps"], json!(["parser", "docs"]));

    let others = project.run_as("bob", &["handoff", "read"]).ended_with(0);
    assert!(others.stdout.contains("half done") && others.stderr.contains("you have left no handoff"), "{others:?}");
    project.run_as("bob", &["handoff", "read", "--agent", "bob"]).ended_with(1);
    assert!(project.run_as("bob", &["handoff", "read", "--feature", "f"]).ended_with(0).stderr.is_empty());
}

#[test]
fn standard_input_may_have_any_form() {
    let project = Project::new();
    for (input, summary, next) in [
        ("# Where it stands\nhalf done\n", "# Where it stands\nhalf done", json!([])),
        (r#"{"title": "t", "todo": "- a\n- b"}"#, "t", json!(["a", "b"])),
    ] {
        let mut command = project.command(&["handoff", "write", "-"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Ran::from(child.wait_with_output().unwrap()).ended_with(0);
        let read = project.run(&["handoff", "read", "--json"]).json();
        assert_eq!((&read["handoffs"][0]["summary"], &read["handoffs"][0]["next_steps"]), (&json!(summary), &next));
    }
    let empty = project.command(&["handoff", "write", "-"]).stdin(Stdio::null()).output().unwrap();
    assert!(Ran::from(empty).ended_with(2).stderr.contains("says nothing"));
}
