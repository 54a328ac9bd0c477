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
}

impl Problem {
    pub fn new(status: StatusCode, code: &str, message: &str) -> Self {
        Self { status, body: json!({"success": false, "error": code, "message": message}) }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let status = match &failure {
            Failure::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Failure::Forbidden(_) => StatusCode::FORBIDDEN,
            Failure::Conflict(_) => StatusCode::CONFLICT,
            Failure::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Failure::Internal(why) => {
                tracing::error!(%why, "a defect");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self { status, body: failure.body() }
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
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// A problem as a response.
pub fn problem(status: StatusCode, code: &str, message: &str) -> Response {
    Problem::new(status, code, message).into_response()
}
