//! Against browsers that a foreign page sends to us: a server on loopback has no other protection from them.
//!
//! A page from elsewhere carries its `Origin`; a page that pointed its own name at 127.0.0.1 (DNS rebinding) carries
//! that name as `Host`.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::github;
use crate::reply::problem;

/// Who can reach the server.
#[derive(Debug, Clone, Copy)]
pub struct Reach {
    /// Only this machine.
    pub local: bool,
}

pub async fn refuse_foreign_browsers(State(reach): State<Reach>, request: Request, next: Next) -> Response {
    // GitHub reaches a server through whatever stands before it, under any name. What it sends is signed, which no page can do.
    if request.uri().path() != github::PATH && is_foreign(reach, request.headers()) {
        let message = "this Host or Origin is not this server's: requests from foreign web pages are refused";
        return problem(StatusCode::FORBIDDEN, "foreign_origin", message);
    }
    next.run(request).await
}

fn is_foreign(reach: Reach, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(header::HOST).map(host_name);
    let origin = text(header::ORIGIN).map(origin_host);
    let foreign_host = reach.local && host.as_deref().is_some_and(|host| !is_loopback(host));
    let foreign_origin = origin.is_some_and(|origin| !is_loopback(&origin) && (reach.local || Some(origin) != host));
    foreign_host || foreign_origin
}

fn host_name(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    name.trim_matches(['[', ']']).to_ascii_lowercase()
}

/// An origin that cannot be read (`null`, for one) is nobody's.
fn origin_host(origin: &str) -> String {
    origin.parse::<Uri>().ok().and_then(|uri| uri.host().map(host_name)).unwrap_or_else(|| "?".into())
}

fn is_loopback(name: &str) -> bool {
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_may_call() {
        for (local, host, origin, foreign) in [
            (true, "localhost:8081", None, false),
            (true, "127.0.0.1:8081", Some("http://localhost:3000"), false),
            (true, "[::1]:8081", None, false),
            (true, "evil.example:8081", None, true),
            (true, "localhost:8081", Some("http://evil.example"), true),
            (true, "localhost:8081", Some("null"), true),
            (false, "coordinator.example", None, false),
            (false, "coordinator.example", Some("https://coordinator.example"), false),
            (false, "coordinator.example", Some("https://evil.example"), true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(is_foreign(Reach { local }, &headers), foreign, "{local} {host} {origin:?}");
        }
    }
}
