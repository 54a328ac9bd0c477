//! The HTTP door: plain HTTP/1.1 over a connection that is kept, to one server at a time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::door::{Connection, Door, Reply};
use super::{AGENT_TYPE, API_KEY, Identity};

/// A server that cannot be connected to in this time is down.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// A client of several servers.
pub struct HttpDoor {
    identity: Identity,
    ports: Vec<u16>,
    /// The place in `ports` of the server in use.
    current: usize,
    stream: Option<BufReader<TcpStream>>,
}

impl HttpDoor {
    /// To the first of these servers, or another when it is down.
    pub fn new(identity: Identity, ports: Vec<u16>) -> Self {
        Self { identity, ports, current: 0, stream: None }
    }

    fn request(&self, operation: &str, arguments: &Value) -> (&'static str, String, String) {
        let (method, path) = match operation {
            "acquire_lock" => ("POST", "/locks/acquire"),
            "release_lock" => ("POST", "/locks/release"),
            "submit_work" => ("POST", "/work/submit"),
            "get_work" => ("POST", "/work/claim"),
            "complete_work" => ("POST", "/work/complete"),
            "cancel_task" => ("POST", "/work/cancel"),
            "get_task" => ("POST", "/work/get"),
            "register_session" => ("POST", "/agents/register"),
            "heartbeat" => ("POST", "/agents/heartbeat"),
            "cleanup_dead_agents" => ("POST", "/agents/cleanup"),
            _ => ("GET", "/locks"),
        };
        let mut body = arguments.clone();
        if method == "POST" && !body.is_null() {
            body["agent_id"] = json!(self.identity.agent);
            body["agent_type"] = json!(AGENT_TYPE);
            body["session_id"] = json!(self.identity.session);
        }
        (method, path.into(), if method == "POST" { body.to_string() } else { String::new() })
    }

    fn exchange(&mut self, operation: &str, arguments: &Value, patience: Duration) -> anyhow::Result<(u16, Value)> {
        let (method, path, body) = self.request(operation, arguments);
        let port = self.ports[self.current];
        let stream = self.stream.as_mut().context("not connected")?;
        stream.get_ref().set_read_timeout(Some(patience))?;
        send(stream.get_mut(), method, &path, port, &body)?;
        let (status, text) = receive(stream)?;
        Ok((status, serde_json::from_slice(&text).with_context(|| format!("status {status}, and no JSON"))?))
    }
}

impl Door for HttpDoor {
    fn connect(&mut self) -> anyhow::Result<Connection> {
        if self.stream.is_none() {
            match connect(self.ports[self.current]) {
                Ok(stream) => self.stream = Some(BufReader::new(stream)),
                Err(error) => {
                    self.current = (self.current + 1) % self.ports.len();
                    return Err(error);
                }
            }
        }
        Ok(Connection::Same)
    }

    fn call(&mut self, operation: &str, arguments: &Value, patience: Duration) -> Reply {
        let (status, answer) = match self.exchange(operation, arguments, patience) {
            Ok(answer) => answer,
            Err(error) => {
                // The next one, for this one may be down.
                self.stream = None;
                self.current = (self.current + 1) % self.ports.len();
                let hung = error.downcast_ref().is_some_and(|error: &std::io::Error| {
                    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
                });
                return if hung {
                    Reply::Broken(format!("{operation} {arguments}: no answer in {} s", patience.as_secs()))
                } else {
                    Reply::Unknown(format!("{error:#}"))
                };
            }
        };
        match status {
            200 => Reply::Done(answer),
            503 => Reply::Unknown(answer.to_string()),
            403 | 409 | 422 if answer["error"] != "invalid_request" => Reply::Refused(answer),
            _ => Reply::Broken(format!("{operation} {arguments}: {status} {answer}")),
        }
    }

    fn session(&self) -> String {
        self.identity.session.clone()
    }

    fn takes_any_field(&self) -> bool {
        true
    }
}

/// Does the server on this port answer, and its database?
pub fn is_healthy(port: u16) -> bool {
    let status = || -> anyhow::Result<u16> {
        let mut stream = connect(port)?;
        stream.set_read_timeout(Some(Duration::from_secs(3)))?;
        send(&mut stream, "GET", "/health", port, "")?;
        Ok(receive(&mut BufReader::new(stream))?.0)
    };
    status().is_ok_and(|status| status == 200)
}

fn connect(port: u16) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), CONNECT_LIMIT)?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(CONNECT_LIMIT))?;
    Ok(stream)
}

fn send(stream: &mut TcpStream, method: &str, path: &str, port: u16, body: &str) -> anyhow::Result<()> {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nx-api-key: {API_KEY}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    Ok(stream.write_all(request.as_bytes())?)
}

fn receive(stream: &mut BufReader<TcpStream>) -> anyhow::Result<(u16, Vec<u8>)> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    ensure!(!line.is_empty(), "the server hung up");
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).with_context(|| line.clone())?;
    let mut length = None;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        ensure!(line.ends_with('\n'), "the server hung up within the answer's head");
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().ok(),
            Some(_) => {}
            None if line.trim_end().is_empty() => break,
            None => bail!("no header: {line}"),
        }
    }
    let mut body = vec![0; length.context("an answer without a length")?];
    stream.read_exact(&mut body)?;
    Ok((status, body))
}
