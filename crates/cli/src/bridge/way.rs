//! The way to a server: straight on this machine, through the environment's proxy elsewhere. It follows no redirect.

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use rustls::crypto::ring;

use super::address::Place;

type Tls<C> = HttpsConnector<C>;
type Body = Full<Bytes>;

/// The way there.
pub enum Way {
    /// Straight.
    Straight(Client<Tls<HttpConnector>, Body>),
    /// Through a proxy, which sees the host and, with https, nothing else.
    Tunnel(Box<Client<Tls<Tunnel<Tls<HttpConnector>>>, Body>>),
}

impl Way {
    /// To this address. Whatever the environment says, no proxy is asked for what is on this machine.
    pub fn to(url: &str, place: Place) -> Result<Self, Box<dyn std::error::Error>> {
        let destination: Uri = url.parse()?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let proxy = match place {
            Place::Here => None,
            Place::Elsewhere => Matcher::from_env().intercept(&destination),
        };
        let client = Client::builder(TokioExecutor::new());
        Ok(match proxy {
            None => Self::Straight(client.build(tls(tcp)?)),
            Some(proxy) => Self::Tunnel(Box::new(client.build(tls(tunnel(&proxy, tls(tcp)?))?))),
        })
    }

    /// Sends it.
    pub fn send(&self, request: Request<Body>) -> ResponseFuture {
        match self {
            Self::Straight(client) => client.request(request),
            Self::Tunnel(client) => client.request(request),
        }
    }
}

fn tunnel<C>(proxy: &Intercept, connector: C) -> Tunnel<C> {
    let tunnel = Tunnel::new(proxy.uri().clone(), connector);
    match proxy.basic_auth() {
        Some(password) => tunnel.with_auth(password.clone()),
        None => tunnel,
    }
}

/// Trusts the system's authorities, or the public ones where it has none.
fn tls<C>(connector: C) -> Result<Tls<C>, rustls::Error> {
    let provider = || ring::default_provider().into();
    let builder = || ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let trusting = match builder()?.with_native_roots() {
        Ok(trusting) => trusting,
        Err(_) => builder()?.with_webpki_roots(),
    };
    let config = trusting.with_no_client_auth();
    Ok(HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().wrap_connector(connector))
}
