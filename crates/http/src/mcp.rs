//! The MCP door's place on the server: it says who is asking, and that door does the rest.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use coordinator::Coordinator;
use coordinator::failure::{Failure, FieldError};
use coordinator::identity::Named;
use mcp::{HttpService, RemoteAgent};

use crate::reply::Problem;
use crate::{body_bytes, principal, project};

/// Where it is.
pub const PATH: &str = "/mcp";

/// The headers by which a request names its caller, and the fields that they stand for.
const NAME_HEADERS: [(&str, &str); 3] =
    [("X-Agent-Id", "agent_id"), ("X-Agent-Type", "agent_type"), ("X-Session-Id", "session_id")];

/// The longest complaint of the protocol's library, in bytes.
const COMPLAINT_LIMIT: usize = 64 * 1024;

/// The route, for every method: the protocol says what becomes of each.
pub fn route(coordinator: Arc<Coordinator>) -> MethodRouter<Arc<Coordinator>> {
    let service = HttpService::new(coordinator);
    any(async move |State(coordinator), request| match answer(coordinator, &service, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    })
}

async fn answer(coordinator: Arc<Coordinator>, service: &HttpService, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    // Also for what is public over HTTP: a tool call may be anything.
    let principal = principal(&coordinator, false, &head.headers).await?;
    let project = project(&coordinator, &principal, &head.headers)?;
    let named = named(&head.headers)?;
    let bytes = body_bytes(&head.headers, body).await?;
    let agent = RemoteAgent::new(coordinator, project, principal, named);
    let was_json = is_json(&head.headers);
    let response = service.answer(agent, Request::from_parts(head, bytes)).await.map(Body::new);
    Ok(in_our_words(response, was_json).await)
}

fn named(headers: &HeaderMap) -> Result<Named, Problem> {
    // A header that is no text is no name either.
    let text = |header: &str| headers.get(header).map(|value| value.to_str().unwrap_or_default().to_owned());
    let header = |field: &str| NAME_HEADERS.iter().find(|(_, of)| *of == field).map_or("", |(header, _)| *header);
    Named::read(|field| text(header(field))).map_err(|errors| {
        let in_header = |error: FieldError| FieldError { field: header(&error.field).into(), ..error };
        Failure::Invalid { code: "invalid_request", fields: errors.into_iter().map(in_header).collect() }.into()
    })
}

/// What the protocol's library says in plain text becomes a problem like any other of the server's.
async fn in_our_words(response: Response, was_json: bool) -> Response {
    let status = response.status();
    if is_json(response.headers()) || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let text = to_bytes(body, COMPLAINT_LIMIT).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let (status, code) = match status {
        StatusCode::METHOD_NOT_ALLOWED => (status, "method_not_allowed"),
        StatusCode::NOT_ACCEPTABLE => (status, "not_acceptable"),
        // It says the same of a body that is no message of the protocol.
        StatusCode::UNSUPPORTED_MEDIA_TYPE if was_json => (StatusCode::BAD_REQUEST, "invalid_message"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => (status, "unsupported_media_type"),
        _ => (status, "invalid_request"),
    };
    let mut problem = Problem::new(status, code, &text).into_response();
    problem.headers_mut().extend(head.headers.remove(header::ALLOW).map(|allowed| (header::ALLOW, allowed)));
    problem
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}
