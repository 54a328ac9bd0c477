//! When the radar looks by itself: after what agents' hooks and git's hooks see, and while a server runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::hooks::{Session, repository, told};
use crate::project::{Project, until};
use crate::serve::Server;

/// Two work trees of a repository, each on an agent's branch.
fn two_work_trees(project: &Project) -> [PathBuf; 2] {
    project.git(&["branch", "--move", "main"]);
    [("anns", "agent/ann/1"), ("bobs", "agent/bob/2")].map(|(directory, branch)| {
        let tree = project.beside(directory);
        project.git(&["worktree", "add", "--quiet", "-b", branch, tree.to_str().unwrap()]);
        tree
    })
}

fn git_in(tree: &Path, arguments: &[&str]) {
    let beside = Path::new(crate::project::COORDINATOR).parent().unwrap().display().to_string();
    let path = format!("{beside}:{}", std::env::var("PATH").unwrap());
    let name = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
    let mut git = Command::new("git");
    git.current_dir(tree).args(name).args(arguments).env("PATH", path).env_remove("COORDINATOR_DB");
    assert!(git.status().unwrap().success(), "git {arguments:?}");
}

fn commit(tree: &Path, text: &str) {
    std::fs::write(tree.join("src/a.rs"), text).unwrap();
    git_in(tree, &["commit", "--quiet", "--all", "--message", text]);
}

/// What a session hears after a command that does nothing of interest.
fn hears(session: &Session<'_>) -> String {
    told(&session.hook("PostToolUse", json!({"tool_name": "Bash", "tool_input": {"command": "true"}})))
}

fn after_commit(session: &Session<'_>) -> String {
    let input = json!({"command": "git commit --all --message x"});
    told(&session.hook("PostToolUse", json!({"tool_name": "Bash", "tool_input": input})))
}

fn inbox(project: &Project, agent: &str) -> Vec<Value> {
    let read = project.run_as(agent, &["message", "read", "--json"]).ended_with(0).json();
    read["messages"].as_array().unwrap().clone()
}

#[test]
fn a_commit_that_an_agent_s_hooks_see_is_looked_at_and_both_are_told() {
    let project = repository();
    let [anns, bobs] = two_work_trees(&project);
    // Nothing but a commit is a reason to look.
    let session = |client, id, agent, tree: &Path| {
        Session::new(&project, client, id).within(tree).with("AGENT_ID", agent).with("RADAR_INTERVAL_SECONDS", "3600")
    };
    let (ann, bob) = (session("claude", "a-1", "ann", &anns), session("codex", "b-1", "bob", &bobs));
    assert!(!ann.start().contains("does not merge"));
    bob.start();
    commit(&anns, "ann's");
    after_commit(&ann);
    commit(&bobs, "bob's");
    after_commit(&bob);
    let (mut to_ann, mut to_bob) = (String::new(), String::new());
    until("both are told", || {
        to_ann += &hears(&ann);
        to_bob += &hears(&bob);
        to_ann.contains("does not merge") && to_bob.contains("does not merge")
    });
    assert!(to_ann.contains("agent/bob/2 of bob") && to_ann.contains("src/a.rs: content"), "{to_ann}");
    assert!(to_bob.contains("agent/ann/1 of ann"), "{to_bob}");
    let brief = session("claude", "a-2", "ann", &anns).start();
    let warning = "Beware: branch agent/ann/1 does not merge with branch agent/bob/2 of bob, in src/a.rs";
    assert!(brief.contains(warning), "{brief}");
}

#[test]
fn an_edit_asks_for_a_look_when_the_last_one_is_a_while_ago() {
    let project = repository();
    let [anns, bobs] = two_work_trees(&project);
    commit(&bobs, "bob's");
    let ann = Session::new(&project, "claude", "a-1").within(&anns).with("AGENT_ID", "ann");
    let ann = ann.with("RADAR_INTERVAL_SECONDS", "1");
    ann.start();
    let mut heard = String::new();
    let mut times = 0;
    until("ann is told of work that is not committed", || {
        times += 1;
        heard += &ann.edit("src/a.rs", &format!("ann's {times}\n"));
        heard.contains("with uncommitted work) does not merge with branch agent/bob/2 of bob")
    });
}

#[test]
fn git_s_own_hooks_have_a_look_for_agents_without_any() {
    let project = repository();
    let [anns, bobs] = two_work_trees(&project);
    project.run(&["git-hooks", "install"]).ended_with(0);
    commit(&anns, "ann's");
    commit(&bobs, "bob's");
    let seen = project.path.join(".git/coordinator/radar/seen.json");
    let is_seen = || std::fs::read_to_string(&seen).is_ok_and(|text| text.contains("agent/ann/1"));
    until("the conflict is seen", is_seen);
    for agent in ["ann", "bob"] {
        until("both are told", || !inbox(&project, agent).is_empty());
    }

    // A push is a moment as well: what was committed while no hook was there is seen then.
    std::fs::remove_file(project.path.join(".git/hooks/post-commit")).unwrap();
    commit(&bobs, "bob's second thought");
    let remote = project.beside("remote.git");
    project.git(&["init", "--quiet", "--bare", remote.to_str().unwrap()]);
    git_in(&bobs, &["push", "--quiet", remote.to_str().unwrap(), "agent/bob/2"]);
    let head = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(&bobs).output().unwrap().stdout;
    let short = String::from_utf8(head).unwrap()[..8].to_owned();
    let is_told = |message: &Value| message["text"].as_str().unwrap().contains(&short);
    until("bob is told of this commit", || inbox(&project, "bob").iter().any(is_told));
}

#[test]
fn a_server_watches_its_repository() {
    let project = repository();
    let [anns, bobs] = two_work_trees(&project);
    let mut command = project.command(&["serve", "--port", "0", "--json"]);
    command.env("RADAR_INTERVAL_SECONDS", "1");
    let server = Server::run(command);
    commit(&anns, "ann's");
    std::fs::write(bobs.join("src/a.rs"), "bob's\n").unwrap();
    for agent in ["ann", "bob"] {
        until("both are told", || !inbox(&project, agent).is_empty());
    }
    server.terminate();
    server.wait().ended_with(0);
}
