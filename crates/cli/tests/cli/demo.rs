//! The demo: everything it checks holds, whatever the user's own set-up is, and nothing is left of it.

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

#[test]
fn a_demo_of_one_agent_is_none() {
    Project::new().run(&["demo", "--agents", "1"]).ended_with(2);
}
