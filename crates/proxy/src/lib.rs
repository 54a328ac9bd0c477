//! The way out for agents: a proxy that applies the network rules, and programs that have no other way.
//!
//! - [`gate`]: what the proxy asks of others: may it be reached (and write that down), what is its address, connect
//! - [`reach`]: from a target to a connection: judged, resolved once, judged again, connected to that very address
//! - [`forward`]: plain HTTP; [`tunnel`]: CONNECT; [`refusal`]: what a client is told instead
//! - [`isolate`]: on Linux, a program that can reach nothing but the proxy

mod forward;
pub mod gate;
#[cfg(target_os = "linux")]
pub mod isolate;
mod reach;
mod refusal;
mod tunnel;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

pub use crate::gate::{Gate, GateClosed, Outside, System};

type Body = BoxBody<Bytes, hyper::Error>;

/// How much, and how long.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections of clients at a time. Further ones wait.
    pub connections: usize,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// For a client to send a request's head.
    pub head: Duration,
    /// To resolve a name, and again to connect to each of its addresses.
    pub connect: Duration,
    /// For a server to begin its answer: a model may think for minutes.
    pub answer: Duration,
    /// Without a byte in either direction, after which a tunnel is closed.
    pub quiet: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            head_bytes: 64 * 1024,
            head: Duration::from_secs(30),
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(600),
            quiet: Duration::from_secs(900),
        }
    }
}

/// The proxy.
pub struct Proxy {
    gate: Arc<dyn Gate>,
    outside: Arc<dyn Outside>,
    limits: Limits,
}

impl Proxy {
    /// A proxy that asks this gate, and reaches what is outside so.
    pub fn new(gate: Arc<dyn Gate>, outside: Arc<dyn Outside>, limits: Limits) -> Self {
        Self { gate, outside, limits }
    }

    /// Serves whoever connects, for as long as the future is polled.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let room = Arc::new(Semaphore::new(self.limits.connections));
        loop {
            // The semaphore is never closed.
            let Ok(place) = room.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let proxy = self.clone();
                    tokio::spawn(async move {
                        proxy.serve_connection(stream, place).await;
                    });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: others must end first.
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn serve_connection(self: Arc<Self>, stream: TcpStream, place: tokio::sync::OwnedSemaphorePermit) {
        let _ = stream.set_nodelay(true);
        let limits = self.limits;
        // A tunnel outlives its connection as HTTP sees it, and keeps the place.
        let place = Arc::new(place);
        let service = service_fn(move |request| {
            let (proxy, place) = (self.clone(), place.clone());
            async move { Ok::<_, Infallible>(proxy.answer(request, place).await) }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head)
            .max_buf_size(limits.head_bytes)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "a client's connection ended");
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        place: Arc<tokio::sync::OwnedSemaphorePermit>,
    ) -> Response<Body> {
        let answer = if request.method() == Method::CONNECT {
            tunnel::open(self, request, place).await
        } else {
            forward::send(self, request).await
        };
        answer.unwrap_or_else(|refusal| refusal.response())
    }
}
