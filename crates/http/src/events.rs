//! `GET /events`: what happens in a project, as server-sent events, for as long as the client listens.
//!
//! An event's id is its position in the audit trail. Whoever was cut off shows the last one it saw as `Last-Event-ID`, as
//! browsers do by themselves, and misses nothing, whichever server it comes back to.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use coordinator::Coordinator;
use coordinator::audit::QueryAudit;
use coordinator::events::{EventFilter, Follower};
use coordinator::failure::Failure;
use coordinator::operation::Operation;
use coordinator::registry;
use futures::stream::{self, Stream, StreamExt};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::openapi::problem;
use super::reply::Problem;
use super::{principal, project};

/// Where.
pub const PATH: &str = "/events";

/// How long to leave a database alone that does not answer, and how soon a client should come back.
const RETRY: Duration = Duration::from_secs(1);
/// After how much silence a comment is sent, so that nothing in between takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Turns true when the server stops: a stream would not end by itself.
pub type Stopping = watch::Receiver<bool>;

pub async fn stream_events(
    State(coordinator): State<Arc<Coordinator>>,
    stopping: Option<Extension<Stopping>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    match follow(coordinator, &headers, &query.unwrap_or_default()).await {
        Ok(follower) => {
            let events = events(follower).take_until(stopped(stopping.map(|Extension(stopping)| stopping)));
            Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

async fn follow(
    coordinator: Arc<Coordinator>,
    headers: &HeaderMap,
    query: &str,
) -> Result<Follower<Arc<Coordinator>>, Problem> {
    let principal = principal(&coordinator, false, headers).await?;
    let project = project(&coordinator, &principal, headers)?;
    if let Some(entry) = registry::find(QueryAudit::NAME) {
        principal.permits(entry).map_err(|why| Problem::new(StatusCode::FORBIDDEN, "operation_not_permitted", &why))?;
    }
    let (filter, after) = wanted(query)?;
    let last_seen = headers.get("last-event-id").map(|id| {
        let position = id.to_str().ok().and_then(|id| id.parse().ok());
        position.ok_or_else(|| wrong("Last-Event-ID", "must be the id of an event: a whole number"))
    });
    let position = last_seen.transpose()?.or(after);
    Follower::start(coordinator, project, filter, position).await.map_err(|error| Failure::from(error).into())
}

/// What the query asks for: which events, and from behind which position.
fn wanted(query: &str) -> Result<(EventFilter, Option<i64>), Problem> {
    let (mut filter, mut after) = (EventFilter::default(), None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "agent_id" => filter.agent_id = Some(value.into_owned()),
            "operation" => filter.operations.extend(value.split(',').map(str::to_owned)),
            "success" => {
                filter.success = Some(value.parse().map_err(|_| wrong("success", "must be true or false"))?);
            }
            "after" => {
                let position = value.parse::<i64>().ok().filter(|position| *position >= 0);
                after = Some(
                    position.ok_or_else(|| wrong("after", "must be the id of an event, or 0 for all there were"))?,
                );
            }
            _ => {}
        }
    }
    Ok((filter, after))
}

fn wrong(field: &str, why: &str) -> Problem {
    Failure::field(field, why).into()
}

fn events(follower: Follower<Arc<Coordinator>>) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    let hello = Event::default().comment("following").retry(RETRY);
    let pages = stream::unfold(follower, async |mut follower| {
        loop {
            match follower.next().await {
                Ok(page) => return Some((page, follower)),
                Err(error) => {
                    tracing::warn!(%error, "could not look for events");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    });
    let events = pages.flat_map(stream::iter).map(|entry| {
        let event = Event::default().id(entry.position().to_string()).event(entry.operation());
        event.json_data(&entry).unwrap_or_else(|error| Event::default().comment(error.to_string()))
    });
    stream::once(async { hello }).chain(events).map(Ok)
}

async fn stopped(stopping: Option<Stopping>) {
    match stopping {
        Some(mut stopping) => drop(stopping.wait_for(|stopping| *stopping).await),
        None => std::future::pending().await,
    }
}

/// Its part of the OpenAPI document.
pub fn openapi() -> Value {
    let parameter = |place: &str, name: &str, schema: Value, description: &str| json!({"name": name, "in": place, "required": false, "schema": schema, "description": description});
    let ids = json!({"type": "integer", "minimum": 0});
    json!({
        "operationId": "events",
        "summary": "What happens, as it happens: each row of the audit trail as a server-sent event.",
        "parameters": [
            {"$ref": "#/components/parameters/project"},
            parameter("header", "Last-Event-ID", ids.clone(), "Go on behind this event."),
            parameter("query", "after", ids, "Begin behind this event; 0 for all there were. Without it: from now on."),
            parameter("query", "operation", json!({"type": "string"}), "Only these operations; commas between them."),
            parameter("query", "agent_id", json!({"type": "string"}), "Only what this agent did."),
            parameter("query", "success", json!({"type": "boolean"}), "Only what was done, or only what was refused."),
        ],
        "responses": {
            "200": {
                "description": "Events, for as long as you listen. Their ids grow; their data are entries as in query_audit.",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            "401": problem("No key, or one that opens nothing."),
            "403": problem("The key opens another project."),
            "422": problem("A field is wrong; each is named."),
            "503": problem("The database does not answer."),
        },
        "security": [{"key": []}, {"bearer": []}],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_tells_which_events() {
        let (filter, after) =
            wanted("operation=acquire_lock,release_lock&operation=get_work&success=true&after=7").ok().unwrap();
        assert_eq!(filter.operations, ["acquire_lock", "release_lock", "get_work"]);
        assert_eq!((filter.success, after), (Some(true), Some(7)));
        for query in ["after=-1", "after=x", "success=maybe"] {
            assert_eq!(
                wanted(query).err().unwrap().into_response().status(),
                StatusCode::UNPROCESSABLE_ENTITY,
                "{query}"
            );
        }
    }
}
