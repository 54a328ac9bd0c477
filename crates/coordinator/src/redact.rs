//! What may be kept of a request: no secrets; and in the audit trail, no novels.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

/// Longer texts are cut, in bytes: the trail records what was asked, the records themselves hold the rest.
const TEXT_LIMIT: usize = 1024;

/// A field whose name holds one of these is a secret, and so is one that is called just `token`.
const SECRET_NAMES: &[&str] = &[
    "password",
    "passwd",
    "secret",
    "api_key",
    "apikey",
    "authorization",
    "private_key",
    "access_token",
    "auth_token",
];

/// How well-known credentials begin. Ours is among them.
const SECRET_PREFIXES: &[&str] = &[
    "ack_",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "sk-",
    "sk_live_",
    "rk_live_",
    "xoxb-",
    "xoxp-",
    "AKIA",
    "ASIA",
    "AIza",
    "npm_",
    "pypi-",
    "eyJ",
];

const REDACTED: &str = "[redacted]";

/// The request as the trail keeps it: how it is written there.
pub struct Redacted<'a>(pub &'a Value);

impl Serialize for Redacted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => {
                let mut kept = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    if is_secret_name(name) && !value.is_null() {
                        kept.serialize_entry(name, REDACTED)?;
                    } else {
                        kept.serialize_entry(name, &Redacted(value))?;
                    }
                }
                kept.end()
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Redacted)),
            Value::String(text) => serializer.serialize_str(&without_secrets(text)),
            other => other.serialize(serializer),
        }
    }
}

/// A value as a record keeps it: all of it but the secrets.
pub fn kept_value(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| {
                let is_secret = is_secret_name(name) && !value.is_null();
                (name.clone(), if is_secret { REDACTED.into() } else { kept_value(value) })
            })
            .collect(),
        Value::Array(items) => items.iter().map(kept_value).collect(),
        Value::String(text) => Value::String(kept(text)),
        other => other.clone(),
    }
}

/// A text as a record keeps it: all of it but the secrets.
pub fn kept(text: &str) -> String {
    within(text, usize::MAX)
}

/// The text without secrets, at most [`TEXT_LIMIT`] bytes of it, give or take the note that it was cut.
pub fn without_secrets(text: &str) -> String {
    within(text, TEXT_LIMIT)
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_lowercase();
    name == "token" || SECRET_NAMES.iter().any(|secret| name.contains(secret))
}

/// The text without what looks like a credential: a well-known token, what follows `Bearer`, the password in an address.
fn within(text: &str, limit: usize) -> String {
    let mut kept = String::with_capacity(text.len().min(limit));
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let (mut rest, mut last_word) = (text, "");
    while !rest.is_empty() && kept.len() < limit {
        let word_end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(word_end);
        let is_token = word.len() >= 16 && SECRET_PREFIXES.iter().any(|prefix| word.starts_with(prefix));
        let is_bearer = word.len() >= 8 && last_word.eq_ignore_ascii_case("bearer");
        kept.push_str(if is_token || is_bearer { REDACTED } else { word });
        let gap_end = after.find(is_word).unwrap_or(after.len());
        let (gap, next) = after.split_at(gap_end);
        kept.push_str(gap);
        (rest, last_word) = (next, word);
        if gap.ends_with("://")
            && let Some((user, password_end)) = credentials(rest)
        {
            kept.push_str(user);
            kept.push(':');
            kept.push_str(REDACTED);
            rest = &rest[password_end..];
        }
    }
    if let Some((end, _)) = kept.char_indices().find(|(at, c)| at + c.len_utf8() > limit) {
        kept.truncate(end);
    } else if rest.is_empty() {
        return kept;
    }
    format!("{kept}... ({} bytes)", text.len())
}

/// `user:password@` at the beginning of an address: the user, and where the password ends.
fn credentials(address: &str) -> Option<(&str, usize)> {
    let authority_end = address.find(|c: char| c == '/' || c.is_whitespace()).unwrap_or(address.len());
    let password_end = address[..authority_end].rfind('@')?;
    let (user, _) = address[..password_end].split_once(':')?;
    Some((user, password_end))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_go_and_ordinary_words_stay() {
        let request = json!({
            "description": "use ghp_0123456789abcdefghij0123 on sk-folder",
            "input_data": {"DB_PASSWORD": "x", "fencing_token": 3, "list": ["AKIAIOSFODNN7EXAMPLE"]},
            "url": "see postgres://me:hunter2@db/x and http://localhost:80/",
            "header": "Authorization: Bearer abcdefgh1",
        });
        assert_eq!(
            serde_json::to_value(Redacted(&request)).unwrap(),
            json!({
                "description": "use [redacted] on sk-folder",
                "input_data": {"DB_PASSWORD": "[redacted]", "fencing_token": 3, "list": ["[redacted]"]},
                "url": "see postgres://me:[redacted]@db/x and http://localhost:80/",
                "header": "Authorization: Bearer [redacted]",
            })
        );
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let text = "\u{e9}".repeat(3000);
        let kept = without_secrets(&text);
        assert!(kept.len() < 1100 && kept.ends_with("... (6000 bytes)"), "{kept}");
        assert_eq!(without_secrets("short"), "short");
        assert_eq!(super::kept(&text), text);
        assert_eq!(kept_value(&json!([text])), json!([text]));
    }
}
