//! Verification by GitHub Actions: real repositories with a bare remote, and a GitHub that knows workflows only.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use crate::project::{Project, Ran, until};
use crate::web;

/// What GitHub has, and how it behaves.
#[derive(Default)]
struct Actions {
    runs: Vec<Value>,
    /// How the next runs end; they run until there is one.
    conclusion: Option<&'static str>,
    /// So many dispatches are started and not answered.
    unanswered: u32,
    /// So many dispatches are not even started.
    lost: u32,
    /// Every other question does not get through.
    is_shaky: bool,
    refuses: bool,
    requests: usize,
}

#[derive(Clone)]
struct Github {
    actions: Arc<Mutex<Actions>>,
    address: String,
    remote: PathBuf,
}

impl Github {
    fn start(remote: &Path) -> Self {
        let mut github = Self { actions: Arc::default(), address: String::new(), remote: remote.to_owned() };
        let answering = github.clone();
        github.address = web::serve(move |request| {
            let (status, body) = answering.respond(request.method == "POST", &request.path, &request.body);
            (status, if body.is_null() { String::new() } else { body.to_string() })
        });
        github
    }

    fn actions(&self) -> MutexGuard<'_, Actions> {
        self.actions.lock().unwrap()
    }

    fn respond(&self, is_post: bool, path: &str, body: &[u8]) -> (u16, Value) {
        let mut actions = self.actions();
        actions.requests += 1;
        if actions.is_shaky && actions.requests % 2 == 1 && !is_post {
            return (502, Value::Null);
        }
        if let Some(id) = path.strip_suffix("/cancel").and_then(|path| path.rsplit('/').next()) {
            let id: u64 = id.parse().unwrap();
            let run = actions.runs.iter_mut().find(|run| run["id"] == id).unwrap();
            (run["status"], run["conclusion"]) = (json!("completed"), json!("cancelled"));
            return (202, json!({}));
        }
        if !is_post {
            if let Some(conclusion) = actions.conclusion {
                for run in actions.runs.iter_mut().filter(|run| run["status"] != "completed") {
                    (run["status"], run["conclusion"]) = (json!("completed"), json!(conclusion));
                }
            }
            // All of them, whatever was asked for.
            return (200, json!({"total_count": actions.runs.len(), "workflow_runs": actions.runs}));
        }
        if actions.refuses {
            return (422, json!({"message": "Workflow does not have 'workflow_dispatch' trigger"}));
        }
        if actions.lost > 0 {
            actions.lost -= 1;
            return (502, Value::Null);
        }
        let asked: Value = serde_json::from_slice(body).unwrap();
        let branch = asked["ref"].as_str().unwrap();
        let Some(commit) = commit_of(&self.remote, branch) else {
            return (422, json!({"message": format!("No ref found for: {branch}")}));
        };
        let inputs = &asked["inputs"];
        assert_eq!((&inputs["commit"], &inputs["target"]), (&json!(commit), &json!("linux")));
        assert_eq!(branch, format!("coordinator/verify/{}", inputs["run_id"].as_str().unwrap()));
        actions.run(branch, &commit);
        if actions.unanswered > 0 {
            actions.unanswered -= 1;
            return (502, Value::Null);
        }
        (204, Value::Null)
    }
}

impl Actions {
    fn run(&mut self, branch: &str, commit: &str) {
        let id = self.runs.len() + 1;
        self.runs.insert(
            0,
            json!({
                "id": id, "status": "in_progress", "conclusion": null, "event": "workflow_dispatch",
                "path": ".github/workflows/ci.yml", "head_branch": branch, "head_sha": commit,
                "html_url": format!("https://github.example/runs/{id}"), "created_at": "2026-01-01T00:00:00Z",
            }),
        );
    }
}

fn commit_of(repository: &Path, branch: &str) -> Option<String> {
    let name = format!("refs/heads/{branch}");
    let said = Command::new("git").args(["rev-parse", "--verify", "--quiet", &name]).current_dir(repository).output();
    let said = said.unwrap();
    said.status.success().then(|| String::from_utf8(said.stdout).unwrap().trim().to_owned())
}

/// The branches at the remote that commits are verified on.
fn lent(remote: &Path) -> usize {
    let pattern = "refs/heads/coordinator/verify";
    let said = Command::new("git").args(["for-each-ref", pattern]).current_dir(remote).output().unwrap();
    String::from_utf8(said.stdout).unwrap().lines().count()
}

fn commit(project: &Project, file: &str, text: &str) {
    std::fs::write(project.path.join(file), text).unwrap();
    project.git(&["add", file]);
    project.git(&["commit", "--quiet", "-m", "x"]);
}

/// A repository with a branch of bob's, a remote that is GitHub's, and a policy that GitHub runs.
fn ground() -> (Project, Github) {
    let project = Project::new();
    project.git(&["checkout", "--quiet", "-b", "main"]);
    commit(&project, "start.txt", "start\n");
    project.git(&["checkout", "--quiet", "-b", "agent/bob/1"]);
    commit(&project, "src.rs", "fn main() {}\n");
    project.git(&["checkout", "--quiet", "--detach", "main"]);
    let remote = project.path.join("../remote.git");
    project.git(&["init", "--quiet", "--bare", "-b", "main", "../remote.git"]);
    project.git(&["remote", "add", "origin", "../remote.git"]);
    project.git(&["push", "--quiet", "origin", "main"]);
    policy(&project, "");
    let github = Github::start(&remote);
    (project, github)
}

fn policy(project: &Project, more: &str) {
    let text = format!(
        "[[verification]]\nname = 'ci'\nglobs = ['**']\ntier = 2\nexecutor = 'github'\nworkflow = 'ci.yml'\n\
         inputs = {{ target = 'linux' }}\n{more}\n"
    );
    std::fs::write(project.path.join("coordinator.toml"), text).unwrap();
}

fn command(project: &Project, github: &Github, arguments: &[&str]) -> Command {
    let mut command = project.command(arguments);
    command.env("GITHUB_REPO", "octo/shop").env("GITHUB_TOKEN", "ghp_secret").env("GITHUB_API_URL", &github.address);
    command
}

fn run(project: &Project, github: &Github, arguments: &[&str]) -> Ran {
    command(project, github, arguments).output().unwrap().into()
}

#[test]
fn github_verifies_a_commit_and_nothing_of_it_is_left() {
    let (project, github) = ground();
    let id = commit_of(&project.path, "agent/bob/1").unwrap();
    let missing = project.run(&["verify", &id]).ended_with(1).stdout;
    assert!(missing.contains("ci runs on GitHub, which cannot be started here: GITHUB_REPO is not set"), "{missing}");
    // Without patience it is only started; where it runs is known, and what others run on other branches is none of it.
    github.actions().run("main", "0123456789012345678901234567890123456789");
    let started = run(&project, &github, &["verify", &id, "--json"]).ended_with(1).json();
    assert_eq!((&started["runs"][0]["state"], lent(&github.remote)), (&json!("running"), 1));
    assert_eq!(started["runs"][0]["log_url"], "https://github.example/runs/2");
    github.actions().conclusion = Some("success");
    github.actions().is_shaky = true;
    let passed = run(&project, &github, &["verify", &id, "--wait", "--json"]).ended_with(0).json();
    let evidence = passed["runs"][0]["evidence"].as_str().unwrap();
    assert_eq!(evidence, "ci.yml passed: https://github.example/runs/2", "{passed}");
    assert_eq!((github.actions().runs.len(), lent(&github.remote)), (2, 0), "it was started once, and is tidied up");
    // The same tree has passed.
    let again = run(&project, &github, &["verify", "agent/bob/1", "--json"]).ended_with(0).json();
    assert!(again["runs"][0]["reused_from"].is_string(), "{again}");
    assert_eq!(github.actions().runs.len(), 2);
}

#[test]
fn each_conclusion_is_an_end_of_its_own() {
    for (conclusion, state, words) in [
        ("failure", "failed", "ci.yml failed"),
        ("cancelled", "cancelled", "ci.yml was cancelled there"),
        ("timed_out", "timed_out", "ci.yml took too long there"),
        ("startup_failure", "errored", "ci.yml ended without a result"),
    ] {
        let (project, github) = ground();
        github.actions().conclusion = Some(conclusion);
        let ended = run(&project, &github, &["verify", "agent/bob/1", "--wait", "--json"]).ended_with(1).json();
        assert_eq!((&ended["state"], &ended["runs"][0]["state"]), (&json!("failed"), &json!(state)), "{ended}");
        assert!(ended["runs"][0]["evidence"].as_str().unwrap().starts_with(words), "{ended}");
        assert_eq!(lent(&github.remote), 0);
    }
}

#[test]
fn what_is_not_answered_is_looked_for_and_started_once() {
    let (project, github) = ground();
    (github.actions().unanswered, github.actions().conclusion) = (1, Some("success"));
    run(&project, &github, &["verify", "agent/bob/1", "--wait"]).ended_with(0);
    assert_eq!(github.actions().runs.len(), 1, "it was started, though nobody said so");

    let (project, github) = ground();
    (github.actions().lost, github.actions().conclusion) = (2, Some("success"));
    run(&project, &github, &["verify", "agent/bob/1", "--wait"]).ended_with(0);
    assert_eq!(github.actions().runs.len(), 1);

    let (project, github) = ground();
    github.actions().refuses = true;
    let refused = run(&project, &github, &["verify", "agent/bob/1", "--json"]).ended_with(1);
    let evidence = refused.json()["runs"][0]["evidence"].as_str().unwrap().to_owned();
    assert!(evidence.contains("workflow_dispatch") && evidence.contains("docs/verification.md"), "{evidence}");
    assert!(!format!("{refused:?}").contains("ghp_secret"));
    assert_eq!(lent(&github.remote), 0);
}

#[test]
fn a_policy_s_time_ends_it_and_what_still_runs_is_stopped() {
    let (project, github) = ground();
    policy(&project, "timeout_seconds = 2");
    let late = run(&project, &github, &["verify", "agent/bob/1", "--wait", "--json"]).ended_with(1).json();
    assert_eq!(late["runs"][0]["state"], "timed_out", "{late}");
    assert_eq!((&github.actions().runs[0]["conclusion"], lent(&github.remote)), (&json!("cancelled"), 0));
}

#[test]
fn a_watching_runner_that_is_killed_is_replaced_and_starts_nothing_twice() {
    let (project, github) = ground();
    let watch = || {
        let mut watch = command(&project, &github, &["verify", "--watch", "--lease", "5"]);
        watch.env("AGENT_ID", "runner").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let submit = json!({"revision": "agent/bob/1"}).to_string();
    let submitted = project.run(&["call", "submit_changeset", "--json", &submit]).ended_with(0).json();
    let mut first = watch();
    until("it is started", || !github.actions().runs.is_empty());
    first.kill().unwrap();
    first.wait().unwrap();
    let mut second = watch();
    github.actions().conclusion = Some("success");
    let id = submitted["changeset_id"].as_str().unwrap();
    let state = || project.run(&["verify", "status", id, "--json"]).json()["changeset"]["state"].clone();
    until("it has passed", || state() == "passed");
    second.kill().unwrap();
    second.wait().unwrap();
    assert_eq!(github.actions().runs.len(), 1);
    run(&project, &github, &["verify", "agent/bob/1"]).ended_with(0);
    assert_eq!(lent(&github.remote), 0, "whoever comes next tidies up");
}

#[test]
fn the_merge_queue_lands_what_github_has_passed() {
    let (project, github) = ground();
    project.run_as("bob", &["feature", "register", "one", "src.rs", "--branch", "agent/bob/1"]).ended_with(0);
    project.run_as("bob", &["merge", "enqueue", "one"]).ended_with(0);
    let missing = project.run(&["merge", "run"]).ended_with(1).stderr;
    assert!(missing.contains("ci runs on GitHub: GITHUB_REPO is not set"), "{missing}");
    github.actions().conclusion = Some("success");
    let landed = run(&project, &github, &["merge", "run", "--remote", "origin"]).ended_with(0).stdout;
    assert!(landed.contains("one is landed"), "{landed}");
    let main = commit_of(&github.remote, "main").unwrap();
    assert_eq!(github.actions().runs[0]["head_sha"], json!(main), "the very commit that GitHub has tested");
    assert_eq!(lent(&github.remote), 0);
}
