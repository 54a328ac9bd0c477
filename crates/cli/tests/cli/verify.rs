//! The verification gateway from the command line, over real repositories: tiers, people, programs, and runners that die.

use std::path::PathBuf;
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use testing::postgres::Database;

use crate::project::{Project, Ran, until};

/// A repository with a branch of bob's that changes a file.
fn ground() -> Project {
    let project = Project::new();
    project.git(&["checkout", "--quiet", "-b", "main"]);
    commit(&project, "start.txt", "start\n");
    project.git(&["checkout", "--quiet", "-b", "agent/bob/1"]);
    commit(&project, "src.rs", "fn main() {}\n");
    project.git(&["checkout", "--quiet", "--detach", "main"]);
    project
}

fn commit(project: &Project, file: &str, text: &str) {
    std::fs::write(project.path.join(file), text).unwrap();
    project.git(&["add", file]);
    project.git(&["commit", "--quiet", "-m", "x"]);
}

fn policies(project: &Project, policies: &[&str]) {
    let text: String = policies.iter().map(|policy| format!("[[verification]]\nglobs = ['**']\n{policy}\n")).collect();
    std::fs::write(project.path.join("coordinator.toml"), text).unwrap();
}

/// A policy whose command is a shell script.
fn shell(name: &str, tier: u8, more: &str, script: &str) -> String {
    format!("name = '{name}'\ntier = {tier}\n{more}\ncommand = ['sh', '-c', \"\"\"{script}\"\"\"]")
}

/// Where scripts leave a line for each time that they ran.
fn marks(project: &Project) -> PathBuf {
    project.path.join(".git/marks")
}

fn count(project: &Project, mark: &str) -> usize {
    let text = std::fs::read_to_string(marks(project)).unwrap_or_default();
    text.lines().filter(|line| *line == mark).count()
}

fn states(changeset: &Value) -> Vec<(String, String)> {
    let text = |run: &Value, field: &str| run[field].as_str().unwrap().to_owned();
    changeset["runs"].as_array().unwrap().iter().map(|run| (text(run, "policy"), text(run, "state"))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(policy, state)| ((*policy).to_owned(), (*state).to_owned())).collect()
}

fn status(project: &Project, id: &str) -> Value {
    project.run(&["verify", "status", id, "--json"]).ended_with(0).json()["changeset"].clone()
}

fn call(project: &Project, operation: &str, request: &Value) -> Ran {
    project.run(&["call", operation, "--json", &request.to_string()])
}

/// A runner that is killed when the test ends.
struct Watcher(Child);

impl Watcher {
    fn start(project: &Project, name: &str) -> Self {
        let mut command = project.command(&["verify", "--watch", "--lease", "5"]);
        Self(command.env("AGENT_ID", name).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_commit_is_verified_tier_by_tier_and_what_passed_counts_for_the_same_three() {
    let project = ground();
    let nothing = project.run(&["verify"]).ended_with(1).stderr;
    assert!(nothing.contains("say in coordinator.toml what must pass"), "{nothing}");
    let (marks, version) = (marks(&project).display().to_string(), project.path.join(".git/version"));
    std::fs::write(&version, "1.0\n").unwrap();
    let cheap = shell("cheap", 0, "", &format!("echo cheap >>{marks}; test -f src.rs"));
    let tests = shell(
        "tests",
        1,
        &format!("versions = [['cat', '{}']]", version.display()),
        &format!("echo tests >>{marks}; ! grep -q broken src.rs || {{ echo it is broken; exit 3; }}"),
    );
    policies(&project, &[&tests, &cheap]);
    let first = project.run(&["verify", "agent/bob/1"]).ended_with(0).stdout;
    assert!(first.contains("1 files: passed") && first.contains("cheap") && first.contains("tests"), "{first}");
    let again = project.run(&["verify", "agent/bob/1", "--json"]).ended_with(0).json();
    assert!(again["runs"][0]["reused_from"].is_string() && again["runs"][1]["reused_from"].is_string(), "{again}");
    assert_eq!((count(&project, "cheap"), count(&project, "tests")), (1, 1));
    assert_eq!((again["agent_id"].as_str(), again["trigger"].as_str()), (Some("bob"), Some("cli")));
    // Another version of a tool, and another tree, count as new.
    std::fs::write(&version, "1.1\n").unwrap();
    project.run(&["verify", "agent/bob/1"]).ended_with(0);
    assert_eq!((count(&project, "cheap"), count(&project, "tests")), (1, 2));
    project.git(&["checkout", "--quiet", "agent/bob/1"]);
    commit(&project, "src.rs", "broken\n");
    let failed = project.run(&["verify"]).ended_with(1).stdout;
    assert!(failed.contains("failed") && failed.contains("  it ended with code 3\n  it is broken"), "{failed}");
    // Only what is named, whatever it changes.
    let only = project.run(&["verify", "--policy", "cheap", "--json"]).ended_with(0).json();
    assert_eq!(states(&only), pairs(&[("cheap", "passed")]));
    assert!(project.run(&["verify", "--policy", "none"]).ended_with(2).stderr.contains("there is no policy none"));
    assert!(project.run(&["verify", "nowhere"]).ended_with(1).stderr.contains("there is no branch"));
    let list = project.run(&["verify", "list"]).ended_with(0).stdout;
    assert!(list.contains("agent/bob/1") && list.contains("failed"), "{list}");
    let metrics = project.run(&["verify", "metrics", "--json"]).ended_with(0).json();
    let bob = metrics["agents"].as_array().unwrap().iter().find(|agent| agent["agent_id"] == "bob").unwrap();
    assert_eq!((&bob["passed"], &bob["first_time_pass_rate"]), (&json!(3), &json!(1.0)), "{metrics}");
    assert_eq!(metrics["tiers"][1]["failed"], 1, "{metrics}");
    assert!(project.run(&["verify", "metrics"]).ended_with(0).stdout.contains("100 %"));
}

#[test]
fn a_program_of_your_own_is_asked_and_may_answer_later() {
    let project = ground();
    let question = project.path.join(".git/question");
    let program = |answer: &str| {
        let script = format!("cat >{}; echo working; {answer}", question.display());
        policies(&project, &[&shell("ci", 2, "executor = 'command'", &script)]);
    };
    program(r#"echo '{"verdict": "passed", "summary": "all good", "log_url": "https://ci.example.com/7"}'"#);
    let passed = project.run(&["verify", "agent/bob/1", "--json"]).ended_with(0).json();
    assert_eq!(
        (&passed["runs"][0]["evidence"], &passed["runs"][0]["log_url"]),
        (&json!("all good"), &json!("https://ci.example.com/7"))
    );
    let asked: Value = serde_json::from_str(&std::fs::read_to_string(&question).unwrap()).unwrap();
    for field in ["changeset_id", "run_id", "policy", "commit", "tree", "base", "repository", "directory"] {
        assert!(asked[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {asked}");
    }
    assert_eq!((&asked["changeset_id"], &asked["tree"]), (&passed["changeset_id"], &passed["tree"]));
    for (answer, why) in [
        ("echo no json", "its last line is no answer"),
        (r#"echo '{"verdict": "perhaps"}'"#, "unknown variant `perhaps`"),
        ("true >/dev/null", "its last line is no answer"),
        (r#"echo '{"verdict": "passed"}'; exit 4"#, "it ended with code 4"),
        (r#"echo '{"verdict": "errored", "summary": "no machine"}'"#, "no machine"),
    ] {
        program(answer);
        let errored = project.run(&["verify", "agent/bob/1", "--json"]).ended_with(1).json();
        assert_eq!(states(&errored), pairs(&[("ci", "errored")]), "{answer}: {errored}");
        assert!(errored["runs"][0]["evidence"].as_str().unwrap().contains(why), "{answer}: {errored}");
    }
    program(r#"echo '{"verdict": "accepted", "id": "job 7"}'"#);
    let accepted = project.run(&["verify", "agent/bob/1", "--json"]).ended_with(1).json();
    let run = &accepted["runs"][0];
    assert_eq!((&run["state"], &run["external_id"]), (&json!("running"), &json!("job 7")));
    let asked: Value = serde_json::from_str(&std::fs::read_to_string(&question).unwrap()).unwrap();
    let report = |token: i64| json!({"run_id": run["run_id"], "token": token, "verdict": "passed", "summary": "done"});
    let token = asked["token"].as_i64().unwrap();
    let wrong = call(&project, "report_verification", &report(token - 1)).ended_with(1);
    assert_eq!(wrong.json()["error"], "stale_fencing_token", "{wrong:?}");
    // As POST /webhook/agent does it.
    let done = call(&project, "agent_webhook", &report(token)).ended_with(0).json();
    assert_eq!(done["state"], "passed", "{done}");
    let twice = call(&project, "report_verification", &report(token)).ended_with(1);
    assert_eq!(twice.json()["error"], "run_not_running", "{twice:?}");
    assert_eq!(status(&project, accepted["changeset_id"].as_str().unwrap())["state"], "passed");
}

#[test]
fn a_policy_of_the_project_is_run_like_those_of_the_file() {
    let project = ground();
    let put = |name: &str, policy: Option<&str>| json!({"name": name, "policy": policy}).to_string();
    let fails = put("lint", Some("globs = ['**']\ntier = 0\ncommand = ['test', '-f', 'lint.txt']"));
    let refused = project.run_as("bob", &["call", "put_verification_policy", "--json", &fails]).ended_with(1);
    assert_eq!(refused.json()["error"], "insufficient_trust_level", "{refused:?}");
    project.run(&["call", "put_verification_policy", "--json", &fails]).ended_with(0);
    let failed = project.run(&["verify", "agent/bob/1", "--json"]).ended_with(1).json();
    assert_eq!(states(&failed), pairs(&[("lint", "failed")]));

    policies(&project, &[&shell("tests", 1, "", "true")]);
    let shown = project.run(&["verify", "policies"]).ended_with(0).stdout;
    let words: Vec<Vec<&str>> = shown.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["0", "lint", "ann", "**", "inline", "test", "-f", "lint.txt"]);
    assert_eq!(words[1][..5], ["1", "tests", "coordinator.toml", "**", "inline"]);
    project.run_as("bob", &["feature", "register", "one", "src.rs", "--branch", "agent/bob/1"]).ended_with(0);
    project.run_as("bob", &["merge", "enqueue", "one"]).ended_with(0);
    let check = project.run(&["merge", "check", "one"]).ended_with(1).stdout;
    assert!(check.contains("FAIL  verification: lint failed"), "{check}");
    // Without a result for its commit, it is tried and taken out.
    project.git(&["checkout", "--quiet", "agent/bob/1"]);
    commit(&project, "src.rs", "fn main() { new() }\n");
    project.git(&["checkout", "--quiet", "--detach", "main"]);
    project.run_as("bob", &["merge", "enqueue", "one"]).ended_with(0);
    let out = project.run(&["merge", "run"]).ended_with(0).stdout;
    assert!(out.contains("one is taken out") && out.contains("lint: it ended with code 1"), "{out}");
    project.run(&["call", "put_verification_policy", "--json", &put("lint", None)]).ended_with(0);
    let passed = project.run(&["verify", "agent/bob/1", "--json"]).ended_with(0).json();
    assert_eq!(states(&passed), pairs(&[("tests", "passed")]));
}

/// Asks a person on this database.
fn people_decide(project: &Project, database: &[&str]) {
    let run = |arguments: &[&str]| project.run(&[arguments, database].concat());
    let passes = shell("tests", 1, "needs_approval = true", "true");
    policies(project, &["name = 'look'\ntier = 4\nexecutor = 'human'", &passes]);
    let waiting = run(&["verify", "agent/bob/1", "--json"]).ended_with(1).json();
    assert_eq!(states(&waiting), pairs(&[("tests", "waiting_approval"), ("look", "queued")]));
    let id = waiting["changeset_id"].as_str().unwrap();
    let shown = run(&["verify", "status", id]).ended_with(0).stdout;
    let approval = waiting["runs"][0]["approval_id"].as_str().unwrap();
    assert!(shown.contains(&format!("coordinator approvals approve {approval}")), "{shown}");
    let list = run(&["approvals", "list"]).ended_with(0).stdout;
    assert!(list.contains("verify tests of agent/bob/1") && list.contains("bob"), "{list}");
    let approved = run(&["approvals", "approve", approval, "--note", "fine"]).ended_with(0).stdout;
    assert!(approved.contains("what waited for it goes on"), "{approved}");
    let current = || run(&["verify", "status", id, "--json"]).ended_with(0).json()["changeset"].clone();
    let look = current()["runs"][1]["approval_id"].as_str().unwrap().to_owned();
    assert_eq!(states(&current()), pairs(&[("tests", "passed"), ("look", "waiting_approval")]));
    run(&["approvals", "deny", &look, "--note", "not like this"]).ended_with(0);
    let denied = current();
    assert_eq!((&denied["state"], &denied["runs"][1]["evidence"]), (&json!("failed"), &json!("not like this")));
    // Another try; what was approved is not asked again, and whoever waits is told.
    let mut waits = project.command(&[&["verify", "agent/bob/1", "--wait", "--json"], database].concat());
    let waits = waits.stdout(Stdio::piped()).spawn().unwrap();
    let mut pending = Value::Null;
    until("a person is asked again", || {
        pending = run(&["approvals", "list", "--json"]).json()["approvals"][0].clone();
        pending["approval_id"].is_string()
    });
    run(&["approvals", "approve", pending["approval_id"].as_str().unwrap()]).ended_with(0);
    let ended: Ran = waits.wait_with_output().unwrap().into();
    assert_eq!(states(&ended.ended_with(0).json()), pairs(&[("tests", "passed"), ("look", "passed")]));
}

#[test]
fn people_decide_on_sqlite() {
    people_decide(&ground(), &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_decide_on_postgresql() {
    let database = Database::create().await;
    people_decide(&ground(), &["--db", database.dsn()]);
}

#[test]
fn runners_share_what_is_submitted_and_a_killed_one_is_replaced() {
    let project = ground();
    let marks = marks(&project).display().to_string();
    let held = project.path.join(".git/held");
    let slow = format!("echo slow >>{marks}; while test -f {}; do sleep 0.05; done", held.display());
    let quick = format!("echo quick >>{marks}");
    policies(&project, &[&shell("quick", 0, "", &quick), &shell("slow", 1, "", &slow)]);
    std::fs::write(&held, "").unwrap();

    // What a task comes to is verified by whoever has the repository.
    let bob = |operation: &str, request: Value| {
        project.run_as("bob", &["call", operation, "--json", &request.to_string()]).ended_with(0).json()
    };
    bob("submit_work", json!({"task_type": "implement", "task_description": "x"}));
    let task = bob("get_work", json!({}));
    let result = json!({"branch": "agent/bob/1"});
    let done = bob("complete_work", json!({"task_id": task["task_id"], "success": true, "result": result}));
    let id = done["changeset_id"].as_str().unwrap().to_owned();
    assert_eq!(status(&project, &id)["state"], "queued");

    let mut doomed = Watcher::start(&project, "doomed");
    until("it is begun", || count(&project, "slow") == 1);
    doomed.0.kill().unwrap();
    doomed.0.wait().unwrap();
    let (_one, _two) = (Watcher::start(&project, "one"), Watcher::start(&project, "two"));
    until("another takes it", || count(&project, "slow") == 2);
    std::fs::remove_file(&held).unwrap();
    until("it has ended", || status(&project, &id)["state"] == "passed");
    let changeset = status(&project, &id);
    assert_eq!((&changeset["runs"][1]["attempt"], &changeset["task_id"]), (&json!(2), &task["task_id"]));
    assert_ne!(changeset["runs"][1]["runner"], "doomed");
    assert_eq!((count(&project, "quick"), count(&project, "slow")), (1, 2), "nobody runs what another has");
    let left =
        std::process::Command::new("git").args(["worktree", "list"]).current_dir(&project.path).output().unwrap();
    until("nothing is left", || !String::from_utf8_lossy(&left.stdout).is_empty());
}

#[test]
fn the_merge_queue_lands_what_people_have_approved_as_it_is() {
    let project = ground();
    let run = |arguments: &[&str]| project.run(arguments);
    let passes = shell("tests", 1, "", "! grep -q broken *.rs");
    policies(&project, &[&passes, "name = 'look'\ntier = 4\nexecutor = 'human'"]);
    project.run_as("bob", &["feature", "register", "one", "src.rs", "--branch", "agent/bob/1"]).ended_with(0);
    project.run_as("bob", &["merge", "enqueue", "one"]).ended_with(0);
    let waits = run(&["merge", "run"]).ended_with(0).stdout;
    assert!(waits.contains("one waits: look waits for a person to decide: coordinator approvals approve"), "{waits}");
    let pending = || run(&["approvals", "list", "--json"]).ended_with(0).json()["approvals"].clone();
    let first = pending()[0]["approval_id"].as_str().unwrap().to_owned();
    assert_eq!((pending().as_array().unwrap().len(), &pending()[0]["agent_id"]), (1, &json!("bob")));
    run(&["approvals", "approve", &first]).ended_with(0);
    let ready = run(&["merge", "check", "one"]).ended_with(0).stdout;
    assert!(ready.contains("ok    approvals: look was approved"), "{ready}");

    // What is pushed after that nobody has approved.
    project.git(&["checkout", "--quiet", "agent/bob/1"]);
    commit(&project, "src.rs", "fn main() { unseen() }\n");
    project.git(&["checkout", "--quiet", "--detach", "main"]);
    let main = || {
        let said = std::process::Command::new("git").args(["rev-parse", "main"]).current_dir(&project.path).output();
        String::from_utf8(said.unwrap().stdout).unwrap()
    };
    let before = main();
    let refused = run(&["merge", "run"]).ended_with(0).stdout;
    assert!(refused.contains("one is taken out") && refused.contains("nobody has approved look"), "{refused}");
    assert_eq!(main(), before);
    project.run_as("bob", &["merge", "enqueue", "one"]).ended_with(0);
    run(&["merge", "run"]).ended_with(0);
    run(&["approvals", "approve", pending()[0]["approval_id"].as_str().unwrap()]).ended_with(0);
    let landed = run(&["merge", "run"]).ended_with(0).stdout;
    assert!(landed.contains("one is landed"), "{landed}");
    assert_ne!(main(), before);
    let recorded = run(&["verify", "list", "--json"]).json();
    let queue = recorded["changesets"].as_array().unwrap().iter().find(|c| c["trigger"] == "merge_queue").unwrap();
    assert_eq!((&queue["state"], &queue["feature_id"]), (&json!("passed"), &json!("one")), "{queue}");

    // A no blocks it, with the reason.
    project.git(&["checkout", "--quiet", "-b", "agent/bob/2", "main"]);
    commit(&project, "two.rs", "fn two() {}\n");
    project.git(&["checkout", "--quiet", "--detach", "main"]);
    project.run_as("bob", &["feature", "register", "two", "two.rs", "--branch", "agent/bob/2"]).ended_with(0);
    project.run_as("bob", &["merge", "enqueue", "two"]).ended_with(0);
    run(&["merge", "run"]).ended_with(0);
    run(&["approvals", "deny", pending()[0]["approval_id"].as_str().unwrap(), "--note", "wrong name"]).ended_with(0);
    let blocked = run(&["merge", "check", "two"]).ended_with(1).stdout;
    assert!(blocked.contains("FAIL  verification: ann said no to look: wrong name"), "{blocked}");
    assert!(blocked.ends_with("two is blocked\n"), "{blocked}");
}
