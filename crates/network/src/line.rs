//! A check as a line of JSON: `{"id", "allow": [..], "deny": [..], "default", "url_or_host", "resolves_to"?: [..]}`, and its
//! answer, `{"id", "verdict", "reason"}`. Every line is answered: one that cannot be read, with a denial that says why.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::host::Host;
use crate::rules::{Access, Rules, Verdict};

/// The answer to a line. `number` is which line it is, for the reason.
pub fn answer(text: &str, number: usize) -> Value {
    let line: Result<Map<String, Value>, _> = serde_json::from_str(text);
    let (id, verdict) = match line {
        Ok(line) => {
            let verdict = judge(&line).unwrap_or_else(|why| Verdict::malformed(format!("line {number}: {why}")));
            (line.get("id").cloned().unwrap_or_default(), verdict)
        }
        Err(error) => {
            let why = format!("line {number} is no JSON object with url_or_host in it: {error}");
            (Value::Null, Verdict::malformed(why))
        }
    };
    json!({"id": id, "verdict": verdict.access, "reason": verdict.reason})
}

fn judge(line: &Map<String, Value>) -> Result<Verdict, String> {
    let default = match line.get("default") {
        None | Some(Value::Null) => Access::Deny,
        Some(value) => match value.as_str() {
            Some("allow") => Access::Allow,
            Some("deny") => Access::Deny,
            _ => return Err(format!("default is {value}: must be \"allow\" or \"deny\"")),
        },
    };
    let rules = Rules::parse(&texts(line, "allow")?, &texts(line, "deny")?, default).map_err(|bad| bad.to_string())?;
    let resolved = texts(line, "resolves_to")?.into_iter().map(address).collect::<Result<Vec<_>, _>>()?;
    let Some(asked) = line.get("url_or_host").and_then(Value::as_str) else {
        return Err("url_or_host must be there, and be text".to_owned());
    };
    Ok(rules.check_text(asked, &resolved))
}

/// A field that is a list of texts; an absent one is empty.
fn texts<'a>(line: &'a Map<String, Value>, field: &str) -> Result<Vec<&'a str>, String> {
    let wrong = || format!("{field} must be a list of texts");
    match line.get(field) {
        None | Some(Value::Null) => Ok(vec![]),
        Some(Value::Array(items)) => items.iter().map(|item| item.as_str().ok_or_else(wrong)).collect(),
        Some(_) => Err(wrong()),
    }
}

/// An address that a name resolved to. With an interface behind it, as resolvers write those of a link, it is the address.
fn address(text: &str) -> Result<IpAddr, String> {
    let bare = text.split_once('%').map_or(text, |(address, _)| address);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(address);
    }
    match Host::parse(text) {
        Ok(Host::Address(address)) => Ok(address),
        _ => Err(format!("resolves_to has {text:?}, which is no IP address")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_answered() {
        for (line, expected) in [
            ("", "line 7 is no JSON object"),
            ("[]", "line 7 is no JSON object"),
            ("{\"id\": 1}", "url_or_host must be there"),
            ("{\"id\": 1, \"url_or_host\": 5}", "url_or_host must be there"),
            ("{\"id\": 1, \"url_or_host\": \"a.example\", \"allow\": \"a.example\"}", "allow must be a list of texts"),
            ("{\"id\": 1, \"url_or_host\": \"a.example\", \"deny\": [1]}", "deny must be a list of texts"),
            ("{\"id\": 1, \"url_or_host\": \"a.example\", \"default\": \"maybe\"}", "default is \"maybe\""),
            ("{\"id\": 1, \"url_or_host\": \"a.example\", \"resolves_to\": [\"a.example\"]}", "which is no IP address"),
            (
                "{\"id\": 1, \"url_or_host\": \"a.example\", \"allow\": [\"*\", \"a*\"]}",
                "the rule \"a*\" cannot be used",
            ),
        ] {
            let answer = answer(line, 7);
            assert_eq!(answer["verdict"], "deny", "{line}");
            assert!(answer["reason"].as_str().unwrap().contains(expected), "{line}: {answer}");
            assert_eq!(answer["id"], if line.contains("id") { json!(1) } else { Value::Null }, "{line}");
        }
    }
}
