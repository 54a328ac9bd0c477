//! The load over HTTP: agents that each keep one connection and ask as soon as they are answered.
//!
//! Client, server and database share the machine, so what the client costs is missing in the figure: one thread for all
//! connections, requests written out beforehand, and no more of an answer looked at than tells that it is a success.

use std::io::{self, Read, Write};
use std::net::{self, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::programs::API_KEY;
use crate::raw::Work;

/// Beyond the time of the measurement, an agent that still waits for an answer waits in vain.
const PATIENCE: Duration = Duration::from_secs(60);
/// No answer is larger.
const ANSWER_LIMIT: usize = 16 * 1024;
/// Stands in a request where a task's id belongs, and is as long.
const NO_TASK: &str = "00000000-0000-0000-0000-000000000000";

/// How much of the work so many agents get done in a second.
pub fn per_second(address: SocketAddr, work: Work, agents: u32, seconds: u64) -> anyhow::Result<f64> {
    let limit = Duration::from_secs(seconds);
    runtime()?.block_on(async {
        let mut ready = Vec::new();
        for number in 0..agents {
            let mut agent = Agent::connect(address, number, agents).await?;
            // The first time is slower for everybody: not counted.
            agent.run(work).await?;
            ready.push(agent);
        }
        let start = Instant::now();
        let mut busy = JoinSet::new();
        for mut agent in ready {
            busy.spawn(async move {
                let mut done = 0;
                while start.elapsed() < limit {
                    agent.run(work).await?;
                    done += 1;
                }
                anyhow::Ok(done)
            });
        }
        let mut done = 0;
        while let Some(result) = tokio::time::timeout(limit + PATIENCE, busy.join_next()).await.context("no answer")? {
            done += result??;
        }
        Ok(f64::from(done) / start.elapsed().as_secs_f64())
    })
}

/// Does the work so many times, one after the other.
pub fn times(address: SocketAddr, work: Work, count: u32) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let mut agent = Agent::connect(address, 0, 1).await?;
        for _ in 0..count {
            agent.run(work).await?;
        }
        Ok(())
    })
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// The two ends of a conversation with the server.
enum Connection {
    /// The thread sleeps until the answer is there: it has nothing else to do, and to ask the kernel first which connection
    /// has one would be the client's cost, not the server's.
    Alone(net::TcpStream),
    /// One of many.
    InACrowd(TcpStream),
}

impl Connection {
    async fn to(address: SocketAddr, agents: u32) -> io::Result<Self> {
        if agents > 1 {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            return Ok(Self::InACrowd(stream));
        }
        let stream = net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self::Alone(stream))
    }

    async fn write_all(&mut self, request: &[u8]) -> io::Result<()> {
        match self {
            Self::Alone(stream) => stream.write_all(request),
            Self::InACrowd(stream) => stream.write_all(request).await,
        }
    }

    async fn read(&mut self, answer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Alone(stream) => stream.read(answer),
            Self::InACrowd(stream) => stream.read(answer).await,
        }
    }
}

/// An agent with its connection, its file and its requests.
struct Agent {
    stream: Connection,
    answer: Vec<u8>,
    acquire: Vec<u8>,
    release: Vec<u8>,
    submit: Vec<u8>,
    claim: Vec<u8>,
    complete: Vec<u8>,
}

impl Agent {
    /// One of so many agents.
    async fn connect(address: SocketAddr, number: u32, agents: u32) -> anyhow::Result<Self> {
        let stream = Connection::to(address, agents).await?;
        let who = format!(r#""agent_id":"agent-{number}","agent_type":"bench""#);
        let file = format!(r#""file_path":"src/module_{number}/file_{number}.rs""#);
        let request = |path: &str, body: String| {
            let head = format!("POST {path} HTTP/1.1\r\nhost: {address}\r\nx-api-key: {API_KEY}\r\n");
            let about = format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
            (head + &about + &body).into_bytes()
        };
        Ok(Self {
            stream,
            answer: vec![0; ANSWER_LIMIT],
            acquire: request("/locks/acquire", format!("{{{file},{who}}}")),
            release: request("/locks/release", format!("{{{file},{who}}}")),
            submit: request("/work/submit", r#"{"task_type":"refactor","description":"Refactor a module"}"#.into()),
            claim: request("/work/claim", format!("{{{who}}}")),
            complete: request("/work/complete", format!(r#"{{{who},"success":true,"task_id":"{NO_TASK}"}}"#)),
        })
    }

    async fn run(&mut self, work: Work) -> anyhow::Result<()> {
        let Self { stream, answer, .. } = self;
        match work {
            Work::LockPair => {
                ask(stream, &self.acquire, answer).await?;
                ask(stream, &self.release, answer).await?;
            }
            Work::TaskCycle => {
                ask(stream, &self.submit, answer).await?;
                let claimed = ask(stream, &self.claim, answer).await?;
                // Whichever task it got, there is one for each agent that has submitted and not yet claimed.
                let task = claimed.split_once(r#""task_id":""#).and_then(|(_, rest)| rest.get(..NO_TASK.len()));
                let task = task.with_context(|| format!("no task in {claimed}"))?;
                // The id comes last in the body, before a quotation mark and a brace.
                let end = self.complete.len() - 2;
                self.complete[end - NO_TASK.len()..end].copy_from_slice(task.as_bytes());
                ask(stream, &self.complete, answer).await?;
            }
        }
        Ok(())
    }
}

/// Sends the request and gives back the body of its answer, which is a success.
async fn ask<'a>(stream: &mut Connection, request: &[u8], answer: &'a mut [u8]) -> anyhow::Result<&'a str> {
    stream.write_all(request).await?;
    let mut length = 0;
    let body = loop {
        let more = stream.read(&mut answer[length..]).await?;
        ensure!(more > 0, "the server hung up after {:?}", String::from_utf8_lossy(&answer[..length]));
        length += more;
        let Some(head) = answer[..length].windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let body = head + 4;
        if length >= body + content_length(&answer[..head])? {
            break body;
        }
    };
    let text = std::str::from_utf8(&answer[..length])?;
    if !text.starts_with("HTTP/1.1 200 ") || !text[body..].contains(r#""success":true"#) {
        bail!("no success:\n{}\n{text}", String::from_utf8_lossy(request));
    }
    Ok(&text[body..])
}

fn content_length(head: &[u8]) -> anyhow::Result<usize> {
    const NAME: &str = "content-length:";
    let head = std::str::from_utf8(head)?;
    let value = head.lines().find_map(|line| {
        let is_it = line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME));
        is_it.then(|| line[NAME.len()..].trim())
    });
    Ok(value.with_context(|| format!("an answer without a length: {head}"))?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_an_answer_is_read_however_its_name_is_written() {
        assert_eq!(content_length(b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\nDate: today").unwrap(), 17);
        assert_eq!(content_length(b"HTTP/1.1 200 OK\r\ndate: today\r\ncontent-length:4").unwrap(), 4);
        assert!(content_length(b"HTTP/1.1 200 OK\r\ndate: today").is_err());
    }
}
