//! The network from the command line: rules that are answered, rules that are enforced.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::{Value, json};

use crate::project::{Project, Ran, until};

#[test]
fn lines_are_answered_without_a_database() {
    let project = Project::new();
    let input = concat!(
        "{\"id\": \"a\", \"allow\": [\"*.example.com\"], \"url_or_host\": \"https://A.example.com/\"}\n",
        "\n",
        "no json\n",
        "{\"id\": 2, \"allow\": [\"*\"], \"deny\": [], \"default\": \"allow\", \"url_or_host\": \"http://0x7f.1/\"}\n",
        "{\"id\": 3, \"allow\": [\"*\"], \"url_or_host\": \"x.example.com\", \"resolves_to\": [\"10.0.0.1\"]}",
    );
    let mut child = project
        .command(&["network", "check", "--jsonl"])
        .env("COORDINATOR_DB", "/nowhere/at/all.db")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap()).ended_with(0);
    let answers: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<(&Value, &Value)> = answers.iter().map(|answer| (&answer["id"], &answer["verdict"])).collect();
    let (a, two, three, null) = (json!("a"), json!(2), json!(3), Value::Null);
    let (allow, deny) = (json!("allow"), json!("deny"));
    assert_eq!(seen, [(&a, &allow), (&null, &deny), (&two, &deny), (&three, &deny)]);
    assert!(answers[1]["reason"].as_str().unwrap().contains("line 3"), "{answers:?}");
    assert!(!project.database().exists());
}

#[test]
fn rules_are_changed_asked_and_on_record() {
    let project = Project::new();
    let check = |host: &str| project.run(&["network", "check", host, "--json"]);
    let no = check("api.example.com").ended_with(1).json();
    assert_eq!(
        (&no["success"], &no["error"], &no["domain"]),
        (&json!(false), &json!("domain_blocked"), &json!("api.example.com"))
    );
    project.run(&["network", "allow", "**.example.com:443", "10.0.0.7"]).ended_with(0);
    let yes = check("https://API.example.com./x").ended_with(0).json();
    assert_eq!((&yes["allowed"], &yes["policy"]), (&json!(true), &json!("allow_rule: **.example.com:443")));
    check("http://api.example.com/").ended_with(1);
    check("10.0.0.7:5432").ended_with(0);
    project.run(&["network", "deny", "api.example.com"]).ended_with(0);
    check("https://api.example.com/").ended_with(1);
    project.run(&["network", "remove", "api.example.com"]).ended_with(0);
    check("https://api.example.com/").ended_with(0);
    let resolved = project.run(&["network", "check", "https://api.example.com", "--resolves-to", "127.0.0.1"]);
    assert!(resolved.ended_with(1).stdout.contains("127.0.0.1"));

    // A profile's rules come on top of everybody's.
    project.run(&["network", "deny", "**.example.com", "--profile", "claude_code_cli"]).ended_with(0);
    assert_eq!(
        project.run_as("bob", &["network", "check", "https://example.com", "--json"]).ended_with(1).json()["error"],
        "domain_blocked"
    );
    check("https://example.com/").ended_with(0);

    let bad = project.run(&["network", "allow", "https://example.com"]).ended_with(2);
    assert!(bad.stderr.contains("the rule \"https://example.com\" cannot be used"), "{bad:?}");
    let list = project.run(&["network", "list"]).ended_with(0);
    assert!(list.stdout.contains("**.example.com:443") && list.stdout.contains("claude_code_cli"), "{list:?}");

    let trail = project.run(&["call", "query_audit", "{\"operation\": \"check_network\", \"limit\": 100}"]).json();
    let entries = trail["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 9);
    let blocked = entries.iter().filter(|entry| entry["error_message"] == "domain_blocked").count();
    assert_eq!(blocked, 5, "{trail:#}");
}

/// A server on this machine's loopback that answers every request with `hello`.
fn hello() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                    line.clear();
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
            });
        }
    });
    port
}

#[test]
fn the_proxy_applies_the_rules_and_records_each_attempt() {
    let project = Project::new();
    let port = hello();
    let mut proxy = project.command(&["proxy", "--port", "0", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(proxy.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let address = serde_json::from_str::<Value>(&said).unwrap()["address"].as_str().unwrap().replace("http://", "");
    let get = || {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(get().starts_with("HTTP/1.1 403"));
    project.run(&["network", "allow", &format!("127.0.0.1:{port}")]).ended_with(0);
    // The proxy looks once a second whether the rules have changed.
    until("the rule is in force", || get().ends_with("hello"));
    let trail = project.run(&["call", "query_audit", "{\"operation\": \"check_network\"}"]).json();
    assert_eq!(trail["entries"][0]["result"]["addresses"], json!(["127.0.0.1"]), "{trail:#}");
    proxy.kill().unwrap();
    proxy.wait().unwrap();
}

/// May a program here have namespaces of its own? Then whatever follows must work.
fn has_namespaces() -> bool {
    let unshare = Command::new("unshare").args(["--user", "--map-current-user", "--net", "true"]).status();
    let has = unshare.is_ok_and(|status| status.success());
    if !has {
        eprintln!("no namespaces here: only that this is told is tested");
    }
    has
}

/// Runs a script of bash, which can open connections by itself.
fn isolated(project: &Project, script: &str) -> Command {
    project.command(&["run", "--", "bash", "-c", script])
}

/// A function of the script that asks the proxy, whose address is in the environment, for a URL.
const ASK: &str = "ask() { p=${http_proxy##*:}; exec 3<>/dev/tcp/127.0.0.1/${p%/}; \
     printf 'GET %s HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' \"$1\" >&3; cat <&3; };";

#[test]
fn a_program_that_ignores_the_proxy_reaches_nothing() {
    let project = Project::new();
    let port = hello();
    project.run(&["network", "allow", &format!("127.0.0.1:{port}")]).ended_with(0);
    if !has_namespaces() {
        let refused = project.run(&["run", "--", "true"]).ended_with(1);
        assert!(refused.stderr.contains("does not let a program have a network of its own"), "{refused:?}");
        return;
    }
    // The same script, outside and inside.
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port} && echo reached");
    let outside = Ran::from(Command::new("bash").args(["-c", &script]).output().unwrap());
    assert_eq!(outside.stdout, "reached\n");
    let inside = Ran::from(isolated(&project, &script).output().unwrap());
    assert!(inside.code != 0 && inside.stdout.is_empty(), "{inside:?}");
    // No interface but loopback, no route, no rights that could make one, no way back.
    let script = "grep -c : /proc/net/dev; tail -n +2 /proc/net/route | wc -l; grep CapEff /proc/self/status; \
                  grep NoNewPrivs /proc/self/status; nsenter --net=/proc/$PPID/ns/net true 2>/dev/null || echo caught";
    let ran = Ran::from(isolated(&project, script).output().unwrap()).ended_with(0);
    assert_eq!(ran.stdout, "1\n0\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\ncaught\n", "{ran:?}");
}

#[test]
fn a_program_that_asks_the_proxy_reaches_what_is_allowed() {
    let project = Project::new();
    let port = hello();
    project.run(&["network", "allow", &format!("127.0.0.1:{port}")]).ended_with(0);
    if !has_namespaces() {
        return;
    }
    let script = format!("{ASK} ask http://127.0.0.1:{port}/");
    let ran = Ran::from(isolated(&project, &script).output().unwrap()).ended_with(0);
    assert!(ran.stdout.ends_with("hello"), "{ran:?}");
    let script = format!("{ASK} ask http://127.0.0.1:{}/", if port == 9 { 10 } else { 9 });
    let ran = Ran::from(isolated(&project, &script).output().unwrap()).ended_with(0);
    assert!(ran.stdout.starts_with("HTTP/1.1 403"), "{ran:?}");
    // What the rules list on loopback is outside; the rest is the program's own.
    let ran = Ran::from(isolated(&project, "echo $NO_PROXY $HTTPS_PROXY").output().unwrap()).ended_with(0);
    assert!(ran.stdout.starts_with("localhost,::1 http://127.0.0.1:"), "{ran:?}");
}

#[test]
fn a_program_is_run_as_if_by_itself() {
    if !has_namespaces() {
        return;
    }
    let project = Project::new();
    Ran::from(isolated(&project, "exit 7").output().unwrap()).ended_with(7);
    Ran::from(isolated(&project, "kill -9 $$").output().unwrap()).ended_with(137);
    let missing = project.run(&["run", "--", "no-such-program"]).ended_with(127);
    assert!(missing.stderr.contains("no-such-program"), "{missing:?}");
    let same = Ran::from(isolated(&project, "id -u; pwd; cat").stdin(Stdio::null()).output().unwrap()).ended_with(0);
    let own = Ran::from(Command::new("id").arg("-u").output().unwrap());
    assert_eq!(same.stdout, format!("{}{}\n", own.stdout, project.path.display()));
    let arguments = project.run(&["run", "--", "printf", "%s|", "--json", "-x", "a b"]).ended_with(0);
    assert_eq!(arguments.stdout, "--json|-x|a b|");
}

fn started(mut command: Command) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, out)
}

#[test]
fn signals_are_passed_on() {
    if !has_namespaces() {
        return;
    }
    let project = Project::new();
    for (signal, code) in [("TERM", 41), ("INT", 41), ("USR1", 41)] {
        let script = format!("sleep 1000 & trap 'kill $!; exit 41' {signal}; echo ready; wait");
        let mut command = isolated(&project, &script);
        command.stdin(Stdio::null());
        let (mut child, _out) = started(command);
        let killed = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal}");
    }
}

/// Without the proxy the program is of no use: it does not outlive it.
#[test]
fn the_program_ends_with_the_proxy() {
    if !has_namespaces() {
        return;
    }
    let project = Project::new();
    let mut command = isolated(&project, "echo ready; exec sleep 1000");
    command.stdin(Stdio::null());
    let (mut child, mut out) = started(command);
    child.kill().unwrap();
    child.wait().unwrap();
    // The end of its output is the end of the program.
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
}
