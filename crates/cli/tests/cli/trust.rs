//! Profiles and policies from the command line; and the walk-through in `docs/trust.md`, run as written.

use std::path::Path;
use std::process::Command;

use crate::project::{COORDINATOR, Project};

/// The shell blocks of a page, one after the other.
fn script(page: &str) -> String {
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_walk_through_runs_as_written() {
    let project = Project::new();
    let script = script(include_str!("../../../../docs/trust.md"));
    assert!(script.contains("coordinator policy put"), "{script}");
    let beside = Path::new(COORDINATOR).parent().unwrap().display().to_string();
    let path = format!("{beside}:{}", std::env::var("PATH").unwrap());
    let ran = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .current_dir(&project.path)
        .env("PATH", path)
        .env_remove("COORDINATOR_DB")
        .output()
        .unwrap();
    let (said, told) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}\n{told}");
    for expected in [
        "max_file_modifications = 10",
        "agent:lint-1 has profile linter now",
        "infra.cedar is valid",
        "refused: acquire_lock is forbidden by policy infra/people-only",
        "principal.trust < 4",
    ] {
        assert!(said.contains(expected), "{expected} is not in\n{said}\n{told}");
    }
}

#[test]
fn a_mistake_is_told_with_its_place() {
    let project = Project::new();
    std::fs::write(project.path.join("bad.cedar"), "permit (principal, action, resource)\n  when { oops };\n").unwrap();
    let validated = project.run(&["policy", "validate", "bad.cedar"]).ended_with(2);
    assert!(validated.stderr.starts_with("bad.cedar:2:"), "{validated:?}");
    let put = project.run(&["policy", "put", "bad.cedar"]).ended_with(2);
    assert!(put.stderr.contains("line 2, column "), "{put:?}");
    let checked = project.run(&["policy", "check", "put_policy", "--type", "codex_cli"]).ended_with(1);
    assert!(checked.stdout.starts_with("refused: put_policy needs trust level 4"), "{checked:?}");
    assert!(project.run(&["policy", "check", "put_policy"]).ended_with(0).stdout.starts_with("allowed"));
}
