//! One message to the server, one answer.

use std::fmt;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use outbound::Way;
use serde_json::Value;

use super::{Target, message};

/// Longer than the longest wait for a lock.
const ANSWER_PATIENCE: Duration = Duration::from_secs(330);
/// The largest answer, in bytes.
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;

/// The way to the server.
pub struct Post {
    way: Way,
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Post {
    /// To this server.
    ///
    /// # Errors
    /// A sentence, when the address or the key can be none.
    pub fn new(target: &Target) -> Result<Self, String> {
        let mut headers = vec![
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream")),
        ];
        let key =
            HeaderValue::from_str(&target.key).map_err(|_| "COORDINATION_API_KEY is no key: it is not plain text")?;
        headers.push((HeaderName::from_static("x-api-key"), key));
        if let Some(project) = &target.project {
            let project =
                HeaderValue::from_str(project.as_str()).map_err(|_| "the project's name fits in no header")?;
            headers.push((HeaderName::from_static("x-coordinator-project"), project));
        }
        let uri = address(&target.url)?;
        let way = Way::to(&uri).map_err(|error| format!("TLS cannot be used: {error}"))?;
        Ok(Self { way, uri, headers })
    }

    /// Does anything take connections there? Tells so much sooner than a request that waits for its answer.
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn reach(&self) -> Result<(), Trouble> {
        self.way.reach().await.map_err(|error| self.away(&error))
    }

    /// Sends the message, in this revision unless it says so itself, and returns what the server answered.
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn send(
        &self,
        message: &Value,
        revision: Option<&str>,
        names: &[(&'static str, String)],
    ) -> Result<Value, Trouble> {
        let mut request = Request::post(self.uri.clone());
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        for (name, value) in names {
            request = request.header(*name, value);
        }
        for (name, value) in message::headers(message, revision) {
            request = request.header(name, value);
        }
        let request = request
            .body(Full::from(message.to_string()))
            .map_err(|_| Trouble::own("the message names something that fits in no header".into()))?;
        let exchange = async {
            let (head, body) = self.way.send(request).await.map_err(|e| self.away(&e))?.into_parts();
            let body = Limited::new(body, ANSWER_LIMIT).collect().await.map_err(|e| self.away(&*e))?.to_bytes();
            Ok((head.status, body))
        };
        let (status, body) = tokio::time::timeout(ANSWER_PATIENCE, exchange)
            .await
            .map_err(|late| self.away(&late))
            .and_then(|result| result)?;
        match serde_json::from_slice::<Value>(&body) {
            Ok(answer) if answer["jsonrpc"] == "2.0" => Ok(answer),
            problem => Err(self.rejected(status, &problem.unwrap_or_default())),
        }
    }

    fn away(&self, error: &dyn std::error::Error) -> Trouble {
        let mut why = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            why = error.to_string();
            cause = error.source();
        }
        let message = format!(
            "the coordinator at {} cannot be reached ({why}): start it there with `coordinator serve`, or correct --url",
            self.uri
        );
        Trouble { code: "coordinator_unreachable".into(), message }
    }

    /// The server answered, but not the message.
    fn rejected(&self, status: StatusCode, problem: &Value) -> Trouble {
        if status == StatusCode::UNAUTHORIZED {
            let message = format!(
                "the coordinator at {} does not accept the key in COORDINATION_API_KEY, which is unknown, revoked or \
                 expired: `coordinator keys create` makes one there",
                self.uri
            );
            return Trouble { code: "unauthorized".into(), message };
        }
        match (problem["error"].as_str(), problem["message"].as_str()) {
            (Some(code), Some(message)) => Trouble { code: code.into(), message: message.into() },
            _ => Trouble {
                code: "no_coordinator".into(),
                message: format!("{} answered {status}, as no coordinator does: correct --url", self.uri),
            },
        }
    }
}

fn address(url: &str) -> Result<Uri, String> {
    let bad = || format!("--url is {url:?}: must be an address such as http://coordinator.example:8081");
    let uri: Uri = url.trim_end_matches('/').parse().map_err(|_| bad())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
        return Err(bad());
    }
    if uri.path() != "/" {
        return Ok(uri);
    }
    format!("{}/mcp", url.trim_end_matches('/')).parse().map_err(|_| bad())
}

/// Why there is no answer.
#[derive(Debug)]
pub struct Trouble {
    code: String,
    message: String,
}

impl Trouble {
    /// Something on our own side.
    pub fn own(message: String) -> Self {
        Self { code: "bridge_error".into(), message }
    }

    /// The server refused a message of the bridge's own, in this answer.
    pub fn refused(answer: &Value) -> Self {
        let data = [&answer["error"]["data"], &answer["result"]["structuredContent"]];
        let code = data.iter().find_map(|data| data["error"].as_str()).unwrap_or("refused");
        let message = answer["error"]["message"].as_str().or(data[1]["message"].as_str());
        Self { code: code.into(), message: message.unwrap_or("the coordinator refused it without a word").into() }
    }

    /// A stable code.
    pub fn code(&self) -> &str {
        &self.code
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_path_leads_to_mcp() {
        let shown = |url: &str| address(url).map(|uri| uri.to_string());
        assert_eq!(shown("http://127.0.0.1:8081").unwrap(), "http://127.0.0.1:8081/mcp");
        assert_eq!(shown("https://team.example/").unwrap(), "https://team.example/mcp");
        assert_eq!(shown("https://team.example/agents/mcp").unwrap(), "https://team.example/agents/mcp");
        for bad in ["team.example:8081", "ftp://team.example", "", "http://", "not an address"] {
            assert!(shown(bad).unwrap_err().starts_with(&format!("--url is {bad:?}")), "{bad}");
        }
    }
}
