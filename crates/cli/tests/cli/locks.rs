//! Locks from the command line.

use std::process::Stdio;
use std::time::Duration;

use crate::project::{Project, Ran};

#[test]
fn a_lock_that_is_taken_is_refused_with_who_and_why_and_how_long() {
    let project = Project::new();
    let locked = project.run(&["lock", "src/a.py", "--reason", "new parser", "--ttl", "30"]).ended_with(0);
    assert_eq!(locked.stdout, "locked src/a.py for 30 min\n");

    let refused = project.run_as("bob", &["lock", "src"]).ended_with(1);
    assert_eq!(refused.stdout, "");
    assert!(
        refused.stderr.contains("ann holds src/a.py, which overlaps src, for another 30 min (new parser)"),
        "{refused:?}"
    );

    let answer = project.run_as("bob", &["lock", "src/a.py", "--json"]).ended_with(1);
    assert_eq!(answer.stderr, "");
    let answer = answer.json();
    assert_eq!(answer["reason"], "locked_by_other");
    assert_eq!(answer["locked_by"], "ann");
    assert_eq!(answer["conflicts_with"][0]["agent_type"], "human");

    project.run(&["unlock", "src/a.py"]).ended_with(0);
    project.run_as("bob", &["lock", "src/a.py"]).ended_with(0);
}

#[test]
fn every_spelling_is_the_same_lock() {
    let project = Project::new();
    std::fs::create_dir_all(project.path.join("src/x")).unwrap();
    project.run(&["lock", "src/a.py"]).ended_with(0);
    let absolute = project.path.join("src/a.py").to_str().unwrap().to_owned();
    for spelling in ["./src//a.py", "src/x/../a.py", r"src\a.py", &absolute] {
        let again = project.run(&["lock", spelling]).ended_with(0);
        assert_eq!(again.stdout, "refreshed src/a.py for 2 h\n", "{spelling}");
        project.run_as("bob", &["lock", spelling]).ended_with(1);
    }
    let from_below = project.command_in(&project.path.join("src/x"), &["lock", "../a.py"]).output().unwrap();
    assert_eq!(Ran::from(from_below).ended_with(0).stdout, "refreshed src/a.py for 2 h\n");
    assert_eq!(project.run(&["locks", "--json"]).json().as_array().unwrap().len(), 1);
}

#[test]
fn several_locks_are_all_or_none() {
    let project = Project::new();
    project.run_as("bob", &["lock", "b.py", "c.py", "--shared"]).ended_with(0);
    let refused = project.run(&["lock", "a.py", "b.py", "c.py"]).ended_with(1);
    assert!(refused.stderr.contains("2 locks of others are in the way"), "{refused:?}");
    assert!(!project.run(&["locks"]).ended_with(0).stdout.contains("a.py"));
    assert_eq!(project.run(&["locks", "a.py"]).ended_with(0).stdout, "Nothing of this is locked.\n");

    project.run(&["lock", "b.py", "--shared"]).ended_with(0);
    let half = project.run(&["unlock", "b.py", "c.py"]).ended_with(1);
    assert_eq!(half.stdout, "released b.py\n");
    assert!(half.stderr.contains("you hold no lock on c.py"), "{half:?}");
}

#[test]
fn whoever_waits_gets_the_lock_when_it_is_released() {
    let project = Project::new();
    project.run(&["lock", "a.py"]).ended_with(0);
    let waiting = project
        .command(&["lock", "a.py", "--wait", "30"])
        .env("AGENT_ID", "bob")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    crate::project::until("bob waits", || project.run(&["status", "--json"]).json()["waiters"][0]["agent_id"] == "bob");
    assert!(project.run(&["status"]).ended_with(0).stdout.contains("waiting\n"));
    project.run(&["unlock", "a.py"]).ended_with(0);
    let waited = Ran::from(waiting.wait_with_output().unwrap()).ended_with(0);
    assert_eq!(waited.stdout, "locked a.py for 2 h\n");
}

#[test]
fn a_wait_that_ends_in_vain_is_a_refusal() {
    let project = Project::new();
    project.run(&["lock", "a.py"]).ended_with(0);
    let begun = std::time::Instant::now();
    let vain = project.run_as("bob", &["lock", "a.py", "--wait", "1"]).ended_with(1);
    assert!(begun.elapsed() >= Duration::from_secs(1), "{vain:?}");
    assert!(vain.stderr.contains("It is taken; waiting for up to 1 s."), "{vain:?}");
}

#[test]
fn wrong_keys_are_refused_with_the_reason() {
    let project = Project::new();
    for (key, code, words) in [
        ("../outside", 2, "it leaves the repository"),
        ("/etc/passwd", 2, "it is absolute"),
        ("http:thing", 1, "lock keys may not start with \"http:\""),
        ("", 2, "it is empty"),
    ] {
        let refused = project.run(&["lock", key]).ended_with(code);
        assert!(refused.stderr.contains(words), "{key}: {refused:?}");
    }
    project.run(&["lock", "a.py", "--ttl", "481"]).ended_with(2);
    project.run(&["lock"]).ended_with(2);
}

#[test]
fn what_an_agent_wrote_does_not_command_the_terminal() {
    let project = Project::new();
    project.run_as("bob", &["lock", "a.py", "--reason", "\u{1b}]0;owned\u{7}"]).ended_with(0);
    let shown = [project.run(&["locks"]), project.run(&["lock", "a.py"]), project.run(&["status"])];
    for ran in shown {
        assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'), "{ran:?}");
    }
}

#[test]
fn status_shows_who_holds_locks_without_a_session_and_which_rules_are_broken() {
    let project = Project::new();
    let empty = project.run(&["status"]).ended_with(0).stdout;
    assert!(empty.contains("agents: none here") && !empty.contains("broken"), "{empty}");
    project.run(&["lock", "a.py"]).ended_with(0);
    let held = project.run(&["status"]).ended_with(0).stdout;
    assert!(held.contains("agents: none with a session\nwithout a session, but with locks: ann"), "{held}");

    // As if by a program that does not know what makes a good rule.
    let database = rusqlite::Connection::open(project.database()).unwrap();
    let rule = "insert into rules values ('default', 1000, 'guardrails', 'ours', 'no [toml', 'somebody', 0)";
    database.execute(rule, []).unwrap();
    let broken = project.run(&["status"]).ended_with(0).stdout;
    assert!(broken.contains("the guardrails rule ours cannot be read in version 1000"), "{broken}");
    assert!(!project.run(&["status", "--json"]).json()["broken_rules"].as_array().unwrap().is_empty());
}
