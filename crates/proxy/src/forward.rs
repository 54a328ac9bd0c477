//! Plain HTTP: one request to the server that its first line names, and the answer back.
//!
//! What the first line names is what counts (RFC 9112, 3.2.2): the Host header is written anew from it. Both sides are
//! framed anew, too: nothing that hyper did not understand as a request's or an answer's body is passed on.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Scheme, Uri};
use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use network::Target;
use tokio::time::timeout;

use crate::reach::reach;
use crate::refusal::Refusal;
use crate::{Body, Proxy};

/// The headers that are for the next hop only.
const HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    // Answered by us when the body is asked for.
    header::EXPECT,
];

pub async fn send(proxy: &Proxy, mut request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let (target, port) = target(request.uri())?;
    let stream = reach(proxy, &target, port).await?;

    rewrite(&mut request, &target, port)?;
    let failed = |error: hyper::Error| Refusal::unreachable(&target, &error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a server's connection ended");
        }
    });
    let answer = timeout(proxy.limits.answer, sender.send_request(request)).await;
    let mut answer = answer.map_err(|_| Refusal::too_slow(&target))?.map_err(failed)?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Refusal::unreachable(&target, "it switches protocols without having been asked"));
    }
    pass_on(answer.headers_mut());
    Ok(answer.map(BodyExt::boxed))
}

/// What the first line names.
fn target(uri: &Uri) -> Result<(Target, u16), Refusal> {
    let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
        return Err(Refusal::bad_request(
            "this is a proxy: set HTTP_PROXY and HTTPS_PROXY to its address, and ask for whole URLs",
        ));
    };
    if *scheme != Scheme::HTTP {
        return Err(Refusal::bad_request(format!("{scheme} goes through a proxy by CONNECT only")));
    }
    let target = Target::parse(&format!("{scheme}://{authority}"))
        .map_err(|bad| Refusal::bad_request(format!("this is no host that can be judged: {bad}")))?;
    // Plain HTTP always has a port.
    let port = target.port.unwrap_or(80);
    Ok((target, port))
}

fn rewrite(request: &mut Request<Incoming>, target: &Target, port: u16) -> Result<(), Refusal> {
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    *request.version_mut() = Version::HTTP_11;
    let host = if port == 80 { target.host.to_string() } else { target.to_string() };
    let host = HeaderValue::from_str(&host).map_err(|error| Refusal::bad_request(error.to_string()))?;
    let headers = request.headers_mut();
    pass_on(headers);
    headers.insert(header::HOST, host);
    Ok(())
}

/// Takes out what is for this hop only, and says who passed it on.
fn pass_on(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // The body's end is no matter of the hop, whoever says so.
        .filter(|name| *name != header::CONTENT_LENGTH)
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    headers.append(header::VIA, HeaderValue::from_static("1.1 coordinator"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_one_hop_stays_there() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, X-Secret"),
            ("connection", "x-other , content-length"),
            ("x-secret", "1"),
            ("x-other", "2"),
            ("proxy-authorization", "Basic eDp5"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("content-length", "3"),
            ("accept", "*/*"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        pass_on(&mut headers);
        let left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left.len(), 3, "{left:?}");
        assert!(["content-length", "accept", "via"].iter().all(|name| headers.contains_key(*name)), "{left:?}");
    }
}
