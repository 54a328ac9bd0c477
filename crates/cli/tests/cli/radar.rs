//! The conflict radar, on real branches and work trees.

use serde_json::{Value, json};

use crate::project::Project;

/// A repository with a file of twenty lines, and three agents' branches: two that change its tenth line, one that does
/// something else.
fn with_branches() -> Project {
    let project = Project::new();
    project.git(&["checkout", "-q", "-b", "main"]);
    commit(&project, "start", &[("src/list.rs", &lines(&[])), ("README", "hello\n")]);
    for (branch, path, text) in [
        ("agent/ada/1", "src/list.rs", lines(&[(10, "ada's")])),
        ("agent/bob/2", "src/list.rs", lines(&[(1, "one\nmore"), (10, "bob's")])),
        ("agent/eve/3", "docs/new.md", "alone\n".to_owned()),
    ] {
        project.git(&["checkout", "-q", "-b", branch, "main"]);
        commit(&project, branch, &[(path, &text)]);
    }
    project.git(&["checkout", "-q", "main"]);
    project
}

fn lines(changed: &[(usize, &str)]) -> String {
    let line =
        |n: usize| changed.iter().find(|(at, _)| *at == n).map_or(format!("line {n}"), |(_, text)| (*text).into());
    (1..=20).map(|n| line(n) + "\n").collect()
}

fn commit(project: &Project, message: &str, files: &[(&str, &str)]) {
    for (path, text) in files {
        let file = project.path.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    project.git(&["add", "-A"]);
    project.git(&["commit", "-q", "-m", message]);
}

fn inbox(project: &Project, agent: &str) -> Vec<Value> {
    let read = project.run_as(agent, &["message", "read", "--json"]).ended_with(0).json();
    read["messages"].as_array().unwrap().clone()
}

#[test]
fn a_conflict_is_told_to_both_agents_once() {
    let project = with_branches();
    let answer = project.run(&["radar", "--json"]).ended_with(0).json();
    let [conflict] = answer["conflicts"].as_array().unwrap().as_slice() else { panic!("{answer:#}") };
    assert_eq!((&answer["branches"], &answer["pairs"], &answer["apart"]), (&json!(3), &json!(3), &json!(2)));
    assert_eq!((&conflict["one"]["agent_id"], &conflict["other"]["agent_id"]), (&json!("ada"), &json!("bob")));
    assert_eq!(conflict["files"][0]["path"], "src/list.rs");
    assert_eq!(conflict["files"][0]["kind"], "content");
    assert_eq!(conflict["files"][0]["hunks"], json!([{"one": "10", "other": "11"}]));
    assert_eq!(conflict["told"], json!(["ada", "bob"]));

    let again = project.run(&["radar", "--json"]).ended_with(0).json();
    assert_eq!(again["conflicts"][0]["told"], json!([]));
    let [to_ada] = inbox(&project, "ada").try_into().unwrap();
    let [to_bob] = inbox(&project, "bob").try_into().unwrap();
    let text = |message: &Value| message["text"].as_str().unwrap().to_owned();
    assert_eq!(to_ada["from"], "coordinator");
    assert!(text(&to_ada).contains("agent/bob/2 of bob") && text(&to_ada).contains("lines 10 here against 11 there"));
    assert!(text(&to_bob).contains("agent/ada/1 of ada") && text(&to_bob).contains("lines 11 here against 10 there"));
    assert!(inbox(&project, "eve").is_empty());
    let events = project.run(&["audit", "--operation", "branch_conflicts", "--json"]).ended_with(0).json();
    assert_eq!(events.as_array().or(events["entries"].as_array()).unwrap().len(), 2, "{events:#}");

    // Another commit is another conflict.
    project.git(&["checkout", "-q", "agent/ada/1"]);
    commit(&project, "more", &[("src/list.rs", &lines(&[(10, "ada's other")]))]);
    project.git(&["checkout", "-q", "main"]);
    let shown = project.run(&["radar"]).ended_with(0).stdout;
    assert!(shown.contains("agent/ada/1 of ada does not merge with agent/bob/2 of bob"), "{shown}");
    assert!(shown.contains("src/list.rs: content, lines 10 / 11") && shown.contains("told to ada and bob"), "{shown}");
}

#[test]
fn uncommitted_work_is_seen_and_left_alone() {
    let project = with_branches();
    let tree = project.beside("eves");
    project.git(&["worktree", "add", "-q", &tree.to_string_lossy(), "agent/eve/3"]);
    std::fs::write(tree.join("src/list.rs"), lines(&[(10, "eve's")])).unwrap();
    let answer = project.run(&["radar", "--branch", "agent/eve/3", "--json"]).ended_with(0).json();
    assert_eq!(answer["conflicts"].as_array().unwrap().len(), 2, "{answer:#}");
    assert!(answer["conflicts"].as_array().unwrap().iter().all(|c| c["other"]["uncommitted"] == true), "{answer:#}");
    let told = inbox(&project, "eve");
    assert_eq!(told.len(), 2);
    assert!(told[0]["text"].as_str().unwrap().contains("uncommitted work"), "{told:?}");

    // The same files again are no news, whatever is in them meanwhile.
    std::fs::write(tree.join("src/list.rs"), lines(&[(10, "eve's second thought")])).unwrap();
    project.run(&["radar"]).ended_with(0);
    assert!(inbox(&project, "eve").is_empty());
    std::fs::write(tree.join("src/list.rs"), lines(&[])).unwrap();
    let answer = project.run(&["radar", "--json"]).ended_with(0).json();
    assert_eq!(answer["conflicts"].as_array().unwrap().len(), 1, "{answer:#}");
}

#[test]
fn without_a_repository_it_says_so() {
    let project = Project::new();
    let empty = project.run(&["radar"]).ended_with(0);
    assert!(empty.stdout.contains("Everything merges"), "{empty:?}");
    let elsewhere = project.beside("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let database = project.database();
    let arguments = ["radar", "--db", &*database.to_string_lossy()];
    let ran: crate::project::Ran = project.command_in(&elsewhere, &arguments).output().unwrap().into();
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("coordinator radar"), "{ran:?}");
}
