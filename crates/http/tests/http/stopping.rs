//! A server that is told to stop.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpStream;

use crate::server::{Call, Server, has};

fn wait(server: &Server, seconds: u32) -> Call {
    let body = json!({"file_path": "a.rs", "agent_id": "bert", "agent_type": "t", "wait_seconds": seconds});
    server.post("/locks/acquire", body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_is_answered() {
    let mut server = Server::start().await;
    server.lock("anna", "a.rs").await;
    let waiting = tokio::spawn(wait(&server, 1).into_future());
    server.until_waiting(1).await;
    server.stop();
    has(waiting.await.unwrap().ok(), json!({"success": false, "locked_by": "anna"}));
    let ended = tokio::time::timeout(Duration::from_secs(2), &mut server.serving).await;
    ended.expect("nothing is left to do").unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}

/// A client that waits long, and one that has said half of what it wants, do not keep the server.
#[tokio::test(flavor = "multi_thread")]
async fn stopping_takes_no_longer_than_its_grace() {
    let mut server = Server::start().await;
    server.lock("anna", "a.rs").await;
    tokio::spawn(wait(&server, 300).into_future());
    let mut half = TcpStream::connect(server.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut half, b"POST /work/submit HTTP/1.1\r\nHost: localhost\r\n").await.unwrap();
    server.until_waiting(1).await;
    server.stop();
    let stopped = Instant::now();
    let ended = tokio::time::timeout(Duration::from_secs(12), &mut server.serving).await;
    ended.expect("the grace is 10 s").unwrap().unwrap();
    assert!(stopped.elapsed() > Duration::from_secs(9), "requests under way have their time");
}
