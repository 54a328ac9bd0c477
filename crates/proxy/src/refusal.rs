//! What a client is told instead of an answer: a stable code, and a sentence.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use network::{Target, Verdict};
use serde_json::{Value, json};

use crate::{Body, GateClosed};

/// Why a request goes nowhere.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    body: Value,
}

impl Refusal {
    fn new(status: StatusCode, code: &str, target: Option<&Target>, message: String) -> Self {
        let mut body = json!({"success": false, "error": code, "message": message});
        if let Some(target) = target {
            body["domain"] = target.host.to_string().into();
        }
        Self { status, body }
    }

    /// The rules say no.
    pub fn blocked(target: &Target, verdict: &Verdict) -> Self {
        let message = format!(
            "{}; `coordinator network list` shows the rules, and who may change them can allow it with `coordinator \
             network allow {target}`",
            verdict.reason
        );
        Self::new(StatusCode::FORBIDDEN, "domain_blocked", Some(target), message)
    }

    /// The request is none for a proxy, or is not the same to everybody.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", None, message.into())
    }

    /// The name leads nowhere.
    pub fn not_found(target: &Target, why: &str) -> Self {
        let message = format!("{} could not be resolved: {why}", target.host);
        Self::new(StatusCode::BAD_GATEWAY, "host_not_found", Some(target), message)
    }

    /// Nobody answers there.
    pub fn unreachable(target: &Target, why: &str) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "connect_failed", Some(target), format!("{target} is allowed, but {why}"))
    }

    /// The answer does not come.
    pub fn too_slow(target: &Target) -> Self {
        let message = format!("{target} did not begin its answer in time");
        Self::new(StatusCode::GATEWAY_TIMEOUT, "answer_timeout", Some(target), message)
    }

    /// As a response.
    pub fn response(self) -> Response<Body> {
        let body = Full::new(Bytes::from(self.body.to_string())).map_err(|never| match never {}).boxed();
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl From<GateClosed> for Refusal {
    fn from(closed: GateClosed) -> Self {
        let message = format!("nothing gets through while it cannot be decided and recorded: {closed}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "database_unavailable", None, message)
    }
}
