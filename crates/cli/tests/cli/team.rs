//! The team's file, checked from the command line.

use serde_json::json;

use crate::project::Project;

const TEAM: &str =
    "team: shop\nagents:\n  - {name: ann, role: lead, capabilities: [rust]}\n  - {name: bob, role: review}\n";

#[test]
fn a_good_file_is_found_wherever_one_stands() {
    let project = Project::new();
    let none = project.run(&["team", "validate"]).ended_with(1);
    assert!(none.stderr.contains("there is no teams.yaml"), "{none:?}");
    std::fs::write(project.path.join("teams.yaml"), TEAM).unwrap();
    let good = project.run(&["team", "validate"]).ended_with(0);
    assert_eq!(good.stdout, "teams.yaml is valid: team shop, 2 agents\n");
    let below = project.path.join("src");
    std::fs::create_dir(&below).unwrap();
    assert!(project.command_in(&below, &["team", "validate"]).status().unwrap().success());
    let answer = project.run(&["team", "validate", "teams.yaml", "--json"]).ended_with(0).json();
    assert_eq!((&answer["team"], &answer["agents"]), (&json!("shop"), &json!(["ann", "bob"])));

    assert!(project.run(&["doctor"]).stdout.contains("shop, 2 agents"));
    let listed = project.run(&["agents", "--all"]).ended_with(0).stdout;
    assert!(listed.contains("ann") && listed.contains("lead") && listed.contains("disconnected"), "{listed}");
    assert_eq!(project.run(&["agents"]).ended_with(0).stdout, "No agent is here.\n");
}

#[test]
fn a_bad_file_is_told_line_by_line() {
    let project = Project::new();
    let file = project.path.join("other.yaml");
    std::fs::write(&file, "team: shop\nagents:\n  - {name: ann}\n  - {name: ann, role: x}\n").unwrap();
    let bad = project.run(&["team", "validate", "other.yaml"]).ended_with(2);
    assert_eq!(
        bad.stderr,
        "other.yaml:3:5: agents[0].role: is required\n\
         other.yaml:4:12: agents[1].name: is taken: ann is on line 3 already\n"
    );
    let answer = project.run(&["team", "validate", "other.yaml", "--json"]).ended_with(2).json();
    assert_eq!(answer["errors"][1]["line"], 4);
    assert_eq!(answer["errors"][1]["field"], "agents[1].name");

    std::fs::write(project.path.join("teams.yaml"), "agents: 7").unwrap();
    assert!(project.run(&["team", "validate"]).ended_with(2).stderr.starts_with("teams.yaml:1:9: agents: "));
    let doctor = project.run(&["doctor"]).stdout;
    assert!(doctor.contains("-> coordinator team validate"), "{doctor}");
    std::fs::write(&file, b"\xff\xfe").unwrap();
    assert!(project.run(&["team", "validate", "other.yaml"]).ended_with(2).stderr.contains("cannot be read"));
    project.run(&["team", "validate", "nowhere.yaml"]).ended_with(1);
}
