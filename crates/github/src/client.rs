//! One request to GitHub after another, within its limits.
//!
//! What it refuses for now is asked again when it says so, or, where that is longer than the caller wants to wait, becomes
//! [`Error::RateLimited`] with the time. What does not get through is tried again after a pause, if repeating it does no
//! harm. A list is followed from page to page, on the same server only.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, LINK, USER_AGENT,
};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use jiff::{SignedDuration, Timestamp};
use outbound::{Way, is_here};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::{RepositoryName, Secret, limits};

/// Where GitHub's own API is.
pub const API_URL: &str = "https://api.github.com";
/// The version of the API that we speak.
const API_VERSION: &str = "2022-11-28";
/// How long one answer may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);
/// The largest answer, in bytes.
const ANSWER_LIMIT: usize = 32 * 1024 * 1024;
/// The most pages of a list that are followed: a list without end is none.
const PAGES_LIMIT: usize = 1_000;

/// Which repository, where, and what opens it.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The API's address: [`API_URL`], or that of an own GitHub.
    pub api_url: String,
    /// The repository.
    pub repository: RepositoryName,
    /// The token.
    pub token: Secret,
}

/// How much it takes until we give up.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How often what did not get through is tried again.
    pub retries: u32,
    /// The pause before the first time; it doubles.
    pub first_pause: Duration,
    /// How long to wait where GitHub asks us to.
    pub longest_wait: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { retries: 4, first_pause: Duration::from_secs(1), longest_wait: Duration::from_secs(60) }
    }
}

/// What names the state of a list, to ask whether it has changed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ETag(pub String);

/// The answer to a question that was asked before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since<T> {
    /// As it was.
    Unchanged,
    /// It has changed, or was not asked before.
    Changed {
        /// What it is now.
        value: T,
        /// To ask with next time, where GitHub gave one that stands for all of it.
        etag: Option<ETag>,
    },
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one is.
    pub next: Option<NextPage>,
    /// When it was read, by GitHub's clock.
    pub read_at: Timestamp,
}

/// Where a list goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextPage(String);

/// What is asked.
pub(crate) struct Question<'a> {
    pub what: &'static str,
    pub method: Method,
    /// Behind the API's address, beginning with a slash; or a whole address of the same server.
    pub path: String,
    pub body: Option<&'a Value>,
    pub etag: Option<&'a ETag>,
}

impl Question<'_> {
    pub fn get(what: &'static str, path: String) -> Self {
        Self { what, method: Method::GET, path, body: None, etag: None }
    }

    /// May it be asked twice?
    fn is_repeatable(&self) -> bool {
        self.method != Method::POST
    }
}

pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// A client of one repository.
pub struct Client {
    way: Way,
    base: String,
    repository: RepositoryName,
    headers: HeaderMap,
    patience: Patience,
}

impl Client {
    /// Of this repository. Nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Setup`] when the address or the token can be none.
    pub fn new(connection: &Connection, patience: Patience) -> Result<Self> {
        let base = connection.api_url.trim_end_matches('/').to_owned();
        let uri: Uri = base.parse().map_err(|_| Error::Setup(format!("GITHUB_API_URL is {base}: it is no address")))?;
        let mut token = HeaderValue::from_str(&format!("Bearer {}", connection.token.reveal()))
            .map_err(|_| Error::Setup("GITHUB_TOKEN is no token: it is not plain text".into()))?;
        token.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, token);
        headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("agent-coordinator/", env!("CARGO_PKG_VERSION"))));
        headers.insert("x-github-api-version", HeaderValue::from_static(API_VERSION));
        let repository = connection.repository.clone();
        // There is a token to be kept.
        if uri.scheme_str() != Some("https") && !(uri.scheme_str() == Some("http") && is_here(&uri)) {
            return Err(Error::Setup(format!("GITHUB_API_URL is {uri}: it must be an https:// address")));
        }
        let way = Way::to(&uri).map_err(|error| Error::Setup(format!("TLS cannot be used: {error}")))?;
        Ok(Self { way, base, repository, headers, patience })
    }

    /// Of which repository.
    pub fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    /// A path within the repository.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/repos/{}{rest}", self.repository)
    }

    /// Asks for one thing.
    pub(crate) async fn one<T: DeserializeOwned>(&self, question: Question<'_>) -> Result<T> {
        let what = question.what;
        let answer = self.ask(&question).await?;
        read(what, &answer.body)
    }

    /// Asks for something of which only matters that it is done.
    pub(crate) async fn done(&self, question: Question<'_>) -> Result<()> {
        self.ask(&question).await.map(drop)
    }

    /// Asks for the page of a list, if it has changed.
    pub(crate) async fn page<T: DeserializeOwned>(&self, question: Question<'_>) -> Result<Since<Page<T>>> {
        let answer = self.ask(&question).await?;
        if answer.status == StatusCode::NOT_MODIFIED {
            return Ok(Since::Unchanged);
        }
        let next = next_page(&answer.headers);
        // What one page has does not tell whether another has changed.
        let etag = answer.headers.get(ETAG).and_then(|etag| etag.to_str().ok()).filter(|_| next.is_none());
        let etag = etag.map(|etag| ETag(etag.to_owned()));
        let page = Page {
            items: read(question.what, &answer.body)?,
            next,
            read_at: limits::given_at(&answer.headers).unwrap_or_else(Timestamp::now),
        };
        Ok(Since::Changed { value: page, etag })
    }

    /// The page behind another.
    pub(crate) async fn next<T: DeserializeOwned>(&self, what: &'static str, next: NextPage) -> Result<Page<T>> {
        match self.page(Question::get(what, next.0)).await? {
            Since::Changed { value, .. } => Ok(value),
            Since::Unchanged => Err(Error::Unreadable { what, why: "not modified, which nobody asked".into() }),
        }
    }

    /// Asks for a whole list, if it has changed.
    pub(crate) async fn list<T: DeserializeOwned>(&self, question: Question<'_>) -> Result<Since<Page<T>>> {
        let what = question.what;
        let (mut whole, etag) = match self.page::<T>(question).await? {
            Since::Unchanged => return Ok(Since::Unchanged),
            Since::Changed { value, etag } => (value, etag),
        };
        let mut pages = 1;
        while let Some(next) = whole.next.take().filter(|_| pages < PAGES_LIMIT) {
            let page = self.next(what, next).await?;
            whole.items.extend(page.items);
            whole.next = page.next;
            pages += 1;
        }
        Ok(Since::Changed { value: whole, etag })
    }

    /// Asks for a whole list.
    pub(crate) async fn all<T: DeserializeOwned>(&self, what: &'static str, path: String) -> Result<Vec<T>> {
        match self.list(Question::get(what, path)).await? {
            Since::Changed { value, .. } => Ok(value.items),
            Since::Unchanged => Err(Error::Unreadable { what, why: "not modified, which nobody asked".into() }),
        }
    }

    /// Asks until there is an answer, or it takes longer than we have patience for.
    async fn ask(&self, question: &Question<'_>) -> Result<Answer> {
        let mut attempt = 0;
        let mut waited = Duration::ZERO;
        loop {
            let trouble = match self.send(question).await {
                Ok(answer) if answer.status.is_success() || answer.status == StatusCode::NOT_MODIFIED => {
                    return Ok(answer);
                }
                Ok(answer) => self.trouble(question.what, &answer),
                Err(error) => error,
            };
            let pause = match &trouble {
                Error::RateLimited { until } => {
                    // A refusal for now has done nothing: anything may be asked again.
                    let wait = Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default();
                    if waited + wait > self.patience.longest_wait {
                        return Err(trouble);
                    }
                    waited += wait;
                    wait.max(self.patience.first_pause)
                }
                Error::Unreachable(_) if question.is_repeatable() && attempt < self.patience.retries => {
                    limits::pause_before(attempt, self.patience.first_pause)
                }
                _ => return Err(trouble),
            };
            attempt += 1;
            tokio::time::sleep(pause).await;
        }
    }

    async fn send(&self, question: &Question<'_>) -> Result<Answer> {
        let what = question.what;
        let unreadable = |why: String| Error::Unreadable { what, why };
        let uri = match question.path.strip_prefix('/') {
            Some(path) => format!("{}/{path}", self.base),
            // The token goes to nobody else, whatever a page says.
            None if question.path.starts_with(&format!("{}/", self.base)) => question.path.clone(),
            None => return Err(unreadable("the list goes on at another server".into())),
        };
        let body = question.body.map(Value::to_string).unwrap_or_default();
        let mut request = Request::builder()
            .method(question.method.clone())
            .uri(uri)
            .body(Full::from(body))
            .map_err(|error| unreadable(error.to_string()))?;
        *request.headers_mut() = self.headers.clone();
        if question.body.is_some() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(etag) = question.etag.and_then(|etag| HeaderValue::from_str(&etag.0).ok()) {
            request.headers_mut().insert(IF_NONE_MATCH, etag);
        }
        let exchange = async {
            let response = self.way.send(request).await.map_err(|error| Error::Unreachable(with_causes(&error)))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_LIMIT)
                .collect()
                .await
                .map_err(|error| Error::Unreachable(with_causes(&*error)))?;
            Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        tokio::time::timeout(ANSWER_PATIENCE, exchange)
            .await
            .map_err(|_| Error::Unreachable(format!("no answer within {} s", ANSWER_PATIENCE.as_secs())))?
    }

    fn trouble(&self, what: &'static str, answer: &Answer) -> Error {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let message = body["message"].as_str().unwrap_or_default();
        let now = limits::given_at(&answer.headers).unwrap_or_else(Timestamp::now);
        if let Some(until) = limits::closed_until(answer.status, &answer.headers, message, now) {
            // As long from now as it is by GitHub's clock.
            let wait = until.duration_since(now).max(SignedDuration::ZERO);
            return Error::RateLimited { until: Timestamp::now().checked_add(wait).unwrap_or(until) };
        }
        let status = answer.status.as_u16();
        if answer.status.is_server_error() {
            return Error::Unreachable(format!("HTTP {}", answer.status));
        }
        let message = match message {
            "" => answer.status.canonical_reason().unwrap_or("no reason given"),
            message => message,
        };
        Error::Refused { what, status, message: message.to_owned(), advice: Error::advice(status) }
    }
}

fn read<T: DeserializeOwned>(what: &'static str, body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| Error::Unreadable { what, why: error.to_string() })
}

/// The address in a `Link` header under `rel="next"`.
fn next_page(headers: &HeaderMap) -> Option<NextPage> {
    let links = headers.get(LINK)?.to_str().ok()?;
    let next = links.split(',').find_map(|link| {
        let (address, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        parameters.split(';').any(|parameter| parameter.trim() == r#"rel="next""#).then_some(address)
    })?;
    Some(NextPage(next.to_owned()))
}

/// One component of a path, so that nothing in it means anything else.
pub(crate) fn encoded(component: &str) -> String {
    let mut encoded = String::with_capacity(component.len());
    for byte in component.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(byte.into()),
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

/// A branch's name as a path, whose slashes stay.
pub(crate) fn encoded_ref(name: &str) -> String {
    name.split('/').map(encoded).collect::<Vec<_>>().join("/")
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_the_links() {
        let next = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, text.parse().unwrap());
            next_page(&headers).map(|next| next.0)
        };
        let links =
            r#"<https://h/x?page=1>; rel="prev", <https://h/x?page=3>; rel="next", <https://h/x?page=9>; rel="last""#;
        assert_eq!(next(links).as_deref(), Some("https://h/x?page=3"));
        assert_eq!(next(r#"<https://h/x?page=1>; rel="first""#), None);
        assert_eq!(next("nonsense, <unclosed"), None);
    }

    #[test]
    fn nothing_in_a_name_means_anything_in_a_path() {
        assert_eq!(encoded("a/b?c#d%e ü"), "a%2Fb%3Fc%23d%25e%20%C3%BC");
        assert_eq!(encoded_ref("agent/ann/#1"), "agent/ann/%231");
    }

    #[test]
    fn a_token_goes_out_encrypted_or_not_at_all() {
        let client = |api_url: &str| {
            let repository = RepositoryName::parse("o/n").unwrap();
            let connection = Connection { api_url: api_url.into(), repository, token: Secret::new("ghp_secret") };
            Client::new(&connection, Patience::default()).map(drop)
        };
        for good in [API_URL, "https://github.example/api/v3/", "http://127.0.0.1:1", "http://localhost:1"] {
            assert_eq!(client(good), Ok(()), "{good}");
        }
        for bad in ["http://github.example", "github.example", "", "ftp://127.0.0.1"] {
            let error = client(bad).unwrap_err().to_string();
            assert!(error.contains("GITHUB_API_URL") && !error.contains("ghp_"), "{bad}: {error}");
        }
    }
}
