//! Where the state is kept, how it is set up, and what is said when that is wrong.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::project::{Project, Ran};

#[test]
fn work_trees_share_one_database_that_only_its_owner_can_read() {
    let project = Project::new();
    project.git(&["commit", "--quiet", "--allow-empty", "-m", "first"]);
    let other = project.beside("other");
    project.git(&["worktree", "add", "--quiet", other.to_str().unwrap()]);

    project.run(&["lock", "src/a.py"]).ended_with(0);
    let refused = project.command_in(&other, &["lock", "src/a.py"]).env("AGENT_ID", "bob").output().unwrap();
    assert!(Ran::from(refused).ended_with(1).stderr.contains("ann holds src/a.py"));

    for file in project.database().parent().unwrap().read_dir().unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", file.path().display());
    }
}

#[test]
fn many_processes_can_begin_at_once() {
    let project = Project::new();
    let start = |number: usize| {
        let path = format!("src/{number}.py");
        let mut command = project.command(&["lock", &path, "common.py", "--shared"]);
        command
            .env("AGENT_ID", format!("agent-{number}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..10).map(start).collect();
    for child in children {
        Ran::from(child.wait_with_output().unwrap()).ended_with(0);
    }
    assert_eq!(project.run(&["locks", "--json"]).json().as_array().unwrap().len(), 20);
}

#[test]
fn one_of_many_gets_the_lock() {
    let project = Project::new();
    let start = |number: usize| {
        let mut command = project.command(&["lock", "a.py", "--json"]);
        command
            .env("AGENT_ID", format!("agent-{number}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..10).map(start).collect();
    let codes: Vec<i32> = children.into_iter().map(|child| Ran::from(child.wait_with_output().unwrap()).code).collect();
    assert_eq!(
        (codes.iter().filter(|c| **c == 0).count(), codes.iter().filter(|c| **c == 1).count()),
        (1, 9),
        "{codes:?}"
    );
}

#[test]
fn every_bad_setting_is_named_with_what_is_allowed() {
    let project = Project::new();
    let mut command = project.command(&["status"]);
    let ran = Ran::from(command.env("API_PORT", "http").env("LOCK_TTL_MINUTES", "0").output().unwrap()).ended_with(2);
    assert!(ran.stderr.contains("API_PORT is \"http\": must be a whole number from 0 to 65535"), "{ran:?}");
    assert!(ran.stderr.contains("LOCK_TTL_MINUTES is \"0\": must be a whole number from 1 to 480"), "{ran:?}");

    std::fs::write(project.path.join("coordinator.toml"), "colour = \"red\"\n").unwrap();
    for command in ["status", "mcp", "serve"] {
        let ran = project.run(&[command]).ended_with(2);
        assert!(ran.stderr.contains("there is no setting colour"), "{command}: {ran:?}");
    }
    let doctor = project.run(&["doctor"]).ended_with(2);
    assert!(doctor.stdout.contains("fail  settings"), "{doctor:?}");
}

#[test]
fn a_database_that_cannot_be_opened_is_told_in_a_sentence() {
    let project = Project::new();
    let file = project.beside("file");
    std::fs::write(&file, "this is no database, but long enough to have been one: ".repeat(20)).unwrap();
    for command in ["status", "mcp", "serve"] {
        let ran = project.run(&[command, "--db", file.to_str().unwrap()]).ended_with(3);
        assert!(ran.stderr.contains("not a SQLite database"), "{command}: {ran:?}");
        assert_eq!((ran.stdout.as_str(), ran.stderr.lines().count()), ("", 1), "{command}: {ran:?}");
    }
    let below = file.join("x.db");
    let ran = project.run(&["status", "--json", "--db", below.to_str().unwrap()]).ended_with(3);
    assert_eq!(ran.json()["error"], "database_unavailable");
    project.run(&["doctor", "--db", below.to_str().unwrap()]).ended_with(3);
    project.run(&["status", "--db", "postgres://nobody@127.0.0.1:1/none"]).ended_with(3);
}

#[test]
fn projects_in_one_database_do_not_see_each_other() {
    let project = Project::new();
    let database = project.beside("shared.db");
    let database = database.to_str().unwrap();
    project.run(&["lock", "a.py", "--db", database, "--project", "one"]).ended_with(0);
    project.run_as("bob", &["lock", "a.py", "--db", database, "--project", "two"]).ended_with(0);
    project.run_as("bob", &["lock", "a.py", "--db", database, "--project", "one"]).ended_with(1);
    assert_eq!(project.run(&["locks"]).ended_with(0).stdout, "Nothing is locked.\n");
}

#[test]
fn keys_are_shown_once_and_can_be_revoked() {
    let project = Project::new();
    let made =
        project.run(&["keys", "create", "--name", "ci", "--agent-id", "bot", "--expires-in-days", "7"]).ended_with(0);
    let key = made.stdout.trim();
    assert!(key.starts_with("ack_") && key.len() > 60, "{made:?}");

    let listed = project.run(&["keys", "list", "--json"]).ended_with(0);
    assert!(!listed.stdout.contains(key), "{listed:?}");
    let listed = listed.json();
    assert_eq!((&listed["keys"][0]["status"], &listed["keys"][0]["agent_id"]), (&"live".into(), &"bot".into()));
    assert!(project.run(&["keys", "list"]).stdout.contains("in 7 days"));

    let id = listed["keys"][0]["id"].as_str().unwrap();
    project.run(&["keys", "revoke", id]).ended_with(0);
    project.run(&["keys", "revoke", id]).ended_with(1);
    assert!(project.run(&["keys", "list"]).stdout.contains("revoked"));
    assert!(!project.run(&["audit", "--json"]).stdout.contains(key));
}

#[test]
fn doctor_finds_nothing_wrong_with_a_fresh_repository() {
    let project = Project::new();
    // Should something listen on the default port, it is none of this test's.
    let ran = Ran::from(project.command(&["doctor", "--json"]).env("API_PORT", "1").output().unwrap()).ended_with(0);
    let checks = ran.json()["checks"].as_array().unwrap().clone();
    assert!(checks.iter().all(|check| check["verdict"] == "ok"), "{ran:?}");
    let names: Vec<&str> = checks.iter().filter_map(|check| check["check"].as_str()).collect();
    for name in ["database", "permissions", "durability", "disk", "writing", "mcp", "server", "keys"] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[test]
fn whoever_stops_reading_hears_no_complaint() {
    let project = Project::new();
    let mut child = project.command(&["openapi"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ran = Ran::from(child.wait_with_output().unwrap()).ended_with(0);
    assert_eq!(ran.stderr, "");
}

#[test]
fn help_tells_the_exit_codes_and_every_shell_has_completions() {
    let project = Project::new();
    assert!(project.run(&["--help"]).ended_with(0).stdout.contains("Exit codes:"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(project.run(&["completions", shell]).ended_with(0).stdout.contains("doctor"), "{shell}");
    }
    assert_eq!(project.run(&["openapi"]).ended_with(0).json()["openapi"], "3.1.0");
}
