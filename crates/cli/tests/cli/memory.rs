//! Memory from the command line.

use crate::project::Project;

#[test]
fn what_one_remembers_another_recalls() {
    let project = Project::new();
    let old = project
        .run(&["memory", "remember", "decision", "The pool holds 20 connections", "--tag", "db", "--json"])
        .ended_with(0)
        .json();
    let old = old["memory_id"].as_str().unwrap();
    let supersede = ["memory", "remember", "decision", "The pool holds 50 connections", "--supersedes", old];
    let new = [&supersede[..], &["--lesson", "count the \x1b[2J pods", "--outcome", "positive"]].concat();
    let stored = project.run_as("bob", &new).ended_with(0).stdout;
    assert!(stored.starts_with("remembered as "), "{stored}");
    assert!(project.run_as("bob", &new[..4]).ended_with(0).stdout.starts_with("added to "));
    let late = project.run_as("eve", &["memory", "remember", "decision", "70", "--supersedes", old]).ended_with(1);
    assert!(late.stderr.contains("out of date already"), "{late:?}");

    let found = project.run_as("eve", &["memory", "recall", "pooled", "connections", "--explain"]).ended_with(0).stdout;
    let (fifty, twenty) = (found.find("holds 50").unwrap(), found.find("holds 20").unwrap());
    assert!(fifty < twenty && found.contains("out of date") && found.contains("by bob"), "{found}");
    assert!(found.contains("text 0.") && !found.contains('\x1b'), "{found}");
    let found = project.run(&["memory", "recall", "--tag", "db", "--type", "decision", "--json"]).ended_with(0).json();
    assert_eq!(found["memories"].as_array().unwrap().len(), 1);
    let none = project.run(&["memory", "recall", "kubernetes"]).ended_with(0).stdout;
    assert_eq!(none, "Nothing of this is remembered.\n");
    let wrong = project.run(&["memory", "recall", "x", "--min", "2"]).ended_with(2);
    assert!(wrong.stderr.contains("min_relevance"), "{wrong:?}");
}

#[test]
fn skills_are_listed_surest_first() {
    let project = Project::new();
    assert_eq!(project.run(&["memory", "skills"]).ended_with(0).stdout, "No skill is known for this.\n");
    for (name, uses) in [("once", 1), ("often", 5)] {
        for _ in 0..uses {
            let used = format!(r#"{{"skill_name": "{name}", "success": true, "task_type": "deploy"}}"#);
            project.run(&["call", "record_skill_use", &used]).ended_with(0);
        }
    }
    let listed = project.run(&["memory", "skills", "deploy"]).ended_with(0).stdout;
    assert!(listed.find("often").unwrap() < listed.find("once").unwrap(), "{listed}");
    assert!(listed.contains("5 of 5") && listed.contains("57 %") && listed.contains("21 %"), "{listed}");
}
