//! Is a coordinator there, and what can it do for whoever holds the key?

use futures::future::join_all;
use http::Method;
use serde_json::{Map, Value, json};

use super::server::{ANSWER_PATIENCE, Server, Target};
use super::{Skip, unnamed_warning};

/// Each capability, and what must be there for it. What changes something is asked with `{}`, which is never enough.
const CAPABILITIES: &[(&str, &[(Method, &str)])] = &[
    ("CAN_LOCK", &[(Method::POST, "/locks/acquire"), (Method::POST, "/locks/release")]),
    (
        "CAN_QUEUE_WORK",
        &[(Method::POST, "/work/submit"), (Method::POST, "/work/claim"), (Method::POST, "/work/complete")],
    ),
    ("CAN_HANDOFF", &[(Method::POST, "/handoffs/write"), (Method::POST, "/handoffs/read")]),
    ("CAN_MEMORY", &[(Method::POST, "/memory/store"), (Method::POST, "/memory/query")]),
    ("CAN_GUARDRAILS", &[(Method::POST, "/guardrails/check")]),
    ("CAN_DISCOVER", &[(Method::GET, "/agents"), (Method::POST, "/agents/register")]),
    ("CAN_POLICY", &[(Method::POST, "/policy/check")]),
    ("CAN_AUDIT", &[(Method::GET, "/audit?limit=1")]),
];

/// What is there. `missing` says why a flag is false.
pub async fn detect(target: &Target<'_>) -> Value {
    let server = match Server::meet(target).await {
        Ok(server) => server,
        Err(skip) => return state(None, Some(skip), &Map::new()),
    };
    let probes = CAPABILITIES.iter().flat_map(|(_, probes)| *probes);
    let mut found = join_all(probes.map(|(method, path)| probe(&server, method, path))).await.into_iter();
    let mut missing = Map::new();
    for (flag, probes) in CAPABILITIES {
        let wrong: Vec<&str> = found.by_ref().take(probes.len()).filter_map(Result::err).collect();
        missing.extend(wrong.first().map(|why| ((*flag).to_owned(), json!(why))));
    }
    let skip = missing.values().any(|why| why == "unauthorized").then(|| server.wants_key());
    let mut answer = state(Some(&server), skip, &missing);
    if (target.env)("AGENT_ID").is_none() {
        answer["warning"] = unnamed_warning().into();
    }
    answer
}

/// Why it is not there, if it is not. A request that says nothing has no effect where one must say something.
async fn probe(server: &Server, method: &Method, path: &str) -> Result<(), &'static str> {
    let nothing = json!({});
    let body = (*method == Method::POST).then_some(&nothing);
    match server.ask(method.clone(), path, body, ANSWER_PATIENCE).await.map(|(status, _)| status) {
        Ok(200..300 | 422) => Ok(()),
        Ok(401) => Err("unauthorized"),
        Ok(403) => Err("forbidden"),
        Ok(404 | 405) => Err("not_offered"),
        Ok(_) | Err(_) => Err("no_answer"),
    }
}

fn state(server: Option<&Server>, skip: Option<Skip>, missing: &Map<String, Value>) -> Value {
    let mut answer = json!({
        "status": if server.is_some() { "ok" } else { "skipped" },
        "COORDINATOR_AVAILABLE": server.is_some(),
        "COORDINATION_TRANSPORT": if server.is_some() { "http" } else { "none" },
        "http_url": server.map(|server| &server.url),
        "reason": skip.as_ref().map(|skip| &skip.reason),
        "message": server.map(|server| format!("coordinator {} answers", server.version)),
        "missing": missing,
    });
    for (flag, _) in CAPABILITIES {
        answer[flag] = (server.is_some() && !missing.contains_key(*flag)).into();
    }
    if let Some(skip) = skip {
        answer["message"] = skip.message.into();
        if let Some(detail) = skip.detail {
            answer["detail"] = detail.into();
        }
    }
    answer
}
