//! Answers that are none: nothing here, another method, a foreign page.

use reqwest::Method;
use serde_json::json;

use crate::routes::all;
use crate::server::Server;

#[tokio::test]
async fn what_is_not_there_is_404_with_a_problem_body() {
    let server = Server::in_memory().await;
    for path in ["/", "/nothing", "/locks/acquire/", "/locks/status/", "/locks/status", "/api/v1/tasks/", "//health"] {
        let answer = server.get(path).await;
        answer.refused(404, "not_found");
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{path}");
    }
    server.post("/nothing", json!({})).without_key().await.refused(404, "not_found");
}

#[tokio::test]
async fn another_method_is_405_with_a_problem_body() {
    let server = Server::start().await;
    let before = server.state().await;
    for (entry, route) in all() {
        let path = crate::routes::path(entry, route);
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            let is_there = all().any(|(entry, other)| {
                crate::routes::path(entry, other) == path
                    && format!("{:?}", other.method).to_uppercase() == method.as_str()
            });
            if !is_there {
                let answer = server.call(method.clone(), &path).await;
                answer.refused(405, "method_not_allowed");
                assert_eq!(answer.headers["content-type"], "application/problem+json", "{method} {path}");
                assert!(answer.headers.contains_key("allow"), "{method} {path}: which methods are there?");
            }
        }
    }
    assert_eq!(server.state().await, before);
}

#[tokio::test]
async fn foreign_web_pages_are_refused_before_anything_else() {
    let server = Server::start().await;
    let before = server.state().await;
    let lock = json!({"file_path": "a", "agent_id": "a", "agent_type": "t"});
    for (name, value) in [
        ("Host", "evil.example"),
        ("Host", "evil.example:80"),
        ("Host", "localhost.evil.example"),
        ("Host", "127.0.0.1.evil.example"),
        ("Host", ""),
        ("Origin", "http://evil.example"),
        ("Origin", "null"),
        ("Origin", "file://"),
        ("Origin", "http://localhost.evil.example:8081"),
        ("Origin", "http://evil.example#localhost"),
        ("Origin", "http://localhost@evil.example"),
    ] {
        server.post("/locks/acquire", lock.clone()).header(name, value).await.refused(403, "foreign_origin");
        server.get("/health").without_key().header(name, value).await.refused(403, "foreign_origin");
    }
    assert_eq!(server.state().await, before);
    for (name, value) in [("Host", "localhost:1"), ("Host", "[::1]:80"), ("Origin", "http://localhost:3000")] {
        server.get("/health").header(name, value).await.ok();
    }
}

/// A body that lies about its length, or about what it is, is answered like any other.
#[tokio::test]
async fn the_content_type_does_not_matter() {
    let server = Server::start().await;
    for (n, kind) in
        ["application/json", "text/plain", "application/x-www-form-urlencoded", "nonsense"].iter().enumerate()
    {
        let lock = json!({"file_path": format!("f{n}"), "agent_id": "a", "agent_type": "t"}).to_string();
        server.call(Method::POST, "/locks/acquire").body(kind, lock).await.ok();
    }
}
