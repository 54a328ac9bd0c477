//! Who goes out to a server elsewhere goes through the environment's proxy, whatever for.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use crate::project::{Project, until};

/// A proxy that lets nobody through, and whom it was asked for.
fn proxy() -> (String, Arc<Mutex<BTreeSet<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let all = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, all) = (BufReader::new(stream.unwrap()), Arc::clone(&all));
            std::thread::spawn(move || {
                let mut line = String::new();
                if stream.read_line(&mut line).is_ok_and(|read| read > 0) {
                    all.lock().unwrap().insert(line.split(' ').take(2).collect::<Vec<_>>().join(" "));
                }
                let _ = stream.get_mut().write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
            });
        }
    });
    (address, asked)
}

#[test]
fn servers_elsewhere_are_asked_through_the_proxy_and_those_here_are_not() {
    let project = Project::new();
    for (expected, arguments, environment) in [
        (
            Some("CONNECT team.example:8081"),
            &["bridge", "detect"][..],
            &[("COORDINATION_API_URL", "http://team.example:8081"), ("COORDINATION_ALLOWED_HOSTS", "team.example")][..],
        ),
        (None, &["bridge", "detect"], &[("COORDINATION_API_URL", "http://localhost:1")]),
        (Some("CONNECT team.example:80"), &["mcp", "--url", "http://team.example"], &[("COORDINATION_API_KEY", "k")]),
        (
            Some("CONNECT github.example:443"),
            &["github", "sync"],
            &[("GITHUB_API_URL", "https://github.example"), ("GITHUB_REPO", "octo/shop"), ("GITHUB_TOKEN", "t")],
        ),
        (
            Some("CONNECT db.example:443"),
            &["status"],
            &[("DB_BACKEND", "supabase"), ("SUPABASE_URL", "https://db.example"), ("SUPABASE_SERVICE_KEY", "k")],
        ),
    ] {
        let (proxy, asked) = proxy();
        let mut command = project.command(arguments);
        command.env("HTTPS_PROXY", &proxy).env("HTTP_PROXY", &proxy).envs(environment.iter().copied());
        let mut running = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut input = running.stdin.take().unwrap();
        let _ = input.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n");
        match expected {
            Some(_) => until("the proxy is asked", || !asked.lock().unwrap().is_empty()),
            None => drop(running.wait().unwrap()),
        }
        let asked: Vec<String> = asked.lock().unwrap().iter().cloned().collect();
        assert_eq!(asked, Vec::from_iter(expected.map(str::to_owned)), "{arguments:?}");
        let _ = running.kill();
        running.wait().unwrap();
    }
}
