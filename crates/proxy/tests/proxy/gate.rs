//! What may be reached, and that nothing changes between the check and the connection.

use proxy::Limits;

use crate::support::{PUBLIC, World, server};

const GET: &str = "GET http://good.test/ HTTP/1.1\r\nHost: good.test\r\nConnection: close\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// The name is public when it is checked, and private ever after. The private server must not be reached.
#[tokio::test]
async fn an_answer_that_turns_private_changes_nothing() {
    let (honest, _) = server(OK).await;
    let (secret, stolen) = server("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret").await;
    for request in [GET, "CONNECT good.test:80 HTTP/1.1\r\nHost: good.test\r\n\r\nGET / HTTP/1.1\r\n\r\n"] {
        let world = World::start(&["good.test"], &[]).await;
        world.outside.place(&format!("{PUBLIC}:80"), honest);
        world.outside.place("127.0.0.1:80", secret);
        world.outside.answer("good.test", &[PUBLIC]);
        world.outside.answer("good.test", &["127.0.0.1"]);
        let answer = world.send(request).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
        assert_eq!(world.outside.deeds(), ["resolve good.test", &format!("connect {PUBLIC}:80")]);
        assert_eq!(world.attempts(), [format!("good.test:80 [{PUBLIC}] allow")]);
        // The next request resolves again, and is refused.
        let answer = world.send(GET).await;
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("domain_blocked"), "{answer}");
        assert_eq!(world.outside.deeds().len(), 3, "nothing was connected to");
    }
    assert!(stolen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn one_private_address_among_public_ones_is_refused() {
    for private in ["127.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "fd00::1"] {
        let world = World::start(&["**.good.test"], &[]).await;
        world.outside.answer("good.test", &[PUBLIC, private]);
        let answer = world.send(GET).await;
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("not public"), "{private}: {answer}");
        assert_eq!(world.outside.deeds(), ["resolve good.test"], "{private}");
        assert_eq!(world.attempts().len(), 1);
    }
}

/// To resolve a name is to send it somewhere.
#[tokio::test]
async fn a_name_that_is_denied_is_not_even_resolved() {
    let world = World::start(&["good.test", "bad.test"], &["bad.test"]).await;
    for (host, request) in [
        ("bad.test:80", GET.replace("good", "bad")),
        ("other.test:80", GET.replace("good", "other")),
        ("bad.test:443", "CONNECT bad.test:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned()),
        ("127.0.0.1:80", GET.replace("good.test", "0x7f.1")),
    ] {
        let answer = world.send(&request).await;
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("\"domain_blocked\""), "{answer}");
        assert_eq!(world.attempts().last().unwrap(), &format!("{host} [] deny"));
    }
    assert_eq!(world.attempts().len(), 4);
    assert!(world.outside.deeds().is_empty());
}

#[tokio::test]
async fn what_is_listed_literally_is_reached_though_it_is_private() {
    let (address, _) = server(OK).await;
    let world = World::start(&["10.0.0.7:80", "db.test"], &[]).await;
    world.outside.place("10.0.0.7:80", address);
    world.outside.answer("db.test", &["10.0.0.7"]);
    for host in ["10.0.0.7", "db.test"] {
        let answer = world.send(&GET.replace("good.test", host)).await;
        assert!(answer.ends_with("ok"), "{answer}");
    }
    let answer = world.send(&GET.replace("good.test", "10.0.0.7:81")).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[tokio::test]
async fn addresses_are_tried_in_turn() {
    let (address, _) = server(OK).await;
    let world = World::start(&["good.test"], &[]).await;
    world.outside.place(&format!("{PUBLIC}:80"), address);
    world.outside.answer("good.test", &["2606:2800:21f::1", PUBLIC]);
    assert!(world.send(GET).await.ends_with("ok"));
    world.outside.answer("good.test", &["2606:2800:21f::1"]);
    let answer = world.send(GET).await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("\"connect_failed\""), "{answer}");
    let answer = world.send(GET).await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("\"host_not_found\""), "{answer}");
    assert_eq!(world.attempts().last().unwrap(), "good.test:80 [] allow", "an attempt all the same");
}

#[tokio::test]
async fn nothing_gets_through_what_cannot_be_recorded() {
    let world = World::with(&["good.test"], &[], Limits::default(), true).await;
    world.outside.answer("good.test", &[PUBLIC]);
    let answer = world.send(GET).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("the database is gone"), "{answer}");
    assert_eq!(world.outside.deeds(), ["resolve good.test"]);
}
