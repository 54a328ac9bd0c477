//! CONNECT: bytes in both directions, to a host and port that were judged.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use network::Target;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::reach::reach;
use crate::refusal::Refusal;
use crate::{Body, Proxy};

pub async fn open(
    proxy: &Proxy,
    mut request: Request<Incoming>,
    place: Arc<OwnedSemaphorePermit>,
) -> Result<Response<Body>, Refusal> {
    let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
    let target = Target::parse(&authority)
        .map_err(|bad| Refusal::bad_request(format!("this is no host that can be judged: {bad}")))?;
    let Some(port) = target.port else {
        return Err(Refusal::bad_request(format!("CONNECT needs a port, such as {target}:443")));
    };
    let mut server = reach(proxy, &target, port).await?;
    let quiet = proxy.limits.quiet;
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let moved = match upgrade.await {
            Ok(client) => relay(TokioIo::new(client), &mut server, quiet).await,
            Err(error) => Err(io::Error::other(error)),
        };
        if let Err(error) = moved {
            tracing::debug!(%error, %target, "a tunnel ended");
        }
        drop(place);
    });
    Ok(Response::new(Empty::<Bytes>::new().map_err(|never| match never {}).boxed()))
}

/// Passes bytes on until both sides have ended, or nothing has moved for long.
async fn relay(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    server: &mut TcpStream,
    quiet: Duration,
) -> io::Result<()> {
    let moved = Arc::new(AtomicU64::new(0));
    let mut server = Counted { stream: server, moved: moved.clone() };
    let is_quiet = async {
        loop {
            let before = moved.load(Ordering::Relaxed);
            tokio::time::sleep(quiet).await;
            if before == moved.load(Ordering::Relaxed) {
                return;
            }
        }
    };
    tokio::select! {
        ended = copy_bidirectional(&mut client, &mut server) => ended.map(|_| ()),
        () = is_quiet => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// A stream that counts whatever moves.
struct Counted<'a> {
    stream: &'a mut TcpStream,
    moved: Arc<AtomicU64>,
}

impl Counted<'_> {
    fn count<T>(&self, polled: Poll<T>) -> Poll<T> {
        if polled.is_ready() {
            self.moved.fetch_add(1, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncRead for Counted<'_> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut *self.stream).poll_read(context, into);
        self.count(polled)
    }
}

impl AsyncWrite for Counted<'_> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut *self.stream).poll_write(context, bytes);
        self.count(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(context)
    }
}
