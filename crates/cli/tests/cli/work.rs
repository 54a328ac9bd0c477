//! The queue, the trail and every other operation from the command line.

use std::io::Write;
use std::process::Stdio;

use serde_json::json;

use crate::project::{Project, Ran};

fn submit(project: &Project, arguments: &[&str]) -> String {
    let arguments = [&["work", "submit", "--json"], arguments].concat();
    project.run(&arguments).ended_with(0).json()["task_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_task_goes_through_the_queue() {
    let project = Project::new();
    let first = submit(&project, &["implement", "the parser", "--priority", "1", "--input", r#"{"file": "a.py"}"#]);
    let second = submit(&project, &["test", "the parser", "--depends-on", &first]);

    let claimed = project.run_as("bob", &["work", "claim", "--json"]).ended_with(0).json();
    assert_eq!((&claimed["task_id"], &claimed["input_data"]), (&json!(first), &json!({"file": "a.py"})));
    let none = project.run_as("eve", &["work", "claim"]).ended_with(1);
    assert!(none.stderr.contains("no task is ready"), "{none:?}");

    let not_hers = project.run_as("eve", &["work", "complete", &first]).ended_with(1);
    assert!(not_hers.stderr.contains("its claim is not yours"), "{not_hers:?}");
    let done = project.run_as("bob", &["work", "complete", &first, "--result", r#"{"lines": 3}"#]).ended_with(0);
    assert_eq!(done.stdout, format!("{first} is completed\n"));

    let shown = project.run(&["work", "show", &first]).ended_with(0).stdout;
    assert!(shown.contains("completed") && shown.contains(r#"{"lines":3}"#), "{shown}");
    assert_eq!(project.run(&["work", "show", &second, "--json"]).json()["task"]["status"], "pending");
    let pending = project.run(&["work", "list", "--status", "pending"]).ended_with(0).stdout;
    assert!(pending.contains(&second) && !pending.contains(&first), "{pending}");
}

#[test]
fn a_failed_task_is_tried_again_and_a_cancelled_one_is_not() {
    let project = Project::new();
    let task = submit(&project, &["implement", "the parser"]);
    let dependent = submit(&project, &["test", "the parser", "--depends-on", &task]);
    project.run(&["work", "claim"]).ended_with(0);
    let failed = project.run(&["work", "complete", &task, "--failed", "--message", "no time"]).ended_with(0);
    assert!(failed.stdout.contains("will be tried again in "), "{failed:?}");

    let cancelled = project.run(&["work", "cancel", &task, "not needed"]).ended_with(0);
    assert!(cancelled.stdout.contains(&format!("{task} is cancelled")), "{cancelled:?}");
    assert!(cancelled.stdout.contains(&format!("{dependent} failed with it")), "{cancelled:?}");
    assert!(project.run(&["work", "list", "--status", "cancelled"]).stdout.contains(&task));
    let again = project.run(&["work", "cancel", &task, "not needed"]).ended_with(1);
    assert!(again.stderr.contains("has ended already"), "{again:?}");
}

#[test]
fn bad_input_is_named() {
    let project = Project::new();
    for (arguments, code, words) in [
        (vec!["work", "submit", "x", "y", "--input", "{"], 2, "is not JSON"),
        (vec!["work", "submit", "x", "y", "--deadline", "soon"], 2, "2026-01-31T09:00:00Z"),
        (vec!["work", "submit", "x", "y", "--depends-on", "z"], 2, "depends_on"),
        (vec!["work", "show", "z"], 2, "task_id"),
        (vec!["work", "show", "01900000-0000-7000-8000-000000000000"], 1, "there is no task"),
        (vec!["work", "complete", "01900000-0000-7000-8000-000000000000"], 1, "there is no such task"),
        (vec!["work", "complete", "x", "--message", "y"], 2, "--failed"),
        (vec!["keys", "revoke", "x"], 1, "there is no key x"),
        (vec!["call", "fly"], 2, "there is no operation \"fly\""),
        (vec!["call", "get_task", "{}"], 2, "task_id: is required"),
        (vec!["call", "get_task", "[]"], 2, "must be a JSON object"),
        (vec!["call", "get_task", "nonsense"], 2, "the request is not JSON"),
        (vec!["audit", "--since", "yesterday"], 2, "2026-01-31T09:00:00Z"),
        (vec!["frobnicate"], 2, "unrecognized subcommand"),
    ] {
        let ran = project.run(&arguments).ended_with(code);
        assert!(ran.stderr.contains(words), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn any_operation_can_be_called() {
    let project = Project::new();
    let listed = project.run(&["call"]).ended_with(0).stdout;
    for name in ["acquire_lock", "query_audit", "cleanup_dead_agents"] {
        assert!(listed.contains(name), "{listed}");
    }
    let schema = project.run(&["call", "acquire_lock", "--schema"]).ended_with(0).json();
    assert!(schema["properties"]["file_path"].is_object(), "{schema}");

    let answer = project.run(&["call", "acquire_lock", r#"{"file_path": "a.py"}"#]).ended_with(0).json();
    assert_eq!((&answer["success"], &answer["action"]), (&json!(true), &json!("acquired")));
    let refused = project.run_as("bob", &["call", "acquire_lock", r#"{"file_path": "a.py"}"#]).ended_with(1);
    assert_eq!(refused.json()["locked_by"], "ann");
    let wrong = project.run(&["call", "acquire_lock", r#"{"file_path": "a.py", "colour": 1}"#]).ended_with(2);
    assert_eq!(wrong.json()["fields"][0]["field"], "colour");

    let mut reading = project.command(&["call", "check_locks", "-"]);
    let mut child = reading.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(br#"{"file_paths": ["a.py"]}"#).unwrap();
    let read = Ran::from(child.wait_with_output().unwrap()).ended_with(0);
    assert_eq!(read.json()[0]["locked_by"], "ann");
}

#[test]
fn the_trail_tells_who_did_what() {
    let project = Project::new();
    project.run(&["lock", "a.py"]).ended_with(0);
    project.run_as("bob", &["lock", "a.py"]).ended_with(1);
    let refused = project.run(&["audit", "--refused", "--since", "1h", "--json"]).ended_with(0).json();
    let entries = refused["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "{refused}");
    assert_eq!((&entries[0]["agent_id"], &entries[0]["error_message"]), (&json!("bob"), &json!("locked_by_other")));
    let ours = project.run(&["audit", "--agent", "ann", "--operation", "acquire_lock"]).ended_with(0).stdout;
    assert!(ours.contains("acquire_lock") && !ours.contains("bob"), "{ours}");
    assert_eq!(project.run(&["audit", "--until", "1h"]).ended_with(0).stdout, "Nothing is recorded.\n");
}

#[test]
fn agents_that_are_here_are_listed() {
    let project = Project::new();
    assert_eq!(project.run(&["agents"]).ended_with(0).stdout, "No agent is here.\n");
    let request = r#"{"capabilities": ["rust"], "current_task": "the parser"}"#;
    let mut command = project.command(&["call", "register_session", request]);
    assert!(command.env("AGENT_ID", "bob").env("SESSION_ID", "s1").output().unwrap().status.success());
    let listed = project.run(&["agents"]).ended_with(0).stdout;
    assert!(listed.contains("bob") && listed.contains("the parser"), "{listed}");
    assert!(project.run(&["agents", "--capability", "python"]).stdout.contains("No agent is here."));
    assert!(project.run(&["agents", "--all", "--json"]).json()["agents"][0]["session_id"] == "s1");
    assert!(project.run(&["status"]).ended_with(0).stdout.contains("bob"));
}
