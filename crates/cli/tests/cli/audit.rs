//! The record made provable, from the command line, as docs/trust.md shows it.

use serde_json::Value;

use crate::project::Project;

fn lock(project: &Project, path: &str) {
    project.run(&["lock", path]).ended_with(0);
}

#[test]
fn a_checkpoint_finds_what_was_done_behind_its_back() {
    let project = Project::new();
    assert!(project.run(&["audit", "checkpoint"]).ended_with(1).stdout.contains("nothing to sign"));
    for path in ["a", "b", "c"] {
        lock(&project, path);
    }
    let note = project.beside("trail.note");
    let note = note.to_str().unwrap();
    let signed = project.run(&["audit", "checkpoint", "--out", note]).ended_with(0);
    assert!(signed.stderr.contains("It vouches for 3 rows. Its public key is agent-coordinator/"), "{signed:?}");
    lock(&project, "d");
    let verified = project.run(&["audit", "verify", "--checkpoint", note]).ended_with(0);
    assert_eq!(verified.stdout, "All 4 rows are as they were recorded.\n");

    let raw = "drop trigger audit_no_delete; delete from audit where seq > 2";
    sqlite(&project, raw);
    assert!(project.run(&["audit", "verify"]).ended_with(0).stderr.contains("Without a checkpoint"));
    let found = project.run(&["audit", "verify", "--checkpoint", note]).ended_with(1);
    assert!(found.stdout.contains("signed for 3 rows, and there are only 2"), "{found:?}");
}

fn sqlite(project: &Project, sql: &str) {
    rusqlite::Connection::open(project.database()).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn a_row_is_proved_to_somebody_without_the_database() {
    let project = Project::new();
    lock(&project, "a");
    lock(&project, "b");
    let rows = project.run(&["audit", "--json"]).json();
    let id = rows["entries"][1]["id"].as_str().unwrap().to_owned();
    let proof = project.run(&["audit", "prove", &id]).ended_with(0).stdout;
    let file = project.beside("proof.json");
    std::fs::write(&file, &proof).unwrap();
    let key = project.run(&["audit", "key"]).ended_with(0).stdout;

    let elsewhere = project.beside("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let check = |arguments: &[&str]| {
        let arguments = [&["audit", "check-proof", file.to_str().unwrap()], arguments].concat();
        let mut command = project.command_in(&elsewhere, &arguments);
        crate::project::Ran::from(command.env("HOME", &elsewhere).output().unwrap())
    };
    let checked = check(&["--key", key.trim()]).ended_with(0);
    assert_eq!(checked.stdout, "True: row 1 of 2 is acquire_lock by ann.\n");
    assert!(check(&[]).ended_with(2).stderr.contains("--key"));
    std::fs::write(&file, proof.replace("acquire_lock", "release_lock")).unwrap();
    assert!(check(&["--key", key.trim()]).ended_with(1).stderr.contains("not in the trail"));
}

#[test]
fn the_record_is_exported_noted_in_git_and_pruned() {
    let project = Project::new();
    project.git(&["config", "user.name", "ann"]);
    project.git(&["config", "user.email", "ann@example.com"]);
    project.git(&["commit", "--quiet", "--allow-empty", "--message", "first"]);
    for path in ["a", "b", "c"] {
        lock(&project, path);
    }
    let lines = project.run(&["audit", "export", "--format", "cloudevents"]).ended_with(0).stdout;
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((events.len(), &events[0]["type"]), (3, &Value::from("agent-coordinator.acquire_lock")));
    assert_eq!(project.run(&["audit", "export", "--after", "1"]).ended_with(0).stdout.lines().count(), 2);

    project.run(&["audit", "checkpoint", "--git-note"]).ended_with(0);
    project.git(&["notes", "--ref=agent-coordinator", "show"]);
    assert_eq!(project.run(&["audit", "prune", "--json"]).ended_with(0).json()["rows"], 0);
    let soon = jiff::Timestamp::now().to_string();
    assert_eq!(project.run(&["audit", "prune", "--before", &soon, "--json"]).ended_with(0).json()["rows"], 2);
    let verified = project.run(&["audit", "verify", "--json"]).ended_with(0).json();
    assert_eq!((&verified["rows"], &verified["sealed"]), (&Value::from(2), &Value::from(2)));
}

/// At the most talkative, and when something is wrong.
#[test]
fn no_log_line_has_a_secret() {
    let project = Project::new();
    let secret = "ghp_0123456789abcdefghijklmnopqrstuvwxyz";
    for (operation, request) in [
        ("acquire_lock", format!(r#"{{"file_path": "a", "reason": "with {secret}"}}"#)),
        ("acquire_lock", format!(r#"{{"file_path": "{secret}"}}"#)),
        ("get_task", format!(r#"{{"task_id": "{secret}"}}"#)),
        ("remember", format!(r#"{{"event_type": "{secret}", "summary": "{secret}"}}"#)),
        ("submit_work", format!(r#"{{"task_type": "t", "description": "d", "{secret}": 1}}"#)),
    ] {
        let ran: crate::project::Ran =
            project.command(&["call", operation, &request]).env("RUST_LOG", "trace").output().unwrap().into();
        assert!(!ran.stderr.contains(secret) && !ran.stdout.contains(secret), "{operation}: {ran:?}");
    }
}
