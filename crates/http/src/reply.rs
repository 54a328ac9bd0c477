//! How what went wrong is told over HTTP.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use coordinator::failure::Failure;
use serde_json::{Value, json};

/// An answer that is none: a status, and a JSON body with a stable code and a sentence.
pub struct Problem {
    status: StatusCode,
    body: Value,
    /// After how many seconds it is worth to try again.
    retry_after: Option<u64>,
}

impl Problem {
    pub fn new(status: StatusCode, code: &str, message: &str) -> Self {
        Self { status, body: json!({"success": false, "error": code, "message": message}), retry_after: None }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let status = match &failure {
            Failure::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Failure::Forbidden(_) => StatusCode::FORBIDDEN,
            Failure::Conflict(_) => StatusCode::CONFLICT,
            Failure::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Failure::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Failure::Internal(_) => {
                tracing::error!(why = failure.message(), "a defect");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        let retry_after = match failure {
            Failure::TooMany { seconds, .. } => Some(seconds),
            Failure::Unavailable(_) => Some(1),
            _ => None,
        };
        Self { status, body: failure.body(), retry_after }
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        self.body["status"] = self.status.as_u16().into();
        let mut response = (self.status, Json(self.body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// A problem as a response.
pub fn problem(status: StatusCode, code: &str, message: &str) -> Response {
    Problem::new(status, code, message).into_response()
}
