//! Git's own hooks: what another agent has locked is not committed, pushed or received.

use std::path::Path;
use std::process::Command;

use crate::hooks::repository;
use crate::project::{Project, Ran};

/// Git as an agent, with the hooks' environment.
fn git(project: &Project, agent: &str, directory: &Path, arguments: &[&str]) -> Ran {
    let mut git = Command::new("git");
    git.current_dir(directory).env_clear().env("HOME", project.beside("")).env("AGENT_ID", agent);
    git.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    git.args(["-c", "user.name=t", "-c", "user.email=t@example.com"]).args(arguments);
    git.output().unwrap().into()
}

fn script(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_commit_of_what_another_holds_is_refused() {
    let project = repository();
    project.run(&["git-hooks", "install"]).ended_with(0);
    project.run(&["git-hooks", "check"]).ended_with(0);
    project.run_as("bob", &["lock", "src/a.rs", "--reason", "new parser"]).ended_with(0);
    std::fs::write(project.path.join("src/a.rs"), "changed\n").unwrap();
    std::fs::write(project.path.join("src/b.rs"), "changed\n").unwrap();
    let refused = git(&project, "ann", &project.path, &["commit", "--quiet", "-a", "-m", "x"]).ended_with(1);
    for part in ["src/a.rs  locked by bob until 20", "new parser", "git restore --staged"] {
        assert!(refused.stderr.contains(part), "{part} is not in {}", refused.stderr);
    }
    assert!(!refused.stderr.contains("src/b.rs"));
    git(&project, "ann", &project.path, &["commit", "--quiet", "-m", "x", "--", "src/b.rs"]).ended_with(0);
    // A removal and the old name of a renamed file are changes too.
    git(&project, "ann", &project.path, &["stash", "--quiet"]).ended_with(0);
    git(&project, "ann", &project.path, &["mv", "src/a.rs", "src/c.rs"]).ended_with(0);
    git(&project, "ann", &project.path, &["commit", "--quiet", "-m", "x"]).ended_with(1);
    // The holder may, and the commit shows under which lock.
    git(&project, "bob", &project.path, &["commit", "--quiet", "-m", "moved"]).ended_with(0);
    let message = git(&project, "bob", &project.path, &["log", "-1", "--format=%B"]).stdout;
    assert!(message.contains("Coordinator-Token: ") && message.contains(" src/a.rs"), "{message}");
    project.run(&["git-hooks", "uninstall"]).ended_with(0);
    assert!(!project.path.join(".git/hooks/pre-commit").exists());
    project.run(&["git-hooks", "check"]).ended_with(1);
}

#[test]
fn other_hooks_run_too_with_their_input_and_their_exit_codes() {
    let project = repository();
    let hooks = project.path.join(".git/hooks");
    script(&hooks.join("pre-commit"), "#!/bin/sh\necho ran >> ran.txt\ntest ! -e fail\n");
    script(
        &hooks.join("pre-push"),
        "#!/usr/bin/env python3\nimport sys\nopen('pushed.txt', 'w').write(sys.stdin.read() + sys.argv[1])\n",
    );
    let before = std::fs::read(hooks.join("pre-push")).unwrap();
    project.run(&["git-hooks", "install"]).ended_with(0);
    project.run(&["git-hooks", "install"]).ended_with(0);
    std::fs::write(project.path.join("src/b.rs"), "changed\n").unwrap();
    git(&project, "ann", &project.path, &["commit", "--quiet", "-m", "x", "src/b.rs"]).ended_with(0);
    assert_eq!(std::fs::read_to_string(project.path.join("ran.txt")).unwrap(), "ran\n");
    std::fs::write(project.path.join("fail"), "").unwrap();
    std::fs::write(project.path.join("src/b.rs"), "again\n").unwrap();
    git(&project, "ann", &project.path, &["commit", "--quiet", "-m", "x", "src/b.rs"]).ended_with(1);

    let remote = project.beside("remote.git");
    git(&project, "ann", &project.path, &["init", "--quiet", "--bare", remote.to_str().unwrap()]).ended_with(0);
    git(&project, "ann", &project.path, &["remote", "add", "origin", remote.to_str().unwrap()]).ended_with(0);
    git(&project, "ann", &project.path, &["push", "--quiet", "origin", "HEAD:main"]).ended_with(0);
    let input = std::fs::read_to_string(project.path.join("pushed.txt")).unwrap();
    let fields: Vec<&str> = input.split_whitespace().collect();
    assert_eq!((fields.len(), fields[2], fields[4]), (5, "refs/heads/main", "origin"), "{input}");

    project.run(&["git-hooks", "uninstall"]).ended_with(0);
    assert_eq!(std::fs::read(hooks.join("pre-push")).unwrap(), before);
    assert!(!hooks.join("pre-push.before-coordinator").exists());
}

#[test]
fn a_push_of_what_another_holds_is_refused_here_and_there() {
    let project = repository();
    let remote = project.beside("remote.git");
    git(&project, "ann", &project.path, &["init", "--quiet", "--bare", remote.to_str().unwrap()]).ended_with(0);
    git(&project, "ann", &project.path, &["remote", "add", "origin", remote.to_str().unwrap()]).ended_with(0);
    git(&project, "ann", &project.path, &["push", "--quiet", "origin", "HEAD:main"]).ended_with(0);
    project.run(&["git-hooks", "install"]).ended_with(0);
    let database = project.database();
    let mut install = project.command_in(
        &remote,
        &["--db", database.to_str().unwrap(), "--project", "default", "git-hooks", "install", "--server"],
    );
    Ran::from(install.output().unwrap()).ended_with(0);

    std::fs::write(project.path.join("src/a.rs"), "mine\n").unwrap();
    git(&project, "ann", &project.path, &["commit", "--quiet", "-a", "-m", "before it was locked"]).ended_with(0);
    project.run_as("bob", &["lock", "src/a.rs"]).ended_with(0);
    let push = ["push", "--quiet", "origin", "HEAD:main"];
    let refused = git(&project, "ann", &project.path, &push).ended_with(1);
    assert!(refused.stderr.contains("this push is refused") && refused.stderr.contains("locked by bob"), "{refused:?}");
    // Whoever goes round it is met there.
    let around = ["push", "--quiet", "--no-verify", "origin", "HEAD:main"];
    let refused = git(&project, "ann", &project.path, &around).ended_with(1);
    assert!(refused.stderr.contains("No commit shows its token"), "{refused:?}");
    // The holder's commits show the token.
    std::fs::write(project.path.join("src/a.rs"), "bob's\n").unwrap();
    git(&project, "bob", &project.path, &["commit", "--quiet", "-a", "-m", "under the lock"]).ended_with(0);
    git(&project, "bob", &project.path, &push).ended_with(0);
}

#[test]
fn git_goes_on_without_a_coordinator_unless_the_project_is_strict() {
    let project = repository();
    project.run(&["git-hooks", "install"]).ended_with(0);
    std::fs::write(
        project.path.join("coordinator.toml"),
        "db_backend = \"postgres\"\npostgres_dsn = \"postgres://x@127.0.0.1:1/x\"\n",
    )
    .unwrap();
    std::fs::write(project.path.join("src/b.rs"), "changed\n").unwrap();
    let ran = git(&project, "ann", &project.path, &["commit", "-m", "x", "src/b.rs"]).ended_with(0);
    assert!(ran.stderr.contains("git goes on unguarded"), "{ran:?}");
    let toml = std::fs::read_to_string(project.path.join("coordinator.toml")).unwrap() + "strict = true\n";
    std::fs::write(project.path.join("coordinator.toml"), toml).unwrap();
    std::fs::write(project.path.join("src/b.rs"), "again\n").unwrap();
    let ran = git(&project, "ann", &project.path, &["commit", "-m", "x", "src/b.rs"]);
    assert!(ran.code != 0 && ran.stderr.contains("this project is strict"), "{ran:?}");
}

#[test]
fn husky_s_scripts_are_the_ones_that_are_changed() {
    let project = repository();
    let husky = project.path.join(".husky");
    script(&husky.join("_/pre-commit"), "#!/usr/bin/env sh\n. \"$(dirname \"$0\")/../pre-commit\"\n");
    std::fs::write(husky.join("pre-commit"), "echo husky >> ran.txt\n").unwrap();
    project.git(&["config", "core.hooksPath", ".husky/_"]);
    project.run(&["git-hooks", "install"]).ended_with(0);
    project.run_as("bob", &["lock", "src/a.rs"]).ended_with(0);
    std::fs::write(project.path.join("src/a.rs"), "changed\n").unwrap();
    git(&project, "ann", &project.path, &["commit", "--quiet", "-m", "x", "src/a.rs"]).ended_with(1);
    git(&project, "bob", &project.path, &["commit", "--quiet", "-m", "x", "src/a.rs"]).ended_with(0);
    assert_eq!(std::fs::read_to_string(project.path.join("ran.txt")).unwrap(), "husky\n");
    project.run(&["git-hooks", "uninstall"]).ended_with(0);
    assert_eq!(std::fs::read_to_string(husky.join("pre-commit")).unwrap(), "echo husky >> ran.txt\n");
}
