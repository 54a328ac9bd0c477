//! One question to a coordinator, and what its answer means for whoever asked.

use serde_json::{Value, json};

use super::question::Question;
use super::server::{ANSWER_PATIENCE, Server, Target};
use super::{Skip, UNNAMED_ID, unnamed_warning};

/// Asks it.
pub async fn ask(target: &Target<'_>, question: &Question) -> Value {
    let server = match Server::meet(target).await {
        Ok(server) => server,
        Err(skip) => return skipped(question, None, skip),
    };
    let body = (question.method == http::Method::POST).then_some(&question.body);
    let asked = server.ask(question.method.clone(), &question.path, body, ANSWER_PATIENCE).await;
    let answer = match asked {
        Ok((status, response)) => answer(question, &server, status, response),
        Err(error) => {
            let message =
                format!("the coordinator at {} did not answer: whether it did what was asked is not known", server.url);
            Err(Skip::new("no_answer", message).because(&*error))
        }
    };
    let mut answer = match answer {
        Ok(answer) => answer,
        Err(skip) => return skipped(question, Some(&server), skip),
    };
    if question.body["agent_id"] == UNNAMED_ID && (target.env)("AGENT_ID").is_none() {
        answer["warning"] = unnamed_warning().into();
    }
    answer
}

/// What the coordinator said, or why it did nothing.
fn answer(question: &Question, server: &Server, status: u16, response: Option<Value>) -> Result<Value, Skip> {
    let said = |field: &str| response.as_ref().and_then(|response| response[field].as_str()).map(str::to_owned);
    let mut answer = match status {
        200..300 if response.is_some() => head("ok", question, Some(server)),
        401 => return Err(server.wants_key()),
        404 | 405 => {
            return Err(Skip::new("not_offered", format!("the coordinator at {} does not offer this", server.url)));
        }
        400..500 if status != 429 => {
            let mut answer = head("error", question, Some(server));
            answer["reason"] = said("error").unwrap_or_else(|| "refused".into()).into();
            answer["message"] = said("message").unwrap_or_else(|| format!("the coordinator answered {status}")).into();
            answer
        }
        _ => {
            let message =
                said("message").unwrap_or_else(|| format!("the coordinator at {} answered {status}", server.url));
            return Err(Skip::new(&said("error").unwrap_or_else(|| "no_answer".into()), message));
        }
    };
    answer["status_code"] = status.into();
    answer["response"] = response.unwrap_or_default();
    Ok(answer)
}

fn skipped(question: &Question, server: Option<&Server>, skip: Skip) -> Value {
    let mut answer = head("skipped", question, server);
    answer["reason"] = skip.reason.into();
    answer["message"] = skip.message.into();
    if let Some(detail) = skip.detail {
        answer["detail"] = detail.into();
    }
    answer
}

fn head(status: &str, question: &Question, server: Option<&Server>) -> Value {
    json!({
        "status": status,
        "operation": question.operation,
        "COORDINATOR_AVAILABLE": server.is_some(),
        "COORDINATION_TRANSPORT": if server.is_some() { "http" } else { "none" },
    })
}
