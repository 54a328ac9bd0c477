//! The way to a server: straight on this machine, elsewhere through the proxy that the environment names (`HTTPS_PROXY`,
//! `HTTP_PROXY`, `ALL_PROXY`, less `NO_PROXY`). It follows no redirect, which would carry keys along.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use rustls::crypto::ring;
use tokio::net::TcpStream;

/// How long whoever is there may take to accept a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection is kept without use: less than whoever stands before a server keeps it.
const IDLE_PATIENCE: Duration = Duration::from_secs(20);
/// How often a silent connection is looked after.
const KEEPALIVE: Duration = Duration::from_secs(30);

type Tls<C> = HttpsConnector<C>;
type Body = Full<Bytes>;

/// The way to one server.
pub struct Way {
    kind: Kind,
    /// Whoever accepts the connection: the server, or the proxy.
    first: Uri,
}

enum Kind {
    Straight(Client<Tls<HttpConnector>, Body>),
    /// A proxy sees the host and, with https, nothing else.
    Tunnel(Box<Client<Tls<Tunnel<Tls<HttpConnector>>>, Body>>),
}

impl Way {
    /// To this server. Whatever the environment says, no proxy is asked for what is on this machine.
    ///
    /// # Errors
    /// When TLS cannot be used.
    pub fn to(server: &Uri) -> Result<Self, rustls::Error> {
        let proxy = if is_here(server) { None } else { Matcher::from_env().intercept(server) };
        let mut client = Client::builder(TokioExecutor::new());
        client.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_PATIENCE);
        Ok(match proxy {
            None => {
                let straight = client.build(tls(tcp(), server)?);
                Self { kind: Kind::Straight(straight), first: server.clone() }
            }
            Some(proxy) => {
                let first = proxy.uri().clone();
                let tunnel = client.build(tls(tunnel(&proxy, tls(tcp(), &first)?), server)?);
                Self { kind: Kind::Tunnel(Box::new(tunnel)), first }
            }
        })
    }

    /// Sends it. Nothing limits how long the answer takes.
    pub fn send(&self, mut request: Request<Body>) -> ResponseFuture {
        match &self.kind {
            Kind::Straight(client) => client.request(request),
            Kind::Tunnel(client) => {
                *request.uri_mut() = with_port(request.uri());
                client.request(request)
            }
        }
    }

    /// Does anything take connections there, or at the proxy? Tells so much sooner than a request that waits for its answer.
    ///
    /// # Errors
    /// As the system says.
    pub async fn reach(&self) -> std::io::Result<()> {
        let is_https = self.first.scheme_str() == Some("https");
        let port = self.first.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        TcpStream::connect((host(&self.first), port)).await.map(drop)
    }
}

/// Is the server on this machine?
pub fn is_here(server: &Uri) -> bool {
    is_loopback(host(server))
}

/// Does this host's name stand for this machine? An address of IPv6 is without brackets.
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn host(server: &Uri) -> &str {
    server.host().unwrap_or_default().trim_matches(['[', ']'])
}

/// The same address, its port said: a tunnel takes an absent one for 443, whatever the scheme.
fn with_port(server: &Uri) -> Uri {
    let mut parts = server.clone().into_parts();
    if let (Some("http"), Some(host), None) = (server.scheme_str(), server.host(), server.port()) {
        parts.authority = format!("{host}:80").parse().ok();
    }
    Uri::from_parts(parts).unwrap_or_else(|_| server.clone())
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_PATIENCE));
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp
}

fn tunnel<C>(proxy: &Intercept, connector: C) -> Tunnel<C> {
    let tunnel = Tunnel::new(proxy.uri().clone(), connector);
    match proxy.basic_auth() {
        Some(password) => tunnel.with_auth(password.clone()),
        None => tunnel,
    }
}

/// Trusts the system's authorities, or the public ones where it has none. To read the system's takes long, so it is not done for
/// a server that is not spoken to by https.
fn tls<C>(connector: C, server: &Uri) -> Result<Tls<C>, rustls::Error> {
    let provider = || ring::default_provider().into();
    let builder = || ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let system = match server.scheme_str() {
        Some("https") => builder()?.with_native_roots().inspect_err(|error| {
            tracing::warn!(%error, "no certificates of the system's: the public authorities are trusted");
        }),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    let trusting = match system {
        Ok(trusting) => trusting,
        Err(_) => builder()?.with_webpki_roots(),
    };
    let config = trusting.with_no_client_auth();
    Ok(HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().wrap_connector(connector))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_its_names() {
        for (server, expected) in [
            ("http://LocalHost:3000", true),
            ("http://127.0.0.2", true),
            ("http://[::1]:8081/mcp", true),
            ("https://coordinator.example", false),
            ("http://localhost.example", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(is_here(&server.parse().unwrap()), expected, "{server}");
        }
    }

    #[test]
    fn a_tunnel_is_told_the_port() {
        for (server, expected) in [
            ("http://team.example/mcp?a", "http://team.example:80/mcp?a"),
            ("http://[2001:db8::1]/", "http://[2001:db8::1]:80/"),
            ("http://team.example:8081/", "http://team.example:8081/"),
            ("https://team.example/", "https://team.example/"),
        ] {
            assert_eq!(with_port(&server.parse().unwrap()).to_string(), expected);
        }
    }
}
