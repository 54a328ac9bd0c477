//! What there is to be called, and how: detail on demand, so that the list of tools can be short.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Failure;
use crate::operation::{Access, BodyIdentity, Context, Entry, Method, Operation, Route};
use crate::registry;

/// Tells about operations.
pub struct Help;

/// About which.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct HelpRequest {
    /// Its name; default all, in a line each
    operation: Option<String>,
}

/// All operations in a line each, or all about one.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct HelpAnswer {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    operations: Vec<Line>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    about: Option<About>,
}

/// An operation in a line.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Line {
    name: &'static str,
    summary: &'static str,
}

/// All about an operation.
#[derive(Debug, Serialize, JsonSchema)]
pub struct About {
    name: &'static str,
    summary: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'static str,
    /// Does it change anything?
    writes: bool,
    /// Its routes over HTTP.
    http: Vec<String>,
    /// The request's JSON schema.
    request: Value,
    /// The answer's JSON schema.
    answer: Value,
}

impl From<&'static Entry> for About {
    fn from(entry: &'static Entry) -> Self {
        let route = |route: &Route| {
            let method = match route.method {
                Method::Get => "GET",
                Method::Post => "POST",
                Method::Delete => "DELETE",
            };
            format!("{method} {}", route.path)
        };
        Self {
            name: entry.name,
            summary: entry.summary,
            detail: entry.detail,
            writes: entry.access == Access::Write,
            http: entry.routes.iter().map(route).collect(),
            request: entry.request_schema().clone(),
            answer: entry.answer_schema().clone(),
        }
    }
}

impl Operation for Help {
    type Request = HelpRequest;
    type Answer = HelpAnswer;
    const NAME: &'static str = "help";
    const SUMMARY: &'static str = "Explain a tool in full, or list them all: there may be more than you were shown.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::get("/help")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;
    const NEEDS_PERMISSION: bool = false;
    const IS_CORE: bool = true;

    async fn run(_: &Context<'_>, request: HelpRequest) -> Result<HelpAnswer, Failure> {
        let Some(name) = request.operation else {
            let operations =
                registry::operations().iter().map(|entry| Line { name: entry.name, summary: entry.summary }).collect();
            return Ok(HelpAnswer { operations, about: None });
        };
        match registry::find(&name) {
            Some(entry) => Ok(HelpAnswer { operations: vec![], about: Some(About::from(entry)) }),
            None => Err(Failure::field("operation", "there is none of this name; leave it out to see them all")),
        }
    }
}
