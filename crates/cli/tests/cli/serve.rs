//! The HTTP server's life: how it begins, what it says, and how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::project::{Project, Ran};

/// A running server.
struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// `127.0.0.1:PORT`.
    address: String,
}

impl Server {
    /// Starts one on a free port; it listens when this returns.
    fn start(project: &Project) -> Self {
        let mut command = project.command(&["serve", "--port", "0", "--json"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let address = said["address"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        Self { child, stdout, address }
    }

    fn port(&self) -> &str {
        self.address.rsplit_once(':').unwrap().1
    }

    /// One request, and the status and body of its answer.
    fn ask(&self, method: &str, path: &str, key: &str, body: &Value) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        send(&mut stream, &self.address, method, path, key, body);
        read(stream)
    }

    fn terminate(&self) {
        let status = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
    }

    /// How it ended, and what else it said.
    fn wait(mut self) -> Ran {
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).unwrap();
        let mut ran = Ran::from(self.child.wait_with_output().unwrap());
        ran.stdout = stdout;
        ran
    }
}

fn send(stream: &mut TcpStream, address: &str, method: &str, path: &str, key: &str, body: &Value) {
    let body = body.to_string();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).unwrap();
}

fn read(mut stream: TcpStream) -> (u16, Value) {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, serde_json::from_str(body).unwrap())
}

#[test]
fn it_serves_until_it_is_told_to_stop() {
    let project = Project::new();
    let key = project.run(&["keys", "create", "--name", "me"]).ended_with(0).stdout.trim().to_owned();
    let server = Server::start(&project);
    let (status, health) = server.ask("GET", "/health", "", &json!({}));
    assert_eq!((status, &health["status"]), (200, &json!("ok")));

    let lock = json!({"file_path": "a.py", "agent_id": "bob", "agent_type": "codex_cli"});
    assert_eq!(server.ask("POST", "/locks/acquire", "wrong", &lock).0, 401);
    let (status, answer) = server.ask("POST", "/locks/acquire", &key, &lock);
    assert_eq!((status, &answer["action"]), (200, &json!("acquired")));
    // The server and the command line stand on one database.
    assert!(project.run(&["lock", "a.py"]).ended_with(1).stderr.contains("bob holds a.py"));

    server.terminate();
    let ended = server.wait().ended_with(0);
    assert!(ended.stderr.contains("Stopping"), "{ended:?}");
}

#[test]
fn requests_under_way_are_finished_before_it_stops() {
    let project = Project::new();
    let key = project.run(&["keys", "create", "--name", "me"]).ended_with(0).stdout.trim().to_owned();
    project.run(&["lock", "a.py"]).ended_with(0);
    let server = Server::start(&project);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let lock = json!({"file_path": "a.py", "agent_id": "bob", "agent_type": "codex_cli", "wait_seconds": 2});
    send(&mut stream, &server.address, "POST", "/locks/acquire", &key, &lock);
    crate::project::until("bob waits", || project.run(&["status", "--json"]).json()["waiters"][0]["agent_id"] == "bob");
    server.terminate();
    let (status, answer) = read(stream);
    assert_eq!((status, &answer["locked_by"]), (200, &json!("ann")));
    server.wait().ended_with(0);
}

#[test]
fn a_port_that_is_taken_is_told_with_a_way_out() {
    let project = Project::new();
    let server = Server::start(&project);
    let refused = project.run(&["serve", "--port", server.port()]).ended_with(1);
    let words = format!("port {} on 127.0.0.1 is taken by another program", server.port());
    assert!(refused.stderr.contains(&words) && refused.stderr.contains("--port"), "{refused:?}");

    let doctor = Ran::from(project.command(&["doctor"]).env("API_PORT", server.port()).output().unwrap()).ended_with(0);
    assert!(doctor.stdout.contains("answers on 127.0.0.1"), "{doctor:?}");
    assert!(doctor.stdout.contains("-> coordinator keys create --name me"), "{doctor:?}");
    server.terminate();
    server.wait().ended_with(0);
}

#[test]
fn it_says_how_to_connect_an_agent_and_warns_of_what_is_open() {
    let project = Project::new();
    let mut command = project.command(&["serve", "--port", "0", "--host", "0.0.0.0", "--project", "one"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = vec![];
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while !said.iter().any(|line: &String| line.contains("openapi.json")) {
        said.push(lines.next().unwrap().unwrap());
    }
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let ended = Ran::from(child.wait_with_output().unwrap()).ended_with(0);

    let said = said.join("\n");
    assert!(said.contains("listens on http://127.0.0.1:"), "{said}");
    let json_line = said.lines().find_map(|line| line.split_once(".mcp.json")).unwrap().1;
    let config: Value = serde_json::from_str(json_line.trim()).unwrap();
    let entry = &config["mcpServers"]["coordinator"];
    assert!(std::path::Path::new(entry["command"].as_str().unwrap()).is_absolute(), "{entry}");
    assert_eq!(entry["args"], json!(["--project", "one", "mcp"]));
    assert!(said.contains("[mcp_servers.coordinator]") && said.contains("curl -H 'X-API-Key: KEY'"), "{said}");
    assert!(ended.stderr.contains("There is no key yet"), "{ended:?}");
    assert!(ended.stderr.contains("Everybody who can reach"), "{ended:?}");
}

/// The client keeps the last id it saw, and shows it to whichever server is there.
#[test]
fn a_client_that_follows_events_through_a_restart_sees_each_once() {
    let project = Project::new();
    let key = project.run(&["keys", "create", "--name", "me"]).ended_with(0).stdout.trim().to_owned();
    let mut seen: Vec<i64> = vec![];
    for round in 0..3 {
        let server = Server::start(&project);
        let mut events = follow(&server, &key, seen.last().copied().unwrap_or(0));
        project.run(&["lock", &format!("{round}.py")]).ended_with(0);
        // The key, then two a round but for the first: one while a server was there, one while there was none.
        while seen.len() < round * 2 + 2 {
            seen.push(next_id(&mut events));
        }
        server.terminate();
        server.wait().ended_with(0);
        project.run(&["unlock", &format!("{round}.py")]).ended_with(0);
    }
    let all = project.run(&["audit", "--json"]).ended_with(0).json();
    let before_the_last: Vec<i64> = (1..all["entries"][0]["seq"].as_i64().unwrap()).collect();
    assert_eq!(seen, before_the_last);
}

/// Behind the answer's head.
fn follow(server: &Server, key: &str, last_seen: i64) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let head = format!(
        "GET /events HTTP/1.1\r\nHost: {}\r\nX-API-Key: {key}\r\nLast-Event-ID: {last_seen}\r\n\r\n",
        server.address
    );
    stream.write_all(head.as_bytes()).unwrap();
    BufReader::new(stream)
}

fn next_id(events: &mut BufReader<TcpStream>) -> i64 {
    loop {
        let mut line = String::new();
        assert!(events.read_line(&mut line).unwrap() > 0, "the stream goes on");
        if let Some(id) = line.strip_prefix("id: ") {
            return id.trim().parse().unwrap();
        }
    }
}

#[test]
fn people_can_watch_what_happens() {
    let project = Project::new();
    project.run(&["lock", "a.py", "--reason", "mine"]).ended_with(0);
    let mut child =
        project.command(&["watch", "--after", "0"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut next = || {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        line
    };
    let line = next();
    assert!(
        line.contains(" ann acquire_lock done ") && line.contains("a.py") && line.contains("reason=mine"),
        "{line}"
    );
    project.run_as("bob", &["lock", "a.py"]).ended_with(1);
    let line = next();
    assert!(line.contains(" bob acquire_lock locked_by_other "), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
}
