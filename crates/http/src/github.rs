//! `POST /webhook/github`: what happens in the repository on GitHub, as GitHub tells it.
//!
//! No key: the body is signed with a secret that GitHub and we know, and nothing is looked at before that is checked.

use std::sync::Arc;

use ::github::{events, signature};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use coordinator::Coordinator;
use coordinator::github::webhook::Rejected;
use serde_json::{Value, json};

use crate::openapi::problem;
use crate::reply::Problem;

/// Where.
pub const PATH: &str = "/webhook/github";
/// The largest body, in bytes. GitHub sends up to 25 MB; what is lost because it is so large, a sync finds.
pub const BODY_LIMIT: usize = 8 * 1024 * 1024;

pub async fn receive(State(coordinator): State<Arc<Coordinator>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    match deal_with(&coordinator, &head.headers, body).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn deal_with(coordinator: &Coordinator, headers: &HeaderMap, body: Body) -> Result<Response, Problem> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let signature = text(signature::HEADER);
    // Whether it is set up can be told without the body.
    if let Err(Rejected::NotSetUp(why)) = coordinator.check_github_signature(None, &[]) {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "webhook_not_set_up", why));
    }
    let bytes = read(body).await?;
    if coordinator.check_github_signature(signature, &bytes).is_err() {
        let message = "X-Hub-Signature-256 is not the body's signature with GITHUB_WEBHOOK_SECRET: enter the same secret in \
                       the webhook's settings on GitHub";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "bad_signature", message));
    }
    let body = parsed(text(header::CONTENT_TYPE.as_str()).unwrap_or_default(), &bytes)?;
    let (id, event) = (text(events::DELIVERY_HEADER), text(events::EVENT_HEADER));
    let received = coordinator.receive_from_github(id.unwrap_or_default(), event.unwrap_or_default(), &body).await?;
    let status = if received.action == "handled" { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(received)).into_response())
}

async fn read(body: Body) -> Result<Bytes, Problem> {
    let mut request = Request::new(body);
    DefaultBodyLimit::max(BODY_LIMIT).apply(&mut request);
    Bytes::from_request(request, &()).await.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let message =
                format!("a body may have at most {BODY_LIMIT} bytes; coordinator github sync finds what is lost");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", &message)
        }
        _ => Problem::new(StatusCode::BAD_REQUEST, "invalid_body", "the body did not arrive whole"),
    })
}

/// The body, in either form that a webhook's settings offer.
fn parsed(content_type: &str, bytes: &[u8]) -> Result<Value, Problem> {
    let is_form = content_type.trim_start().starts_with("application/x-www-form-urlencoded");
    let payload = is_form.then(|| {
        form_urlencoded::parse(bytes).find(|(name, _)| name == "payload").map(|(_, value)| value.into_owned())
    });
    let parsed = match payload {
        None => serde_json::from_slice(bytes),
        Some(payload) => serde_json::from_str(&payload.unwrap_or_default()),
    };
    parsed.map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, "invalid_json", &format!("the body is not JSON: {error}"))
    })
}

/// Its part of the OpenAPI document.
pub fn openapi() -> Value {
    let header = |name: &str, description: &str| json!({"name": name, "in": "header", "required": true, "schema": {"type": "string"}, "description": description});
    let answer = json!({
        "type": "object",
        "properties": {
            "success": {"const": true},
            "action": {"enum": ["handled", "repeated", "ignored"]},
            "reason": {"type": "string"},
            "subjects": {"type": "array", "items": {"type": "string"}},
            "changeset_id": {"type": "string", "format": "uuid"},
        },
    });
    let content = json!({"application/json": {"schema": answer}});
    json!({
        "operationId": "webhook_github",
        "summary": "What happens on GitHub: issues, pull requests and pushes, as its webhooks tell them.",
        "parameters": [
            header("X-Hub-Signature-256", "The body's signature with the secret."),
            header("X-GitHub-Event", "What happened, in a word."),
            header("X-GitHub-Delivery", "The delivery's id: the same when it is sent again."),
        ],
        "requestBody": {"required": true, "content": {"application/json": {"schema": {"type": "object"}}}},
        "responses": {
            "200": {"description": "It was dealt with.", "content": content},
            "202": {"description": "It was dealt with before, or is of no interest.", "content": content},
            "400": problem("The body is not JSON."),
            "401": problem("The signature is not the body's."),
            "413": problem("The body is too large."),
            "422": problem("The body is not what GitHub documents for the event."),
            "503": problem("Webhooks are not set up, or the database does not answer."),
        },
        "security": [{}],
    })
}
