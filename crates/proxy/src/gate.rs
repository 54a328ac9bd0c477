//! What the proxy asks of others.

use std::io;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use network::{Target, Verdict};
use tokio::net::TcpStream;

/// Who decides.
#[async_trait]
pub trait Gate: Send + Sync {
    /// Would it be allowed, as far as its name tells? Asked before the name is resolved, because to resolve a name is to
    /// send it. Leaves no trace.
    async fn judge(&self, target: &Target) -> Result<Verdict, GateClosed>;

    /// Is it allowed, at these addresses? The attempt is on record when this returns.
    async fn admit(&self, target: &Target, addresses: &[IpAddr]) -> Result<Verdict, GateClosed>;
}

/// It cannot be decided, or not be recorded: nothing gets through.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct GateClosed(pub String);

/// What is outside.
#[async_trait]
pub trait Outside: Send + Sync {
    /// All addresses of a name.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;

    /// A connection to an address.
    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream>;
}

/// What is outside as this machine sees it.
#[derive(Debug, Clone, Copy)]
pub struct System;

#[async_trait]
impl Outside for System {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect(address).await
    }
}
