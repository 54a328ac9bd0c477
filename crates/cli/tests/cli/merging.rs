//! Features and the merge queue from the command line, over a real repository.

use std::process::Command;

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

#[test]
fn what_is_queued_is_tested_and_landed_as_it_was_tested() {
    let project = three_features();
    let run = |arguments: &[&str]| project.run(arguments);
    for (feature, claim, priority) in [("login", "auth.rs", "2"), ("session", "*.rs", "5"), ("docs", "guide.md", "5")] {
        run(&["feature", "register", feature, claim, "--branch", feature, "--priority", priority]).ended_with(0);
        run(&["merge", "enqueue", feature]).ended_with(0);
    }
    let untested = run(&["merge", "run"]).ended_with(1).stderr;
    assert!(untested.contains("nothing would be tested"), "{untested}");
    let policies = |command: &str| {
        let policy = "[[verification]]\nname = 'tests'\nglobs = ['**']\ntier = 1\n";
        std::fs::write(project.path.join("coordinator.toml"), format!("{policy}{command}")).unwrap();
    };
    policies("");
    let wrong = run(&["merge", "run"]).stderr;
    assert!(wrong.contains("coordinator.toml: line 1: verification.command"), "{wrong}");
    // It tells which trees it saw.
    let seen = project.path.join(".git/seen");
    let script = format!("git rev-parse 'HEAD^{{tree}}' >>{}; ! grep -q broken *", seen.display());
    policies(&format!("command = ['sh', '-c', \"\"\"{script}\"\"\"]\n"));
    let checked_out = run(&["merge", "run"]).ended_with(1).stderr;
    assert!(checked_out.contains("main is checked out in"), "{checked_out}");
    project.git(&["checkout", "--quiet", "--detach"]);

    let said = |arguments: &[&str]| {
        let ran = Command::new("git").args(arguments).current_dir(&project.path).output().unwrap();
        String::from_utf8(ran.stdout).unwrap().trim().to_owned()
    };
    let landed = run(&["merge", "run"]).ended_with(0).stdout;
    assert!(landed.contains("login is landed") && landed.contains("docs is landed"), "{landed}");
    let list = run(&["merge", "list"]).stdout;
    assert!(list.contains("blocked") && list.contains("rebase session onto main"), "{list}");
    let tree = said(&["rev-parse", "main^{tree}"]);
    assert!(std::fs::read_to_string(&seen).unwrap().lines().any(|line| line == tree), "landed as it was tested");
    assert!(run(&["feature", "show", "login"]).stdout.contains("completed"));

    // One that breaks is taken out, with the evidence, and whoever queued it is told.
    project.git(&["checkout", "--quiet", "-b", "bad", "main"]);
    std::fs::write(project.path.join("broken.md"), "broken\n").unwrap();
    project.git(&["add", "broken.md"]);
    project.git(&["commit", "--quiet", "-m", "x"]);
    project.git(&["checkout", "--quiet", "--detach", "main"]);
    project.run_as("carol", &["call", "register_session", "--json", "{}"]).ended_with(0);
    project.run_as("carol", &["feature", "register", "bad", "broken.md", "--branch", "bad"]).ended_with(0);
    project.run_as("carol", &["merge", "enqueue", "bad"]).ended_with(0);
    let ejected = run(&["merge", "run"]).ended_with(0).stdout;
    assert!(ejected.contains("bad is taken out: it failed upon"), "{ejected}");
    assert_eq!(said(&["rev-parse", "main^{tree}"]), tree);
    let told = project.run_as("carol", &["message", "read"]).ended_with(0).stdout;
    assert!(told.contains("bad was taken out of the merge queue"), "{told}");
    assert_eq!(said(&["worktree", "list"]).lines().count(), 1, "no work tree is left");
}

#[test]
fn the_project_says_what_is_merged_into_and_everything_goes_by_it() {
    let project = three_features();
    let run = |arguments: &[&str]| project.run(arguments);
    project.git(&["branch", "develop", "main"]);
    project.git(&["checkout", "--quiet", "main"]);
    std::fs::write(project.path.join("auth.rs"), "main's own\n").unwrap();
    project.git(&["commit", "--quiet", "--all", "-m", "only on main"]);
    run(&["feature", "register", "login", "auth.rs", "--branch", "login"]).ended_with(0);
    run(&["merge", "enqueue", "login"]).ended_with(0);
    let against_main = run(&["merge", "check", "login"]).ended_with(1).stdout;
    assert!(against_main.contains("FAIL  merges_cleanly: merging it into main conflicts"), "{against_main}");

    std::fs::write(project.path.join("coordinator.toml"), "merge_target = 'develop'\n").unwrap();
    run(&["merge", "enqueue", "login"]).ended_with(0);
    let against_develop = run(&["merge", "check", "login"]).ended_with(0).stdout;
    assert!(against_develop.contains("ok    merges_cleanly: it merges with develop"), "{against_develop}");
    let drift = run(&["feature", "drift", "login"]).ended_with(0).stdout;
    assert!(drift.contains("since it left develop"), "{drift}");
    let other = run(&["merge", "run", "--unverified", "--target", "main"]).ended_with(1).stderr;
    assert!(other.contains("checked against develop (MERGE_TARGET says so), and --target is main"), "{other}");
    let landed = run(&["merge", "run", "--unverified", "--target", "develop"]).ended_with(0).stdout;
    assert!(landed.contains("login is landed"), "{landed}");
    let on = Command::new("git").args(["show", "develop:auth.rs"]).current_dir(&project.path).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&on.stdout), "login\n");

    std::fs::write(project.path.join("coordinator.toml"), "merge_target = 'none'\n").unwrap();
    run(&["feature", "register", "docs", "guide.md", "--branch", "docs"]).ended_with(0);
    run(&["merge", "enqueue", "docs"]).ended_with(0);
    let nowhere = run(&["merge", "check", "docs"]).ended_with(1).stdout;
    assert!(nowhere.contains("MERGE_TARGET is none, and there is no such branch here"), "{nowhere}");
}
