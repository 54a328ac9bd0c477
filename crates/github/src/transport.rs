//! The way to GitHub: through the environment's proxy if it names one, straight otherwise. It follows no redirect, which
//! would carry the token along.

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use rustls::crypto::ring;

use crate::error::{Error, Result};

type Tls<C> = HttpsConnector<C>;
type Body = Full<Bytes>;

/// The way there.
pub enum Way {
    /// Straight.
    Straight(Client<Tls<HttpConnector>, Body>),
    /// Through a proxy, which sees the host and nothing else.
    Tunnel(Box<Client<Tls<Tunnel<Tls<HttpConnector>>>, Body>>),
}

impl Way {
    /// To the API at this address, which must be encrypted unless it is on this machine: there is a token to be kept.
    pub fn to(base: &Uri) -> Result<Self> {
        let host = base.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        match base.scheme_str() {
            Some("https") => {}
            Some("http") if is_here => {}
            _ => return Err(Error::Setup(format!("GITHUB_API_URL is {base}: it must be an https:// address"))),
        }
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let proxy = if is_here { None } else { Matcher::from_env().intercept(base) };
        let client = Client::builder(TokioExecutor::new());
        Ok(match proxy {
            None => Self::Straight(client.build(tls(tcp)?)),
            Some(proxy) => {
                let tunnel = Tunnel::new(proxy.uri().clone(), tls(tcp)?);
                let tunnel = match proxy.basic_auth() {
                    Some(password) => tunnel.with_auth(password.clone()),
                    None => tunnel,
                };
                Self::Tunnel(Box::new(client.build(tls(tunnel)?)))
            }
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

/// Trusts the system's authorities, or the public ones where it has none.
fn tls<C>(connector: C) -> Result<Tls<C>> {
    let bad = |error: rustls::Error| Error::Setup(format!("TLS cannot be used: {error}"));
    let provider = || ring::default_provider().into();
    let builder = || ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let trusting = match builder().map_err(bad)?.with_native_roots() {
        Ok(trusting) => trusting,
        Err(_) => builder().map_err(bad)?.with_webpki_roots(),
    };
    let config = trusting.with_no_client_auth();
    Ok(HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().wrap_connector(connector))
}
