//! Ports from the command line and by MCP.

use std::process::Command;

use serde_json::json;

use crate::mcp::Agent;
use crate::project::{Project, Ran};

#[test]
fn a_shell_gets_its_ports() {
    let project = Project::new();
    let ports = testing::ports::Range::claim();
    let base = ports.base;
    let run = |arguments: &[&str]| {
        let mut command = project.command(arguments);
        command.env("PORT_ALLOC_BASE", base.to_string()).env("PORT_ALLOC_MAX_SESSIONS", "2");
        Ran::from(command.output().unwrap())
    };
    assert_eq!(run(&["ports", "status"]).ended_with(0).stdout, "No session has ports.\n");

    let snippet = run(&["ports", "allocate", "--export"]).ended_with(0).stdout;
    let script = format!("{snippet}\necho $AGENT_COORDINATOR_DB_PORT $API_PORT $SUPABASE_URL");
    let shell = Ran::from(Command::new("sh").args(["-c", &script]).output().unwrap()).ended_with(0);
    assert_eq!(shell.stdout, format!("{base} {} http://localhost:{}\n", base + 3, base + 1));

    // The same work tree, the same ports; another session, others.
    assert_eq!(run(&["ports", "allocate", "--export"]).stdout, snippet);
    let other = run(&["ports", "allocate", "other", "--json"]).ended_with(0).json();
    assert_eq!(other["allocation"]["db_port"], base + 100);
    let none = run(&["ports", "allocate", "third", "--export"]).ended_with(1);
    assert!(none.stdout.is_empty() && none.stderr.contains("all 2 blocks of ports are taken"), "{none:?}");

    let status = run(&["ports", "status"]).ended_with(0);
    assert!(status.stdout.contains(&base.to_string()) && status.stdout.contains("ann@repository-"), "{status:?}");
    assert!(run(&["ports", "release"]).ended_with(0).stdout.contains("released the ports of ann@repository-"));
    assert!(run(&["ports", "release"]).ended_with(0).stdout.contains("no ports were taken by"));
    assert_eq!(run(&["ports", "status", "--json"]).json()["free"], 1);
}

#[test]
fn what_is_set_wrong_is_told_before_anything_starts() {
    let project = Project::new();
    for (name, value, words) in [
        ("PORT_ALLOC_BASE", "1023", "PORT_ALLOC_BASE is \"1023\": must be a whole number from 1024"),
        ("PORT_ALLOC_RANGE", "3", "PORT_ALLOC_RANGE is \"3\": must be a whole number from 4"),
        ("PORT_ALLOC_TTL_MINUTES", "0", "PORT_ALLOC_TTL_MINUTES is \"0\": must be a whole number from 1"),
        ("PORT_ALLOC_MAX_SESSIONS", "none", "PORT_ALLOC_MAX_SESSIONS is \"none\": must be a whole number from 1"),
        ("PORT_ALLOC_BASE", "65000", "the last port would be 66903"),
    ] {
        for arguments in [&["serve", "--port", "0"][..], &["status"]] {
            let refused = Ran::from(project.command(arguments).env(name, value).output().unwrap()).ended_with(2);
            assert!(refused.stderr.contains(words), "{refused:?}");
        }
    }
}

#[test]
fn agents_get_ports_and_leave_handoffs_by_mcp() {
    let project = Project::new();
    let mut ann = Agent::connect(&project, "ann");
    let mut bob = Agent::connect(&project, "bob");
    let first = ann.ask("allocate_ports", json!({"session_id": "mcp-ann"}));
    let second = bob.ask("allocate_ports", json!({"session_id": "mcp-bob"}));
    assert_eq!((&first["success"], &second["success"]), (&json!(true), &json!(true)));
    assert_ne!(first["allocation"]["db_port"], second["allocation"]["db_port"]);
    let held = ann.ask("ports_status", json!({}));
    assert_eq!(held["allocations"].as_array().unwrap().len(), 2, "{held}");
    assert_eq!(ann.ask("release_ports", json!({"session_id": "mcp-ann"}))["released"], true);
    assert_eq!(ann.call("allocate_ports", json!({"session_id": ""}))["error"]["code"], -32602);

    assert_eq!(bob.ask("read_handoff", json!({})), json!({"handoffs": []}));
    assert_eq!(ann.ask("write_handoff", json!({"summary": "half done", "next_steps": ["the rest"]}))["success"], true);
    ann.leave();
    let mut again = Agent::connect(&project, "ann");
    let own = again.ask("read_handoff", json!({}));
    assert_eq!((&own["handoffs"][0]["summary"], &own["reason"]), (&json!("half done"), &json!(null)));
    assert_eq!(bob.ask("read_handoff", json!({}))["reason"], "latest_of_project");
    again.leave();
    bob.leave();
}
