//! The way through PostgREST: each call is `POST {url}{prefix}/rpc/{function}`, in a transaction of its own.
//!
//! PostgREST verifies the key, takes the role that it names and calls the function in the schema [`SCHEMA`], the only one
//! it needs to expose. What is wrong on that way is mostly somebody's to set right, so each refusal says what to do.

use std::fmt;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::BodyExt;
use outbound::Way;
use serde::Deserialize;
use tokio_postgres::error::SqlState;

use super::connection::{ANSWER_TIMEOUT, told, with_causes};
use super::migrate::State;
use super::{Function, Result, unreadable};
use crate::StoreError;

/// The schema that PostgREST must expose.
const SCHEMA: &str = "coordinator_api";
/// PostgREST's own codes are longer.
const SQLSTATE_LENGTH: usize = 5;
/// What to do about a database that is not up to date.
const MIGRATE: &str = "PostgREST cannot change a schema: run `coordinator migrate --db postgres://...` with the \
                       database's own connection string, or paste what `coordinator migrate --print` prints into an SQL \
                       editor";

/// Where PostgREST is, and the key to it.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgrestAddress {
    /// Scheme, host and port: of the Supabase project, or of a bare PostgREST.
    pub url: String,
    /// What precedes `/rpc`: `/rest/v1` on Supabase, nothing for a bare PostgREST.
    pub prefix: String,
    /// A token for the role `service_role`, or a secret key that Supabase exchanges for one.
    pub key: String,
}

impl fmt::Display for PostgrestAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.url, self.prefix)
    }
}

/// Without the key.
impl fmt::Debug for PostgrestAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgrestAddress").field(&self.to_string()).finish()
    }
}

/// A PostgREST in front of a database that was up to date.
pub struct Postgrest {
    way: Way,
    /// Up to and with the slash before the function's name.
    base: String,
    headers: HeaderMap,
}

/// What an error's body says: PostgREST's own form, and that of the gateways in front of it.
#[derive(Default, Deserialize)]
struct Problem {
    code: Option<String>,
    message: Option<String>,
}

impl Postgrest {
    /// Makes sure that somebody is there who lets us in, and that the database is up to date.
    pub async fn connect(address: &PostgrestAddress) -> Result<Self> {
        let base = format!("{address}/rpc/");
        let is_http = |uri: &Uri| [Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&uri.scheme());
        let Some(server) = base.parse().ok().filter(is_http) else {
            return Err(StoreError::NotReady(format!("{address} is no http:// or https:// address")));
        };
        let way = Way::to(&server).map_err(|error| StoreError::Failed(format!("TLS cannot be used: {error}")))?;
        let postgrest = Self { way, base, headers: headers(&address.key)? };
        let found = postgrest.version().await?;
        if found.is_current()? {
            return Ok(postgrest);
        }
        Err(StoreError::NotReady(format!(
            "its schema (version {}) is not that of this program (version {}). {MIGRATE}",
            found.version,
            State::latest().version
        )))
    }

    /// Where the database stands now.
    pub async fn version(&self) -> Result<State> {
        let answer = self.post("version", "{}".into()).await?;
        serde_json::from_str(&answer).map_err(unreadable)
    }

    /// Calls the function.
    pub async fn call(&self, function: Function, project: Option<&str>, question: &str) -> Result<String> {
        let (name, argument) = match function {
            Function::Apply => ("apply", "p_commands"),
            Function::Read => ("read", "p_query"),
        };
        let project = serde_json::to_string(&project).map_err(unreadable)?;
        self.post(name, format!(r#"{{"p_project":{project},"{argument}":{question}}}"#)).await
    }

    async fn post(&self, function: &str, body: String) -> Result<String> {
        let mut request = Request::new(body.into());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = format!("{}{function}", self.base).parse().map_err(unreadable)?;
        *request.headers_mut() = self.headers.clone();
        let exchange = async {
            let response = self.way.send(request).await.map_err(|e| StoreError::Unreachable(with_causes(&e)))?;
            let status = response.status();
            let body = response.into_body().collect().await.map_err(|e| StoreError::Unreachable(with_causes(&e)))?;
            Ok((status, body.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(ANSWER_TIMEOUT, exchange)
            .await
            .map_err(|_| StoreError::Unreachable("PostgREST does not answer".into()))??;
        let body = String::from_utf8_lossy(&body).into_owned();
        if status.is_success() { Ok(body) } else { Err(self.refusal(status, &body)) }
    }

    /// What an answer that is none says of the database, or of the way to it.
    fn refusal(&self, status: StatusCode, body: &str) -> StoreError {
        let problem: Problem = serde_json::from_str(body).unwrap_or_default();
        let code = problem.code.unwrap_or_default();
        let said = match problem.message {
            Some(message) if code.is_empty() => format!("{message} (HTTP {})", status.as_u16()),
            Some(message) => format!("{message} ({code})"),
            None => format!("HTTP {status}"),
        };
        let address = self.base.trim_end_matches("/rpc/");
        let not_ready = |todo: String| StoreError::NotReady(format!("{said}. {todo}"));
        match (status.as_u16(), code.as_str()) {
            (_, "PGRST106") => not_ready(format!(
                "PostgREST does not expose the schema {SCHEMA}: add it to the exposed schemas (on Supabase in the \
                 project's settings, Data API; for a bare PostgREST in db-schemas)"
            )),
            (_, "PGRST202") => not_ready(format!("The database has no such function yet. {MIGRATE}")),
            (401 | 403, _) => not_ready(
                "The key is refused: SUPABASE_SERVICE_KEY must be the project's secret key, or a token for service_role"
                    .into(),
            ),
            (301 | 302 | 303 | 307 | 308 | 404, _) => not_ready(format!(
                "There is no PostgREST at {address}: correct SUPABASE_URL, or SUPABASE_REST_PREFIX (/rest/v1 on \
                 Supabase, empty for a bare PostgREST)"
            )),
            (_, code) if code.len() == SQLSTATE_LENGTH => told(&SqlState::from_code(code), said),
            (429 | 500.., _) => StoreError::Unreachable(said),
            _ => StoreError::Failed(said),
        }
    }
}

/// Those of every request.
///
/// Supabase wants the key under a name of its own. A bare PostgREST wants a token as such; a key that is none would be
/// refused there, and by Supabase too.
fn headers(key: &str) -> Result<HeaderMap> {
    let secret = |text: &str| {
        let mut value = HeaderValue::from_str(text)
            .map_err(|_| StoreError::NotReady("SUPABASE_SERVICE_KEY cannot be a key: it has blanks in it".into()))?;
        value.set_sensitive(true);
        Ok::<_, StoreError>(value)
    };
    let json = HeaderValue::from_static("application/json");
    let mut headers = HeaderMap::new();
    headers.insert("apikey", secret(key)?);
    if key.split('.').count() == 3 {
        headers.insert(AUTHORIZATION, secret(&format!("Bearer {key}"))?);
    }
    headers.insert("content-profile", HeaderValue::from_static(SCHEMA));
    headers.insert(CONTENT_TYPE, json.clone());
    headers.insert(ACCEPT, json);
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgrest(key: &str) -> Postgrest {
        let base = "https://project.example/rest/v1/rpc/".to_owned();
        let way = Way::to(&base.parse().unwrap()).unwrap();
        Postgrest { way, base, headers: headers(key).unwrap() }
    }

    #[tokio::test]
    async fn each_refusal_says_what_to_do() {
        let postgrest = postgrest("k");
        for (status, body, expected) in [
            (401, r#"{"code":"PGRST301","details":null,"hint":null,"message":"JWT expired"}"#, "SUPABASE_SERVICE_KEY"),
            (401, r#"{"message":"Invalid API key"}"#, "Invalid API key (HTTP 401). The key is refused"),
            (403, r#"{"code":"42501","message":"permission denied for schema coordinator"}"#, "The key is refused"),
            (404, r#"{"code":"PGRST202","message":"Could not find the function"}"#, "coordinator migrate"),
            (404, "<html>not here</html>", "SUPABASE_REST_PREFIX"),
            (301, "", "There is no PostgREST at https://project.example/rest/v1: "),
            (406, r#"{"code":"PGRST106","message":"Invalid schema"}"#, "exposed schemas"),
        ] {
            let refusal = postgrest.refusal(StatusCode::from_u16(status).unwrap(), body);
            assert!(matches!(refusal, StoreError::NotReady(_)), "{refusal:?}");
            assert!(refusal.to_string().contains(expected), "{refusal}");
        }
    }

    #[tokio::test]
    async fn what_passes_is_told_from_what_does_not() {
        let postgrest = postgrest("k");
        for (status, body) in [
            (503, r#"{"code":"PGRST002","message":"Could not query the database for the schema cache"}"#),
            (504, r#"{"code":"PGRST003","message":"Timed out acquiring connection from connection pool."}"#),
            (500, r#"{"code":"57014","message":"canceling statement due to statement timeout"}"#),
            (500, r#"{"code":"40P01","message":"deadlock detected"}"#),
            (405, r#"{"code":"25006","message":"cannot execute INSERT in a read-only transaction"}"#),
            (429, r#"{"message":"API rate limit exceeded"}"#),
            (502, "bad gateway"),
            (521, "web server is down"),
        ] {
            let refusal = postgrest.refusal(StatusCode::from_u16(status).unwrap(), body);
            assert!(matches!(refusal, StoreError::Unreachable(_)), "{status} {body}: {refusal:?}");
        }
        for (status, body) in [
            (400, r#"{"code":"22P02","message":"invalid input syntax for type uuid"}"#),
            (400, r#"{"code":"PGRST102","message":"Empty or invalid json"}"#),
            (413, "too large"),
        ] {
            let refusal = postgrest.refusal(StatusCode::from_u16(status).unwrap(), body);
            assert!(matches!(refusal, StoreError::Failed(_)), "{status} {body}: {refusal:?}");
        }
    }

    #[tokio::test]
    async fn a_key_that_is_no_token_is_not_sent_as_one() {
        let sent = |key: &str| postgrest(key).headers.get(AUTHORIZATION).map(|v| v.to_str().unwrap().to_owned());
        assert_eq!(sent("sb_secret_abc"), None);
        assert_eq!(sent("a.b.c").as_deref(), Some("Bearer a.b.c"));
        assert!(headers("two\nlines").is_err());
        let address = PostgrestAddress { url: "http://h".into(), prefix: String::new(), key: "very-secret".into() };
        assert!(!format!("{address:?} {address}").contains("very-secret"));
    }
}
