//! Requests that are too large, or hardly HTTP.

use serde_json::json;

use crate::server::{Answer, FREE, Server};

/// Larger than any body may be.
const HUGE: usize = 50 * 1024 * 1024;

fn head(more: &str) -> String {
    format!("POST /locks/acquire HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {FREE}\r\nConnection: close\r\n{more}\r\n")
}

fn too_large(answer: &Answer) {
    answer.refused(413, "body_too_large");
}

/// With an ordinary client, which sends it all before it reads.
#[tokio::test]
async fn a_huge_body_is_413() {
    let server = Server::start().await;
    let before = server.state().await;
    let call =
        |size: usize| server.call(reqwest::Method::POST, "/locks/acquire").body("application/json", "x".repeat(size));
    for size in [http_api::BODY_LIMIT + 1, HUGE] {
        too_large(&call(size).await);
    }
    call(http_api::BODY_LIMIT).await.refused(400, "invalid_json");
    assert_eq!(server.state().await, before);
}

#[tokio::test]
async fn a_huge_body_of_unknown_length_is_413() {
    let server = Server::start().await;
    let mut request = head("Transfer-Encoding: chunked\r\n").into_bytes();
    let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
    for _ in 0..HUGE / 0x10000 {
        request.extend_from_slice(&chunk);
    }
    request.extend_from_slice(b"0\r\n\r\n");
    too_large(&server.raw(request).await);
}

/// The announcement is enough.
#[tokio::test]
async fn a_huge_announced_body_is_413_before_it_is_sent() {
    let server = Server::start().await;
    for length in [HUGE, 1 << 40] {
        too_large(&server.raw(head(&format!("Content-Length: {length}\r\n"))).await);
    }
}

#[tokio::test]
async fn whoever_has_no_key_need_not_send_a_body() {
    let server = Server::start().await;
    let request = format!(
        "POST /locks/acquire HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {HUGE}\r\n\r\n"
    );
    server.raw(request).await.refused(401, "unauthorized");
}

#[tokio::test]
async fn a_body_cut_short_or_badly_framed_changes_nothing() {
    let server = Server::start().await;
    let before = server.state().await;
    let body = json!({"file_path": "a", "agent_id": "a", "agent_type": "t"}).to_string();
    for (what, request) in [
        ("not a chunk", format!("{}zz\r\n{body}", head("Transfer-Encoding: chunked\r\n"))),
        ("a length that is none", format!("{}{body}", head("Content-Length: -1\r\n"))),
        ("two lengths", format!("{}{body}", head("Content-Length: 1\r\nContent-Length: 2\r\n"))),
    ] {
        assert_eq!(server.raw(request).await.status, 400, "{what}");
    }
    // The client goes away in the middle.
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let part = format!("{}{}", head(&format!("Content-Length: {}\r\n", body.len())), &body[..10]);
    tokio::io::AsyncWriteExt::write_all(&mut stream, part.as_bytes()).await.unwrap();
    drop(stream);
    server.get("/health").await.ok();
    assert_eq!(server.state().await, before);
}

#[tokio::test]
async fn huge_or_many_headers_are_431() {
    let server = Server::start().await;
    for headers in [format!("X-Big: {}\r\n", "x".repeat(1 << 20)), "X-Many: x\r\n".repeat(1000)] {
        assert_eq!(server.raw(head(&headers)).await.status, 431);
    }
    let long = format!("GET /locks/status/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(1 << 20));
    assert!([414, 431].contains(&server.raw(long).await.status));
    server.get("/health").await.ok();
}

#[tokio::test]
async fn what_is_hardly_http_is_400() {
    let server = Server::start().await;
    for request in [
        "\r\n\r\nnonsense\r\n\r\n",
        "GET\r\n\r\n",
        "GET /health HTTP/9.9\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0}TLS\r\n\r\n",
    ] {
        assert_eq!(server.raw(request).await.status, 400, "{request:?}");
    }
    server.get("/health").await.ok();
}
