//! Features and the merge queue from the command line, over a real repository.

use crate::project::Project;

/// A repository in which `login` and `session` change one line in two ways, and `docs` something else.
fn three_features() -> Project {
    let project = Project::new();
    project.git(&["checkout", "--quiet", "-b", "main"]);
    let commit = |file: &str, text: &str| {
        std::fs::write(project.path.join(file), text).unwrap();
        project.git(&["add", "--all"]);
        project.git(&["commit", "--quiet", "-m", "x"]);
    };
    commit("auth.rs", "old\n");
    for (branch, file) in [("login", "auth.rs"), ("session", "auth.rs"), ("docs", "guide.md")] {
        project.git(&["checkout", "--quiet", "-b", branch, "main"]);
        commit(file, &format!("{branch}\n"));
        project.git(&["checkout", "--quiet", "main"]);
    }
    project
}

#[test]
fn features_that_meet_are_put_in_order_and_the_later_is_told_what_to_rebase() {
    let project = three_features();
    let run = |arguments: &[&str]| project.run(arguments);
    assert_eq!(run(&["feature", "list"]).ended_with(0).stdout, "Nothing is being built.\n");
    run(&["feature", "register", "login", "auth.rs", "--branch", "login", "--priority", "2"]).ended_with(0);
    let second = run(&["feature", "register", "session", "*.rs", "--branch", "session"]).ended_with(0).stdout;
    assert!(second.starts_with("registered session\nSEQUENTIAL: 1 of 1 claims overlap"), "{second}");
    assert!(second.contains("login claims auth.rs, which *.rs meets"), "{second}");
    assert!(second.contains("build in this order: login, then session"), "{second}");
    run(&["feature", "register", "docs", "guide.md", "--branch", "docs"]).ended_with(0);
    let order = run(&["feature", "list", "--json"]).json()["order"].clone();
    assert_eq!(order, serde_json::json!([["login", "docs"], ["session"]]));
    let asked = run(&["feature", "conflicts", "new", "guide.md", "x", "y"]).ended_with(0).stdout;
    assert!(asked.starts_with("PARTIAL: 1 of 3 claims"), "{asked}");

    for feature in ["session", "login", "docs"] {
        let queued = run(&["merge", "enqueue", feature]).ended_with(0).stdout;
        assert_eq!(queued, format!("{feature} is queued\n"));
    }
    let early = run(&["merge", "check", "session"]).ended_with(1).stdout;
    assert!(early.contains("FAIL  entries_ahead: login is ahead in the queue and claims the same"), "{early}");
    assert!(run(&["merge", "check", "login"]).ended_with(0).stdout.ends_with("login is ready\n"));
    run(&["merge", "check", "docs"]).ended_with(0);
    let conflict = run(&["merge", "check", "session"]).ended_with(1).stdout;
    assert!(conflict.contains("FAIL  merges_with_entries_ahead: it conflicts with login"), "{conflict}");
    assert!(conflict.contains("rebase session onto main") && conflict.ends_with("session is blocked\n"), "{conflict}");
    let list = run(&["merge", "list"]).ended_with(0).stdout;
    assert!(list.contains("session") && list.contains("blocked") && list.contains("conflicts with login"), "{list}");

    run(&["merge", "merged", "login", "--commit", "c0ffee"]).ended_with(0);
    assert!(run(&["feature", "show", "login"]).ended_with(0).stdout.contains("completed"));
    assert!(run(&["merge", "list", "--merged"]).stdout.contains("login"));
    assert_eq!(run(&["merge", "remove", "session"]).ended_with(0).stdout, "session is out of the queue\n");
    let gone = run(&["merge", "remove", "session"]).ended_with(1);
    assert!(gone.stderr.contains("session is not in the merge queue"), "{gone:?}");
    let drift = run(&["feature", "drift", "session"]).ended_with(0).stdout;
    assert_eq!(drift, "session changes 1 files since it left main\n");
    run(&["feature", "cancel", "session"]).ended_with(0);
    assert_eq!(run(&["feature", "show", "none"]).ended_with(1).stdout, "There is no such feature.\n");
}
