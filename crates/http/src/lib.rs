//! The HTTP door: the registry's operations as routes, their OpenAPI document, health, and a place for the MCP door.
//!
//! It translates and decides nothing: who calls and what may be done is settled in the coordinator.

mod arguments;
mod events;
mod github;
mod guard;
mod mcp;
mod openapi;
mod reply;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, RawPathParams, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{MethodRouter, get, on, post};
use axum::serve::ListenerExt;
use axum::{Extension, Router};
use coordinator::failure::Failure;
use coordinator::identity::Principal;
use coordinator::operation::{Access, Entry, Method, Route};
use coordinator::{Coordinator, VERSION, registry};
use model::id::Project;
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub use openapi::document as openapi;
use reply::{Problem, problem};

/// The largest body, in bytes.
pub const BODY_LIMIT: usize = 2 * 1024 * 1024;

/// How long requests under way may take to end when the server stops.
const GRACE: Duration = Duration::from_secs(10);

/// Serves until `stop` resolves, then ends the requests under way.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    coordinator: Arc<Coordinator>,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = router(coordinator, listener.local_addr()?.ip().is_loopback());
    // Without it each answer on a kept-alive connection waits for the client's delayed acknowledgement: 40 ms.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
    });
    let (stopping, mut stopped) = tokio::sync::watch::channel(false);
    let graceful = async move {
        stop.await;
        let _ = stopping.send(true);
    };
    let router = router.layer(Extension::<events::Stopping>(stopped.clone()));
    let serving = axum::serve(listener, router).with_graceful_shutdown(graceful);
    let patience = async move {
        if stopped.wait_for(|stopped| *stopped).await.is_ok() {
            tokio::time::sleep(GRACE).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        result = serving => result,
        () = patience => Ok(()),
    }
}

/// All routes. `local` tells that only this machine can reach them, so that a foreign `Host` betrays a browser that was
/// tricked.
pub fn router(coordinator: Arc<Coordinator>, local: bool) -> Router {
    let mut router =
        Router::new().route("/health", get(health)).route("/openapi.json", get(async || Json(openapi::document())));
    for entry in registry::operations() {
        for route in entry.routes {
            router = router.route(route.path, method_router(entry, *route));
        }
    }
    router
        .route(events::PATH, get(events::stream_events))
        .route(github::PATH, post(github::receive))
        .route(mcp::PATH, mcp::route(coordinator.clone()))
        .fallback(async || problem(StatusCode::NOT_FOUND, "not_found", "there is nothing here: see /openapi.json"))
        .method_not_allowed_fallback(async || {
            problem(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this path has another method: see /openapi.json",
            )
        })
        .layer(axum::middleware::from_fn_with_state(guard::Reach { local }, guard::refuse_foreign_browsers))
        .with_state(coordinator)
}

fn method_router(entry: &'static Entry, route: Route) -> MethodRouter<Arc<Coordinator>> {
    let filter = match route.method {
        Method::Get => axum::routing::MethodFilter::GET,
        Method::Post => axum::routing::MethodFilter::POST,
        Method::Delete => axum::routing::MethodFilter::DELETE,
    };
    on(filter, async move |State(coordinator), path, request| {
        match operate(coordinator, entry, route, path, request).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        }
    })
}

async fn operate(
    coordinator: Arc<Coordinator>,
    entry: &Entry,
    route: Route,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let is_public = entry.access == Access::PublicRead && !coordinator.settings().key_for_reads;
    let principal = principal(&coordinator, is_public, &head.headers).await?;
    let project = project(&coordinator, &principal, &head.headers)?;
    let path = path.map_err(|e| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", &e.body_text()))?;
    let arguments = match route.method {
        Method::Get | Method::Delete => arguments::of_url(entry, &path, head.uri.query().unwrap_or_default()),
        Method::Post if !route.path.contains('{') => body_json(&head.headers, body).await?,
        Method::Post => arguments::with_path(&path, optional_json(&head.headers, body).await?),
    };
    let answer = coordinator.call_as(entry, &project, &principal, arguments).await?;
    let is_missing = route.method == Method::Get
        && ["task_not_found", "feature_not_found"].iter().any(|reason| answer["reason"] == *reason);
    let status = if is_missing { StatusCode::NOT_FOUND } else { StatusCode::OK };
    Ok((status, Json(answer)).into_response())
}

/// Whoever holds the key that the request shows; nobody in particular, where none is needed.
async fn principal(coordinator: &Coordinator, is_public: bool, headers: &HeaderMap) -> Result<Principal, Problem> {
    let unauthorized = |message: &str| Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", message);
    let Some(key) = presented_key(headers) else {
        if is_public {
            return Ok(Principal::default());
        }
        return Err(unauthorized(
            "show a key as X-API-Key: KEY or Authorization: Bearer KEY (coordinator keys create)",
        ));
    };
    match coordinator.authenticate(key).await {
        Ok(Some(principal)) => {
            coordinator.count_request(key, &principal)?;
            Ok(principal)
        }
        Ok(None) => Err(unauthorized("this key is unknown, revoked or expired")),
        Err(error) => Err(Failure::from(error).into()),
    }
}

fn presented_key(headers: &HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    text("x-api-key").or_else(|| {
        let (scheme, key) = text("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    })
}

/// The project that the key opens or the request names, else the server's own.
fn project(coordinator: &Coordinator, principal: &Principal, headers: &HeaderMap) -> Result<Project, Problem> {
    let named = match headers.get("x-coordinator-project") {
        None => None,
        Some(value) => {
            let name = value.to_str().ok().and_then(|name| Project::new(name).ok());
            Some(name.ok_or_else(|| Failure::field("X-Coordinator-Project", "must be 1 to 256 bytes of text"))?)
        }
    };
    match (&principal.project, named) {
        (Some(bound), Some(named)) if *bound != named => {
            let message = format!("this key opens project {bound}, not {named}");
            Err(Problem::new(StatusCode::FORBIDDEN, "identity_mismatch", &message))
        }
        (Some(bound), _) => Ok(bound.clone()),
        (None, Some(named)) => Ok(named),
        (None, None) => Ok(coordinator.default_project().clone()),
    }
}

/// As [`body_json`], where the path says enough for there to be no body.
async fn optional_json(headers: &HeaderMap, body: Body) -> Result<Value, Problem> {
    let bytes = body_bytes(headers, body).await?;
    if bytes.is_empty() { Ok(json!({})) } else { parsed(&bytes) }
}

async fn body_json(headers: &HeaderMap, body: Body) -> Result<Value, Problem> {
    let bytes = body_bytes(headers, body).await?;
    parsed(&bytes)
}

fn parsed(bytes: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, "invalid_json", &format!("the body is not JSON: {error}"))
    })
}

async fn body_bytes(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let too_large = || {
        let message = format!("a body may have at most {BODY_LIMIT} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", &message)
    };
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > BODY_LIMIT) {
        return Err(too_large());
    }
    let mut request = Request::new(body);
    DefaultBodyLimit::max(BODY_LIMIT).apply(&mut request);
    Bytes::from_request(request, &()).await.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => Problem::new(StatusCode::BAD_REQUEST, "invalid_body", "the body did not arrive whole"),
    })
}

async fn health(State(coordinator): State<Arc<Coordinator>>) -> Response {
    if coordinator.is_healthy().await {
        let mut body = json!({"status": "ok", "db": "connected", "version": VERSION});
        if coordinator.has_broken_rules() {
            body["rules"] = "broken: see coordinator doctor".into();
        }
        Json(body).into_response()
    } else {
        let body = json!({"status": "degraded", "db": "unreachable", "version": VERSION});
        (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
    }
}
