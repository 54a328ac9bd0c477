//! `coordinator bridge` and `scripts/coordination_bridge.py`: the same questions, the same answers, in the same words.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::project::{COORDINATOR, Project, Ran};
use crate::serve::Server;

/// Either of the two.
#[derive(Debug, Clone, Copy)]
enum Bridge {
    Binary,
    Script,
}

const BOTH: [Bridge; 2] = [Bridge::Binary, Bridge::Script];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The Python on this machine, by its own path: what is in `PATH` may be a script that needs the tester's environment.
pub fn python() -> Option<PathBuf> {
    let program = std::env::var_os("COORDINATOR_TEST_PYTHON").unwrap_or("python3".into());
    let asked = Command::new(program).args(["-c", "import sys; print(sys.executable)"]).output().ok()?;
    asked.status.success().then(|| PathBuf::from(String::from_utf8(asked.stdout).unwrap().trim()))
}

impl Bridge {
    /// In this directory, with nothing in the environment but what is named.
    fn run(self, directory: &Path, env: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let mut command = match self {
            Self::Binary => {
                let mut command = Command::new(COORDINATOR);
                command.arg("bridge");
                command
            }
            Self::Script => {
                let mut command = Command::new(python().unwrap());
                command.arg(root().join("scripts/coordination_bridge.py"));
                command
            }
        };
        command.args(arguments).current_dir(directory).env_clear().envs(env.iter().copied()).output().unwrap().into()
    }
}

/// The answer without what differs between two runs of one thing.
fn masked(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(masked).collect(),
        Value::Object(fields) => {
            let volatile = ["detail", "duration_ms", "relevance", "relevance_score"];
            let field = |(name, value): (&String, &Value)| {
                let value = if volatile.contains(&name.as_str()) { json!("*") } else { masked(value) };
                (name.clone(), value)
            };
            Value::Object(fields.iter().map(field).collect())
        }
        Value::String(text) => text.split(' ').map(masked_word).collect::<Vec<_>>().join(" ").into(),
        other => other.clone(),
    }
}

fn masked_word(word: &str) -> &str {
    let is_id = word.len() == 36 && word.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
    let is_time = word.len() >= 20 && word.starts_with("20") && word.as_bytes()[10] == b'T';
    if is_id || is_time { "*" } else { word }
}

/// What each bridge answers to the same arguments; `$task` is the last task of its own.
#[test]
fn both_bridges_say_the_same() {
    if python().is_none() {
        println!("there is no python3 here: skipped");
        return;
    }
    let team = Project::new();
    let server = Server::start(&team);
    let url = format!("http://{}/", server.address);
    let ok = |value: &str| format!("\"status\":\"ok\"{value}");
    let steps: &[(&str, &[&str], i32, String)] = &[
        ("ann", &["detect"], 0, "\"CAN_LOCK\":true".into()),
        ("", &["detect"], 0, "\"warning\":\"AGENT_ID is not set".into()),
        ("ann", &["lock", "src/./a b.py", "--reason", "r\u{e4}tsel", "--ttl-minutes", "5"], 0, ok("")),
        ("bob", &["lock", "src/", "--agent-type", "codex_cli"], 1, "\"locked_by\":\"ann\"".into()),
        ("", &["lock", "b.py"], 0, "\"warning\":\"AGENT_ID is not set".into()),
        ("", &["unlock", "b.py"], 0, ok("")),
        ("bob", &["locks"], 0, "\"file_path\":\"src/a b.py\"".into()),
        ("ann", &["unlock", "src/a b.py"], 0, "\"released\":true".into()),
        ("ann", &["unlock", "src/a b.py"], 1, "\"success\":false".into()),
        ("ann", &["lock", "/etc/passwd"], 1, "\"reason\":\"invalid_file_path\"".into()),
        ("ann", &["lock", "colour:red"], 1, "\"reason\":\"operation_not_permitted\"".into()),
        (
            "ann",
            &[
                "submit",
                "implement",
                "Write it",
                "--input-data",
                r#"{"a": [1, 2.5, "\u00e9"], "b": []}"#,
                "--priority",
                "2",
                "--feature-id",
                "f",
                "--idempotency-key",
                "k",
            ],
            0,
            "\"task_id\"".into(),
        ),
        ("ann", &["submit", "test", "Then this", "--depends-on", "$task"], 0, "\"task_id\"".into()),
        ("bob", &["get", "--task-type", "implement", "--task-type", "other"], 0, "\"attempt\":1".into()),
        ("bob", &["get"], 1, "\"reason\":\"no_tasks_available\"".into()),
        ("bob", &["task", "$task"], 0, "\"status\":\"claimed\"".into()),
        ("bob", &["complete", "$task", "--result", r#"{"ok": true}"#], 0, "\"status\":\"completed\"".into()),
        ("bob", &["complete", "$task"], 1, "\"success\":false".into()),
        ("bob", &["get"], 0, "\"task_type\":\"test\"".into()),
        ("bob", &["complete", "$task", "--failed", "--error-message", "no"], 0, "\"status\":\"pending\"".into()),
        (
            "ann",
            &["handoff-write", "Half done", "--completed-work", "a", "--completed-work", "b", "--decisions", "c"],
            0,
            "\"handoff_id\"".into(),
        ),
        ("ann", &["handoff-write", "More", "--content", r#"{"todo": ["d"]}"#, "--feature-id", "f"], 0, ok("")),
        ("ann", &["handoff-read", "--limit", "2"], 0, "\"completed_work\":[\"a\",\"b\"]".into()),
        ("bob", &["handoff-read", "--feature-id", "f"], 0, "\"next_steps\":[\"d\"]".into()),
        ("bob", &["handoff-read", "--session-id", "none"], 0, "\"handoffs\":[]".into()),
        ("ann", &["handoff-read", "--limit", "0"], 1, "\"reason\":\"invalid_request\"".into()),
        (
            "ann",
            &["remember", "discovery", "The pool holds 20", "--tags", "db", "--lessons", "wait", "--details", "[1]"],
            0,
            "\"action\":\"created\"".into(),
        ),
        ("ann", &["remember", "gossip", "x"], 1, "\"reason\":\"invalid_request\"".into()),
        ("bob", &["recall", "how big is the pool", "--limit", "3"], 0, "The pool holds 20".into()),
        ("bob", &["recall", "--tags", "none"], 0, "\"memories\":[]".into()),
        (
            "ann",
            &["guardrails", "git push --force", "--file-paths", "a"],
            -1,
            "\"operation\":\"try_check_guardrails\"".into(),
        ),
        ("ann", &["register", "--capabilities", "rust", "--current-task", "it", "--session-id", "s"], 0, ok("")),
        ("ann", &["heartbeat", "--session-id", "s"], 0, "\"session_id\":\"s\"".into()),
        ("ann", &["discover"], 0, "\"capabilities\":[\"rust\"]".into()),
        ("ann", &["policy", "acquire_lock", "--resource", "a"], -1, "\"operation\":\"try_check_policy\"".into()),
        ("ann", &["audit", "--limit", "3"], 0, "\"operation\":\"register_session\"".into()),
        ("ann", &["detect", "--http-url", "ftp://localhost"], 0, "\"reason\":\"bad_url\"".into()),
    ];
    let answers = BOTH.map(|bridge| {
        // A project for each on the one server, so that neither meets what the other did.
        let project = format!("{bridge:?}");
        let made = team.run(&["keys", "create", "--name", "me", "--project", &project]).ended_with(0);
        let (key, mut task) = (made.stdout.trim().to_owned(), String::new());
        let mut said_by_it = vec![];
        for (agent, arguments, code, expected) in steps {
            let arguments: Vec<&str> = arguments.iter().map(|a| if *a == "$task" { &task } else { *a }).collect();
            let env = [("COORDINATION_API_URL", url.as_str()), ("COORDINATION_API_KEY", &key), ("AGENT_ID", agent)];
            let ran = bridge.run(&team.path, &env, &arguments);
            // What a server may not offer yet can end either way; the same for both, which is what counts.
            assert!(*code < 0 || ran.code == *code, "{bridge:?} {arguments:?}: {ran:?}");
            let said = ran.json();
            assert!(said.to_string().contains(expected), "{bridge:?} {arguments:?}: {expected} in {said}");
            said_by_it.push((ran.code, masked(&said)));
            if let Some(id) = said["response"]["task_id"].as_str() {
                task = id.to_owned();
            }
        }
        said_by_it
    });
    for ((step, binary), script) in steps.iter().zip(&answers[0]).zip(&answers[1]) {
        assert_eq!(binary, script, "{:?}", step.1);
    }
    server.terminate();
    server.wait().ended_with(0);
}

/// A server that answers every connection so, and then hangs up; or with nothing, and holds it.
fn impostor(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut held = vec![];
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            if answer.is_empty() {
                held.push(stream);
                continue;
            }
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

fn response(head: &str, body: &str) -> &'static str {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).leak()
}

#[test]
fn a_coordinator_that_is_away_is_skipped_at_once() {
    if python().is_none() {
        println!("there is no python3 here: skipped");
        return;
    }
    let project = Project::new();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = format!("http://{gone}");
    let port = gone.rsplit_once(':').unwrap().1.to_owned();
    let elsewhere = response("302 Found\r\nLocation: http://127.0.0.1:1/health", "");
    let cases: Vec<(Vec<(&str, String)>, &str)> = vec![
        (vec![("COORDINATION_API_URL", gone)], "coordinator_unreachable"),
        (vec![("AGENT_COORDINATOR_REST_PORT", port)], "coordinator_unreachable"),
        (vec![("COORDINATION_API_URL", impostor(""))], "coordinator_unreachable"),
        (vec![("COORDINATION_API_URL", impostor("SSH-2.0-OpenSSH_9.2\r\n"))], "coordinator_unreachable"),
        (vec![("COORDINATION_API_URL", impostor(response("200 OK", "<html>hello</html>")))], "not_a_coordinator"),
        (vec![("COORDINATION_API_URL", impostor(response("200 OK", "{\"status\":\"ok\"}")))], "not_a_coordinator"),
        (vec![("COORDINATION_API_URL", impostor(response("200 OK", "[]")))], "not_a_coordinator"),
        (vec![("COORDINATION_API_URL", impostor(elsewhere))], "not_a_coordinator"),
        (
            vec![(
                "COORDINATION_API_URL",
                impostor(response("503 Unavailable", "{\"status\":\"degraded\",\"db\":\"unreachable\"}")),
            )],
            "database_unreachable",
        ),
        (vec![("COORDINATION_API_URL", "http://user@localhost:1/".into())], "bad_url"),
        (vec![("COORDINATION_API_URL", "ein \u{e4} \"x\"".into())], "bad_url"),
        (vec![("AGENT_COORDINATOR_REST_PORT", "http".into())], "bad_url"),
        (vec![("COORDINATION_API_URL", "https://evil.example".into())], "host_not_allowed"),
        (vec![("COORDINATION_API_KEY", "two words".into())], "bad_key"),
        (vec![("COORDINATOR_PROJECT", "caf\u{e9}".into())], "bad_project"),
    ];
    for (env, reason) in &cases {
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let commands = [&["detect"][..], &["lock", "a.py", "--agent-id", "ann"]];
        for arguments in &commands[..if *reason == "coordinator_unreachable" { 2 } else { 1 }] {
            let answers = BOTH.map(|bridge| {
                let (mut fastest, mut last) = (Duration::MAX, None);
                // On a busy machine it takes a few tries to be quick, and starting a program takes its time.
                for _ in 0..5 {
                    let begun = Instant::now();
                    bridge.run(&project.path, &env, &["--help"]);
                    let (started, begun) = (begun.elapsed(), Instant::now());
                    let said = bridge.run(&project.path, &env, arguments).ended_with(0).json();
                    fastest = fastest.min(begun.elapsed().saturating_sub(started));
                    last = Some(masked(&said));
                    if fastest < Duration::from_secs(2) {
                        break;
                    }
                }
                assert!(fastest < Duration::from_secs(2), "{bridge:?} {env:?}: {fastest:?}");
                last.unwrap()
            });
            assert_eq!(answers[0], answers[1], "{env:?}");
            let said = &answers[0];
            assert_eq!((&said["status"], &said["reason"]), (&json!("skipped"), &json!(reason)), "{env:?}: {said}");
            assert_eq!(said["COORDINATION_TRANSPORT"], "none", "{said}");
        }
    }
}

#[test]
fn the_file_may_say_which_hosts_are_fine_and_which_port() {
    if python().is_none() {
        println!("there is no python3 here: skipped");
        return;
    }
    let project = Project::new();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let elsewhere = format!("http://0.0.0.0:{gone}");
    let named = [("COORDINATION_API_URL", elsewhere.as_str())];
    let said = |env: &[(&str, &str)]| {
        let [binary, script] = BOTH.map(|bridge| bridge.run(&project.path, env, &["detect"]).ended_with(0).json());
        assert_eq!(masked(&binary), masked(&script), "{env:?}");
        binary
    };
    assert_eq!(said(&named)["reason"], "host_not_allowed");
    let file = format!("coordination_allowed_hosts = ['0.0.0.0']\nagent_coordinator_rest_port = {gone}\n");
    std::fs::write(project.path.join("coordinator.toml"), file).unwrap();
    assert_eq!(said(&named)["reason"], "coordinator_unreachable");
    assert!(said(&[]).to_string().contains(&format!("localhost:{gone}")), "{}", said(&[]));
    // Which server it is, and what opens it, is not for a repository to say.
    let file = format!("coordination_api_url = '{elsewhere}'\ncoordination_allowed_hosts = ['0.0.0.0']\n");
    std::fs::write(project.path.join("coordinator.toml"), file).unwrap();
    assert!(!said(&[("AGENT_COORDINATOR_REST_PORT", "1")]).to_string().contains("0.0.0.0"));
}

#[test]
fn a_key_that_is_missing_or_wrong_is_told() {
    if python().is_none() {
        println!("there is no python3 here: skipped");
        return;
    }
    let team = Project::new();
    let bound = team.run(&["keys", "create", "--name", "me", "--agent-id", "ci-1"]).ended_with(0).stdout;
    let server = Server::start(&team);
    let url = format!("http://{}", server.address);
    let said = |key: &str, agent: &str, arguments: &[&str]| {
        let env = [("COORDINATION_API_URL", url.as_str()), ("COORDINATION_API_KEY", key), ("AGENT_ID", agent)];
        let answers =
            BOTH.map(|bridge| bridge.run(&team.path, &env, arguments)).map(|ran| (ran.code, masked(&ran.json())));
        assert_eq!(answers[0], answers[1], "{arguments:?}");
        answers[0].clone()
    };
    for (key, sentence) in [("", "set COORDINATION_API_KEY"), ("wrong", "unknown, revoked or expired")] {
        let (code, state) = said(key, "ci-1", &["detect"]);
        assert_eq!((code, &state["status"], &state["reason"]), (0, &json!("ok"), &json!("unauthorized")), "{state}");
        assert_eq!((&state["CAN_LOCK"], &state["missing"]["CAN_LOCK"]), (&json!(false), &json!("unauthorized")));
        assert!(state["message"].as_str().unwrap().contains(sentence), "{state}");
        let (code, lock) = said(key, "ci-1", &["lock", "a.py"]);
        assert_eq!((code, &lock["status"], &lock["reason"]), (0, &json!("skipped"), &json!("unauthorized")), "{lock}");
    }
    let (code, lock) = said(bound.trim(), "bob", &["lock", "a.py"]);
    assert_eq!((code, &lock["status"], &lock["reason"]), (1, &json!("error"), &json!("identity_mismatch")), "{lock}");
    assert_eq!(said(bound.trim(), "ci-1", &["recall"]).1["status"], "ok");
    server.terminate();
    server.wait().ended_with(0);
}

#[test]
fn both_bridges_take_the_same_commands_and_options() {
    if python().is_none() {
        println!("there is no python3 here: skipped");
        return;
    }
    let project = Project::new();
    let help = |bridge: Bridge, command: &[&str]| {
        let arguments: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
        bridge.run(&project.path, &[], &arguments).ended_with(0).stdout
    };
    let commands = |text: &str| -> Vec<String> {
        let listed = text.lines().filter_map(|line| line.strip_prefix("    ").or(line.strip_prefix("  ")));
        let words = listed.filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
        let mut names: Vec<String> = words.map(|line| line.split(' ').next().unwrap().to_owned()).collect();
        names.retain(|name| name != "help");
        names
    };
    let options = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        let mut names: Vec<String> = words.filter(|word| word.starts_with("--")).map(str::to_owned).collect();
        names.sort_unstable();
        names.dedup();
        // These hold for every command of the binary.
        names.retain(|name| !["--db", "--json", "--help", "--version"].contains(&name.as_str()));
        names
    };
    let known = commands(&help(Bridge::Binary, &[]));
    assert!(known.len() > 15, "{known:?}");
    assert_eq!(commands(&help(Bridge::Script, &[])), known);
    for command in &known {
        let [binary, script] = BOTH.map(|bridge| options(&help(bridge, &[command])));
        assert_eq!(binary, script, "{command}");
    }
    for wrong in [&["lock"][..], &["submit", "a", "b", "--input-data", "{"], &["nonsense"], &[]] {
        for bridge in BOTH {
            bridge.run(&project.path, &[], wrong).ended_with(2);
        }
    }
}

#[test]
fn the_script_passes_its_own_tests() {
    let Some(python) = python() else {
        println!("there is no python3 here: skipped");
        return;
    };
    let mut tests = Command::new(python);
    tests.args(["-B", "-W", "error", "-m", "unittest", "--buffer"]).arg("test_coordination_bridge.py");
    let ran = Ran::from(tests.current_dir(root().join("scripts")).env_clear().output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("Ran ") && !ran.stderr.contains("Ran 0 tests"), "{}", ran.stderr);
}

/// What `docs/cloud-agents.md` tells, done in a sandbox that has Python and the repository, and nothing of ours beside.
#[test]
fn a_cloud_agent_needs_the_bridge_only() {
    let Some(python) = python() else {
        println!("there is no python3 here: skipped");
        return;
    };
    let (team, sandbox) = (Project::new(), Project::new());
    let words = "keys create --name web-1 --agent-id web-1 --agent-type claude_code_web_implementer";
    let key = team.run(&words.split(' ').collect::<Vec<_>>()).ended_with(0).stdout.trim().to_owned();
    let server = Server::start(&team);
    let install = Command::new("bash")
        .arg(root().join("skills/install.sh"))
        .args(["--mode", "copy", "--agents", "claude,codex", "--target"])
        .arg(&sandbox.path)
        .status()
        .unwrap();
    assert!(install.success());

    let templates = root().join("docs/templates");
    let programs = sandbox.beside("programs");
    std::fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink(&python, programs.join("python3")).unwrap();
    let variables = std::fs::read_to_string(templates.join("cloud-environment.env")).unwrap();
    let variables = variables
        .replace("https://coordinator.example", &format!("http://{}", server.address))
        .replace("PUT-THE-KEY-HERE", &key);
    let in_sandbox = |line: &str, env: &[(&str, &str)]| {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]).current_dir(&sandbox.path).env_clear().env("PATH", &programs);
        command.envs(env.iter().copied());
        Ran::from(command.output().unwrap()).ended_with(0)
    };
    let variables: Vec<(&str, &str)> = variables.lines().map(|line| line.split_once('=').unwrap()).collect();

    let setup = format!("exec /bin/bash '{}'", templates.join("cloud-setup.sh").display());
    assert!(in_sandbox(&setup, &[]).stdout.contains("COORDINATION_API_URL is not set here"));
    assert_eq!(in_sandbox(&setup, &variables).json()["CAN_LOCK"], true);

    let settings = std::fs::read_to_string(templates.join("claude-settings.json")).unwrap();
    let settings: Value = serde_json::from_str(&settings).unwrap();
    let hook = settings["hooks"]["SessionStart"][0]["hooks"][0]["command"].as_str().unwrap();
    let place = sandbox.path.to_string_lossy();
    assert_eq!(in_sandbox(hook, &variables).stdout, "", "on a developer's machine it keeps silent");
    let mut remote = variables.clone();
    remote.extend([("CLAUDE_CODE_REMOTE", "true"), ("CLAUDE_PROJECT_DIR", &place)]);
    assert_eq!(in_sandbox(hook, &remote).json()["CAN_LOCK"], true);

    // The commands that AGENTS.md gives, as it gives them.
    let told = std::fs::read_to_string(templates.join("AGENTS.md")).unwrap();
    let code: Vec<&str> = told.split('`').skip(1).step_by(2).collect();
    let bridge = code.iter().find(|code| code.starts_with("python3 ")).unwrap();
    let commands: Vec<&&str> = code.iter().filter(|code| code.starts_with("bridge ")).collect();
    assert_eq!(commands.len(), 5, "{commands:?}");
    for command in commands {
        let line = command.replacen("bridge", bridge, 1);
        let said = in_sandbox(&line, &variables).json();
        assert_eq!(said["status"], "ok", "{line}: {said}");
    }
    let trail = team.run(&["audit", "--json"]).json();
    let done: Vec<&Value> = trail["entries"].as_array().unwrap().iter().map(|row| &row["operation"]).collect();
    assert_eq!(done[..3], ["write_handoff", "release_lock", "acquire_lock"]);
    assert_eq!(trail["entries"][0]["agent_id"], "web-1");
    server.terminate();
    server.wait().ended_with(0);
}
