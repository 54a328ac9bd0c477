//! The demo: everything it checks holds, whatever the user's own set-up is, and nothing is left of it.

use std::os::unix::fs::PermissionsExt;

use crate::project::Project;

#[test]
fn everything_the_demo_checks_holds() {
    let project = Project::new();
    let temporary = project.beside("temporary");
    std::fs::create_dir(&temporary).unwrap();
    let mut command = project.command(&["demo", "--json"]);
    command.env("TMPDIR", &temporary);
    // None of this is the demo's affair.
    command.env("DB_BACKEND", "postgres").env("COORDINATOR_PROJECT", "another").env("AGENT_ID", "somebody");
    command.env("GIT_DIR", project.path.join(".git")).env("GIT_AUTHOR_NAME", "somebody");

    let ran = crate::project::Ran::from(command.output().unwrap());
    let summary = ran.json();
    let checks =
        summary["checks"].as_array().unwrap_or_else(|| panic!("no list of checks in {summary:#}\n{}", ran.stderr));
    let failed: Vec<_> = checks.iter().filter(|check| check["passed"] != true).collect();
    assert!(failed.is_empty(), "{failed:#?}\n{}", ran.stderr);
    assert_eq!((summary["passed"].as_bool(), checks.len()), (Some(true), 11), "{summary:#}");
    let answer = summary["median_answer_characters"].as_u64().unwrap();
    assert!((1..=600).contains(&answer), "an agent reads {answer} characters");
    assert!(ran.stderr.contains("is KILLED"), "{}", ran.stderr);
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "the temporary directory is not empty");
    ran.ended_with(0);
}

/// A `git` that is slow to make work trees, cannot check anything out, and notes what it was called for.
const BROKEN_GIT: &str = r#"#!/bin/sh
echo "$1" >> "$NOTES"
case "$1" in
    worktree) sleep 0.3 ;;
    checkout) echo "the disk is on fire" >&2; exit 1 ;;
esac
PATH="$SOUND_PATH" exec git "$@"
"#;

#[test]
fn an_agent_that_ends_early_says_why_and_none_begins_before_all_work_trees_are_there() {
    let project = Project::new();
    let (programs, notes) = (project.beside("programs"), project.beside("notes"));
    std::fs::create_dir(&programs).unwrap();
    let git = programs.join("git");
    std::fs::write(&git, BROKEN_GIT).unwrap();
    std::fs::set_permissions(&git, std::fs::Permissions::from_mode(0o755)).unwrap();
    let sound = std::env::var("PATH").unwrap();
    let mut command = project.command(&["demo", "--json"]);
    command.env("PATH", format!("{}:{sound}", programs.display())).env("SOUND_PATH", sound).env("NOTES", &notes);

    let ran = crate::project::Ran::from(command.output().unwrap());
    let error = ran.json()["error"].to_string();
    for part in ["ended early, with exit code 70", "git checkout", "the disk is on fire"] {
        assert!(error.contains(part), "{part:?} is not in {error}");
    }
    let notes = std::fs::read_to_string(&notes).unwrap();
    let (before, _) = notes.split_once("checkout").unwrap();
    assert_eq!(before.matches("worktree").count(), 4, "{notes}");
    ran.ended_with(1);
}

#[test]
fn a_demo_of_one_agent_is_none() {
    Project::new().run(&["demo", "--agents", "1"]).ended_with(2);
}
