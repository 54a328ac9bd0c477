//! One coordinator over HTTP: it must show what it is before it is shown the key.

use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use outbound::Way;
use serde_json::Value;

use super::{Env, Skip, address};

/// How long a coordinator may take to show that it is there.
const PATIENCE: Duration = Duration::from_millis(1200);
/// How long one that is there may take to answer: it may have to wait for its database.
pub const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer, in bytes.
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;

/// Which server, what opens it, and what the environment says where nothing else does.
pub struct Target<'a> {
    /// Its address.
    pub http_url: Option<String>,
    /// The key.
    pub api_key: Option<String>,
    /// The project.
    pub project: Option<String>,
    /// The environment.
    pub env: Env<'a>,
}

/// A server that has shown itself to be a coordinator.
pub struct Server {
    /// Its address.
    pub url: String,
    /// Its version.
    pub version: String,
    way: Way,
    headers: HeaderMap,
    key: Option<HeaderValue>,
}

/// An answer: its status, and its JSON if it has any.
type Answer = (u16, Option<Value>);

impl Server {
    /// Finds it, and asks what it is.
    pub async fn meet(target: &Target<'_>) -> Result<Self, Skip> {
        let named = |given: &Option<String>, variable: &str| {
            let given = given.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
            given.or_else(|| (target.env)(variable))
        };
        let url = address::find(target.http_url.as_deref(), target.env)?;
        let key = match named(&target.api_key, "COORDINATION_API_KEY") {
            Some(key) if !key.bytes().all(|b| b.is_ascii_graphic()) => {
                return Err(Skip::new("bad_key", "COORDINATION_API_KEY is no key: it is not plain text"));
            }
            key => key.and_then(|key| HeaderValue::from_str(&key).ok()),
        };
        let project = match named(&target.project, "COORDINATOR_PROJECT") {
            Some(project) if !project.bytes().all(|b| b.is_ascii_graphic() || b == b' ') => {
                let message = "COORDINATOR_PROJECT fits in no header: it is not plain text";
                return Err(Skip::new("bad_project", message));
            }
            project => project.and_then(|project| HeaderValue::from_str(&project).ok()),
        };
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(project.map(|project| (HeaderName::from_static("x-coordinator-project"), project)));
        let defect = |error: &dyn std::error::Error| {
            Skip::new("bridge_error", format!("this is a defect of the bridge: {error}"))
        };
        let server = url.parse().map_err(|error: http::uri::InvalidUri| defect(&error))?;
        let way = Way::to(&server).map_err(|error| defect(&error))?;
        let mut server = Self { url, version: String::new(), way, headers, key: None };
        server.version = server.introduce().await?;
        server.key = key;
        Ok(server)
    }

    async fn introduce(&self) -> Result<String, Skip> {
        let (status, body) = self.ask(Method::GET, "/health", None, PATIENCE).await.map_err(|error| {
            let message = format!(
                "no coordinator answers at {}: start one with `coordinator serve`, or name it in COORDINATION_API_URL",
                self.url
            );
            Skip::new("coordinator_unreachable", message).because(&*error)
        })?;
        let body = body.unwrap_or_default();
        match body["status"].as_str().filter(|_| body.get("db").is_some()) {
            Some("ok") => Ok(body["version"].as_str().unwrap_or("of an unknown version").to_owned()),
            Some("degraded") => {
                let message = format!("the coordinator at {} cannot reach its database", self.url);
                Err(Skip::new("database_unreachable", message))
            }
            _ => {
                let message = format!("what answers at {} is no coordinator (status {status})", self.url);
                Err(Skip::new("not_a_coordinator", message))
            }
        }
    }

    /// Asks, and waits so long for all of the answer.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        patience: Duration,
    ) -> Result<Answer, Box<dyn std::error::Error>> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut request =
            Request::builder().method(method).uri(format!("{}{path}", self.url)).body(Full::from(body))?;
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().extend(self.key.clone().map(|key| (HeaderName::from_static("x-api-key"), key)));
        let exchange = async {
            let (head, body) = self.way.send(request).await?.into_parts();
            let text = match Limited::new(body, ANSWER_LIMIT).collect().await {
                Ok(text) => text.to_bytes(),
                // No coordinator says so much.
                Err(error) if error.is::<LengthLimitError>() => Default::default(),
                Err(error) => return Err(error as Box<dyn std::error::Error>),
            };
            let json: Option<Value> = serde_json::from_slice(&text).ok();
            Ok((head.status.as_u16(), json.filter(|json| !json.is_null())))
        };
        tokio::time::timeout(patience, exchange).await?
    }

    /// Why a request came back with 401.
    pub fn wants_key(&self) -> Skip {
        let message = match self.key {
            Some(_) => format!(
                "the coordinator at {} does not accept the key in COORDINATION_API_KEY: it is unknown, revoked or expired",
                self.url
            ),
            None => format!(
                "the coordinator at {} wants a key: set COORDINATION_API_KEY (`coordinator keys create` makes one there)",
                self.url
            ),
        };
        Skip::new("unauthorized", message)
    }
}
