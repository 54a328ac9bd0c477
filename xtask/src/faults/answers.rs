//! Does a client's answer say what the trail says?

use serde_json::{Value, json};

use super::child::Reply;
use super::evidence::text;
use super::trail::{Row, micros};

/// What differs, in a word.
pub fn compare(row: &Row, reply: &Reply) -> Result<(), String> {
    let result = &row.result;
    let kind = text(result, "kind");
    let code = match kind {
        "blocked" => Some(text(result, "reason")),
        "no_task" => Some("no_tasks_available"),
        "refused" => Some(text(result, "code")),
        "released" if result["missing"] != json!([]) => Some("lock_not_found_or_not_owner"),
        _ => None,
    };
    same("the row's success", &json!(row.success), &json!(code.is_none()))?;
    same("the row's code", &json!(row.error), &json!(code))?;
    let answer = match reply {
        Reply::Done(answer) => answer,
        Reply::Refused(answer) => {
            same("an error", &json!(kind), &json!("refused"))?;
            return same("error", &answer["error"], &json!(code));
        }
        Reply::Unknown(_) | Reply::Broken(_) => return Ok(()),
    };
    same("success", &answer["success"], &json!(row.success))?;
    match kind {
        "acquired" => acquired(result, answer),
        "blocked" => blocked(result, answer),
        "released" => {
            same("released", &answer["released"], &json!(result["released"] != json!([])))?;
            same("reason", &answer["reason"], &json!(code))
        }
        "submitted" => {
            same("task_id", &answer["task_id"], &result["task_id"])?;
            same("repeated", &json!(answer["repeated"] == true), &result["repeated"])
        }
        "claimed" => {
            ["task_id", "attempt", "fencing_token"].iter().try_for_each(|name| same(name, &answer[name], &result[name]))
        }
        "no_task" => same("reason", &answer["reason"], &json!(code)),
        "ended" => {
            same("task_id", &answer["task_id"], &result["task_id"])?;
            same("status", &answer["status"], &result["status"])?;
            same("retry_at", &json!(micros(&answer["retry_at"])), &json!(micros(&result["retry_at"])))?;
            let fell = answer["failed_dependents"].as_array().cloned().unwrap_or_default();
            same("failed_dependents", &json!(fell), &result["failed_dependents"])
        }
        "registered" => {
            same("session_id", &answer["session_id"], &result["session_id"])?;
            same("expires_at", &json!(micros(&answer["expires_at"])), &json!(micros(&result["expires_at"])))
        }
        "renewed" => {
            same("session_id", &answer["session_id"], &result["session_id"])?;
            same("tasks_renewed", &answer["tasks_renewed"], &result["tasks"])
        }
        "cleaned" => {
            let freed = &result["freed"];
            same("agents_cleaned", &answer["agents_cleaned"], &freed["sessions"])?;
            same("locks_released", &answer["locks_released"], &freed["locks"])?;
            same("tasks_requeued", &answer["tasks_requeued"], &freed["tasks"])
        }
        // An ordinary answer that says no: by its reason, or a heartbeat's by its error.
        "refused" => {
            let given = if answer["reason"].is_string() { &answer["reason"] } else { &answer["error"] };
            same("reason", given, &json!(code))
        }
        other => Err(format!("an outcome that is not known: {other}")),
    }
}

fn same(what: &str, told: &Value, recorded: &Value) -> Result<(), String> {
    if told == recorded { Ok(()) } else { Err(format!("{what} is {told} to the client and {recorded} in the trail")) }
}

fn acquired(result: &Value, answer: &Value) -> Result<(), String> {
    let grants = result["grants"].as_array().map_or(&[][..], Vec::as_slice);
    let token = grants.iter().filter_map(|grant| grant["fencing_token"].as_i64()).max();
    let end = grants.iter().filter_map(|grant| micros(&grant["expires_at"])).min();
    let is_refresh = grants.iter().all(|grant| grant["refreshed"] == true);
    same("fencing_token", &answer["fencing_token"], &json!(token))?;
    same("expires_at", &json!(micros(&answer["expires_at"])), &json!(end))?;
    same("action", &answer["action"], &json!(if is_refresh { "refreshed" } else { "acquired" }))?;
    if grants.len() < 2 {
        return Ok(());
    }
    for grant in grants {
        let key = &grant["key"]["text"];
        let told = answer["locks"].as_array().into_iter().flatten().find(|told| told["file_path"] == *key);
        let told = told.ok_or_else(|| format!("the client was not told of {key}"))?;
        same("a key's token", &told["fencing_token"], &grant["fencing_token"])?;
    }
    Ok(())
}

fn blocked(result: &Value, answer: &Value) -> Result<(), String> {
    same("reason", &answer["reason"], &result["reason"])?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let holders = list(&result["locks"]).into_iter().map(|lock| (lock["agent_id"].clone(), false));
    let waiters = list(&result["waiters"]).into_iter().map(|waiter| (waiter["agent_id"].clone(), true));
    let recorded: Vec<(Value, bool)> = holders.chain(waiters).collect();
    let told: Vec<(Value, bool)> = list(&answer["conflicts_with"])
        .into_iter()
        .map(|conflict| (conflict["locked_by"].clone(), conflict["waiting"] == true))
        .collect();
    same("conflicts_with", &json!(told), &json!(recorded))
}
