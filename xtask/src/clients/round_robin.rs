//! What a careless load balancer does: each request goes to the next server, whoever sent it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

/// The largest body that is passed on.
const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// A running round-robin.
pub struct RoundRobin {
    /// Its address.
    pub url: String,
    turns: Arc<Turns>,
}

struct Turns {
    servers: Vec<String>,
    /// How many requests each of them had.
    counts: Vec<AtomicUsize>,
    next: AtomicUsize,
    key: HeaderValue,
    client: reqwest::Client,
}

impl RoundRobin {
    /// In front of these servers. It shows them the key.
    pub async fn start(servers: Vec<String>, key: &'static str) -> anyhow::Result<Self> {
        let turns = Arc::new(Turns {
            counts: servers.iter().map(|_| AtomicUsize::new(0)).collect(),
            servers,
            next: AtomicUsize::new(0),
            key: HeaderValue::from_static(key),
            client: reqwest::Client::builder().no_proxy().build()?,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = axum::Router::new().fallback(pass_on).with_state(turns.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, turns })
    }

    /// How many requests each server has had.
    pub fn counts(&self) -> Vec<usize> {
        self.turns.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

async fn pass_on(State(turns): State<Arc<Turns>>, request: Request) -> Response {
    match turns.pass_on(request).await {
        Ok(response) => response,
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response(),
    }
}

impl Turns {
    async fn pass_on(&self, request: Request) -> anyhow::Result<Response> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.servers.len();
        self.counts[turn].fetch_add(1, Ordering::Relaxed);
        let (head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut headers = head.headers;
        for of_connection in [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
            headers.remove(of_connection);
        }
        headers.insert("x-api-key", self.key.clone());
        let sent = self.client.request(head.method, format!("{}{path}", self.servers[turn])).headers(headers);
        let answer = sent.body(to_bytes(body, BODY_LIMIT).await?).send().await?;
        let (status, mut headers) = (answer.status(), answer.headers().clone());
        headers.remove(header::TRANSFER_ENCODING);
        let mut response = Response::new(Body::from(answer.bytes().await?));
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        Ok(response)
    }
}
