//! Plain HTTP: what reaches the server, and what does not.

use crate::support::{PUBLIC, World, server};

async fn world(answer: &'static str) -> (World, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    let (address, reached) = server(answer).await;
    let world = World::start(&["good.test"], &[]).await;
    for _ in 0..4 {
        world.outside.answer("good.test", &[PUBLIC]);
    }
    world.outside.place(&format!("{PUBLIC}:80"), address);
    world.outside.place(&format!("{PUBLIC}:8080"), address);
    (world, reached)
}

#[tokio::test]
async fn what_the_first_line_names_is_what_counts() {
    let (world, reached) = world(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x-hop\r\nX-Hop: 1\r\nProxy-Authenticate: Basic\r\nX-Kept: 1\r\n\r\nok",
    )
    .await;
    let answer = world
        .send(
            "GET http://GOOD.test:8080/a%20b?c=d HTTP/1.1\r\nHost: evil.test\r\nProxy-Authorization: Basic eDp5\r\n\
             Proxy-Connection: keep-alive\r\nConnection: close, X-Drop\r\nX-Drop: 1\r\nTE: trailers\r\nAccept: */*\r\n\r\n",
        )
        .await;
    let lower = answer.to_lowercase();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
    assert!(lower.contains("x-kept: 1") && lower.contains("via: 1.1 coordinator"), "{answer}");
    assert!(!lower.contains("x-hop") && !lower.contains("proxy-authenticate"), "{answer}");

    let seen = reached.lock().unwrap()[0].to_lowercase();
    assert!(seen.starts_with("get /a%20b?c=d http/1.1\r\n"), "{seen}");
    assert_eq!(seen.matches("host:").count(), 1, "{seen}");
    assert!(seen.contains("host: good.test:8080\r\n") && seen.contains("accept: */*"), "{seen}");
    for gone in ["evil", "proxy-", "x-drop", "te: trailers"] {
        assert!(!seen.contains(gone), "{gone}: {seen}");
    }
}

#[tokio::test]
async fn a_body_of_either_framing_arrives_whole() {
    let (world, reached) = world("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
    for body in ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"] {
        let request = format!("POST http://good.test/ HTTP/1.1\r\nHost: good.test\r\nConnection: close\r\n{body}");
        let answer = world.send(&request).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("ok"), "{answer}");
    }
    let reached = reached.lock().unwrap();
    assert!(reached.iter().all(|seen| seen.contains("hello")), "{reached:?}");
}

/// Two lengths are two requests to somebody. Here there is one to everybody, and what follows is judged by itself.
#[tokio::test]
async fn nothing_is_smuggled_behind_a_request() {
    let smuggled = "GET http://evil.test/ HTTP/1.1\r\nHost: good.test\r\nConnection: close\r\n\r\n";
    for (head, next) in [
        // Whoever sends two lengths is heard once, and no more on this connection.
        ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", None),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", None),
        ("Content-Length: 0\r\n\r\n", Some("HTTP/1.1 403")),
    ] {
        let (world, reached) = world("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        let answer =
            world.send(&format!("POST http://good.test/ HTTP/1.1\r\nHost: good.test\r\n{head}{smuggled}")).await;
        let second = answer.match_indices("HTTP/1.1 ").nth(1).map(|(at, _)| &answer[at..at + 12]);
        assert_eq!(second, next, "{answer}");
        let reached = reached.lock().unwrap();
        assert!(reached.len() == 1 && !reached[0].contains("evil"), "{reached:?}");
        assert!(!reached[0].contains("Content-Length: 4"), "{reached:?}");
    }
    // What is not one request to everybody is none.
    for head in [
        "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        "Content-Length: +4\r\n\r\nabcd",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ] {
        let (world, reached) = world("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        let answer =
            world.send(&format!("POST http://good.test/ HTTP/1.1\r\nHost: good.test\r\n{head}{smuggled}")).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{head}: {answer}");
        assert!(reached.lock().unwrap().is_empty(), "{head}");
    }
}

#[tokio::test]
async fn what_is_no_request_for_a_proxy_is_refused() {
    let (world, reached) = world("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    for (line, words) in [
        ("GET / HTTP/1.1", "this is a proxy"),
        ("GET https://good.test/ HTTP/1.1", "by CONNECT only"),
        ("GET ftp://good.test/ HTTP/1.1", "by CONNECT only"),
        ("GET http://user@good.test/ HTTP/1.1", "@"),
        ("GET http://evil.test@good.test/ HTTP/1.1", "@"),
        ("CONNECT good.test HTTP/1.1", "CONNECT needs a port"),
    ] {
        let answer = world.send(&format!("{line}\r\nHost: good.test\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains(words), "{line}: {answer}");
    }
    assert!(reached.lock().unwrap().is_empty() && world.attempts().is_empty());
}
