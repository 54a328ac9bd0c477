//! CONNECT: bytes in both directions, for as long as any move.

use std::time::Duration;

use proxy::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{PUBLIC, World, head};

async fn tunnel(world: &World) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.outside.place(&format!("{PUBLIC}:443"), listener.local_addr().unwrap());
    world.outside.answer("good.test", &[PUBLIC]);
    let mut client = world.connect().await;
    client.write_all(b"CONNECT good.test:443 HTTP/1.1\r\nHost: evil.test\r\n\r\n").await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200"));
    (client, server)
}

#[tokio::test]
async fn bytes_go_both_ways_until_both_have_ended() {
    let world = World::start(&["good.test:443"], &[]).await;
    let (mut client, mut server) = tunnel(&world).await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut asked = String::new();
    server.read_to_string(&mut asked).await.unwrap();
    server.write_all(b"answer").await.unwrap();
    drop(server);
    let mut answered = String::new();
    client.read_to_string(&mut answered).await.unwrap();
    assert_eq!((asked.as_str(), answered.as_str()), ("question", "answer"));
    assert_eq!(world.attempts(), [format!("good.test:443 [{PUBLIC}] allow")]);
}

#[tokio::test]
async fn a_tunnel_in_which_nothing_moves_is_closed() {
    let limits = Limits { quiet: Duration::from_millis(50), ..Limits::default() };
    let world = World::with(&["good.test"], &[], limits, false).await;
    let (mut client, mut server) = tunnel(&world).await;
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
}

/// A tunnel keeps its place: whoever comes beyond the limit waits until one is free.
#[tokio::test]
async fn tunnels_count_among_the_connections() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let world = World::with(&["good.test"], &[], limits, false).await;
    let (client, server) = tunnel(&world).await;
    let mut next = world.connect().await;
    next.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(100), next.read(&mut byte)).await;
    assert!(early.is_err(), "answered while the tunnel was open");
    drop((client, server));
    assert_eq!(next.read(&mut byte).await.unwrap(), 1);
}
