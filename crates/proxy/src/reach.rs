//! From a target to a connection: judged by name, resolved once, judged by address, connected to that very address.
//!
//! Nothing between the last judgement and the connection looks at the name again, so an answer of the DNS that changes
//! meanwhile changes nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};

use network::{Host, Target};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Proxy;
use crate::refusal::Refusal;

pub async fn reach(proxy: &Proxy, target: &Target, port: u16) -> Result<TcpStream, Refusal> {
    let judged = proxy.gate.judge(target).await?;
    if !judged.is_allowed() {
        let admitted = proxy.gate.admit(target, &[]).await?;
        // The rules may have changed in between.
        if !admitted.is_allowed() {
            return Err(Refusal::blocked(target, &admitted));
        }
    }
    let addresses = match resolve(proxy, target).await {
        Ok(addresses) => addresses,
        Err(refusal) => {
            // It was an attempt all the same.
            proxy.gate.admit(target, &[]).await?;
            return Err(refusal);
        }
    };
    let admitted = proxy.gate.admit(target, &addresses).await?;
    if !admitted.is_allowed() {
        return Err(Refusal::blocked(target, &admitted));
    }
    connect(proxy, target, &addresses, port).await
}

async fn resolve(proxy: &Proxy, target: &Target) -> Result<Vec<IpAddr>, Refusal> {
    let name = match &target.host {
        Host::Address(address) => return Ok(vec![*address]),
        Host::Name(name) => name,
    };
    let mut addresses: Vec<IpAddr> = timeout(proxy.limits.connect, proxy.outside.resolve(name))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|error| Refusal::not_found(target, &error.to_string()))?
        .into_iter()
        .map(|address| address.to_canonical())
        .collect();
    let mut seen = std::collections::BTreeSet::new();
    addresses.retain(|address| seen.insert(*address));
    if addresses.is_empty() {
        return Err(Refusal::not_found(target, "the name has no address"));
    }
    Ok(addresses)
}

async fn connect(proxy: &Proxy, target: &Target, addresses: &[IpAddr], port: u16) -> Result<TcpStream, Refusal> {
    let mut why = vec![];
    for address in addresses {
        let address = SocketAddr::new(*address, port);
        let attempt = timeout(proxy.limits.connect, proxy.outside.connect(address)).await;
        match attempt.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => why.push(format!("{address}: {error}")),
        }
    }
    Err(Refusal::unreachable(target, &why.join("; ")))
}
